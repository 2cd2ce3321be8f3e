package audit

import (
	"cmp"
	"slices"
)

// What Kafka does not hold any more of a topic may have made a row, or be its click. What is still known of such records bounds what
// they can excuse: how many there were at most, and before which time their events lie. A row that claims more is wrong.

// Why a record is not there.
const (
	lostToRetention  = "retention took the record"
	lostToCompaction = "compaction took the record"
	lostBeforeStart  = "the record lies before the group's start, where Kafka no longer holds it"
)

// lostRange is records of one partition that are not there.
type lostRange struct {
	why    string
	count  int64 // of them, at most; endless: nobody knows
	before int64 // all their event times lie before it
	likely int64 // and before this, if they came about in the order of their times
}

// losses is what a topic has lost.
type losses struct {
	ranges []lostRange
	in     map[int32]bool  // by partition, whether any of it is of the group's own time
	claims map[int64]int64 // by the least bound that admits them, how many rows or clicks are said to be of lost records
	noted  map[string]lostAhead
}

// lostAhead is a lost event that was dated ahead of the clock. No bound of event time holds for it,
// for nothing waits for such a one: its note in firstclick.late says that it was there.
type lostAhead struct {
	time int64
	why  string
}

func (l *losses) note(id string, time int64, why string) {
	if l.noted == nil {
		l.noted = map[string]lostAhead{}
	}
	l.noted[id] = lostAhead{time, why}
}

// admits says whether an event of that time may be among what was lost, and why it was. doubtful: only if records are far out of the
// order of their times.
func (l *losses) admits(time int64) (why string, doubtful, ok bool) {
	doubtful = true
	for _, r := range l.ranges {
		if time >= r.before || !doubtful {
			continue
		}
		if doubtful = time >= r.likely; why == "" || !doubtful {
			why = r.why
		}
		ok = true
	}
	return why, doubtful, ok
}

// claim counts what admits let pass: a record each.
func (l *losses) claim(time int64) {
	bound := int64(endless)
	for _, r := range l.ranges {
		if r.before > time {
			bound = min(bound, r.before)
		}
	}
	if l.claims == nil {
		l.claims = map[int64]int64{}
	}
	l.claims[bound]++
}

// excess is how many claims there are beyond what the lost records can have been, and of how many.
//
// What an event can be among is nested by time: the later it is, the fewer ranges admit it. So it is enough to count, for each bound, what lies
// behind it (Hall's theorem).
func (l *losses) excess() (more, claims int64) {
	for bound := range l.claims {
		claimed, held := int64(0), int64(0)
		for other, n := range l.claims {
			if other >= bound {
				claimed += n
			}
		}
		for _, r := range l.ranges {
			if r.before >= bound {
				held = min(held+min(r.count, endless-held), endless)
			}
		}
		more = max(more, claimed-held)
	}
	for _, n := range l.claims {
		claims += n
	}
	return more, claims
}

// gaps is what one partition has lost, by where its offsets lie.
type gaps struct {
	start   int64 // where the group began
	settled int64 // offsets below it have event times before settledBefore
	next    int64 // offsets at or above it had no effect so far
	before  int64 // event times of offsets below next lie before it

	settledBefore int64
	lost          map[string][3]int64 // by why: below start, below settled, below next
}

// gapsOf is what is stored of a partition that helps to judge what is not there.
func (a *audit) gapsOf(which byte, partition int32, start int64) gaps {
	g := gaps{start: start, before: endless, settledBefore: endless, lost: map[string][3]int64{}}
	if which == topicCheckouts {
		p := a.snap.shards[partition]
		g.next, g.settled, g.settledBefore = p.next, p.recent, p.finalBefore
	} else {
		i := int(partition)
		for _, p := range a.snap.shards { // of those that are equally far the one that knows most
			if i < len(p.restore) && p.expireBefore != noTime {
				g.settled, g.settledBefore = further(g.settled, g.settledBefore, p.restore[i], p.expireBefore)
			}
			if i < len(p.clicks) {
				latest := int64(endless)
				if i < len(p.latest) && p.latest[i] < endless {
					latest = p.latest[i] + 1
				}
				g.next, g.before = further(g.next, g.before, p.clicks[i], latest)
			}
		}
	}
	if g.settledBefore == noTime {
		g.settledBefore = endless
	}
	return g
}

// further is the greater offset with its bound, or the lesser bound.
func further(offset, bound, otherOffset, otherBound int64) (int64, int64) {
	switch {
	case otherOffset > offset:
		return otherOffset, otherBound
	case otherOffset == offset:
		return offset, min(bound, otherBound)
	}
	return offset, bound
}

// add takes in that offsets from <= o < to are not there.
func (g *gaps) add(why string, from, to int64) {
	n := g.lost[why]
	for i, end := range [...]int64{g.start, max(g.start, g.settled), g.next} {
		if end = min(end, to); end > from {
			n[i] += end - from
			from = end
		}
	}
	g.lost[why] = n
}

// known takes in that of a record that is not there all is known that matters: it has neither made a row nor is it missed.
func (g *gaps) known(why string, offset int64) {
	less := gaps{start: g.start, settled: g.settled, next: g.next, lost: map[string][3]int64{}}
	less.add(why, offset, offset+1)
	n := g.lost[why]
	for i, k := range less.lost[why] {
		n[i] = max(0, n[i]-k)
	}
	g.lost[why] = n
}

// into adds what was lost to the topic's. first is the time of the first event that is there, begun that of the group's start.
func (g *gaps) into(l *losses, partition int32, first, begun, skew, disorder int64) {
	likely := int64(endless)
	if first < endless-disorder {
		likely = first + disorder
	}
	for why, n := range g.lost {
		for i, r := range [...]lostRange{
			{why: lostBeforeStart, count: endless, before: begun + skew, likely: begun},
			{why: why, count: n[1], before: min(g.settledBefore, g.before)},
			{why: why, count: n[2], before: g.before},
		} {
			if n[i] == 0 {
				continue
			}
			if i > 0 {
				r.likely = min(r.before, likely)
				if l.in == nil {
					l.in = map[int32]bool{}
				}
				l.in[partition] = true
			}
			l.ranges = append(l.ranges, r)
		}
	}
	slices.SortStableFunc(l.ranges, func(x, y lostRange) int { // what lies before the start is asked first
		return cmp.Or(-cmp.Compare(bit(x.why == lostBeforeStart), bit(y.why == lostBeforeStart)), cmp.Compare(x.why, y.why))
	})
}
