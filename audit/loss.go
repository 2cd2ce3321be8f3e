package audit

import (
	"cmp"
	"slices"
)

// A record that Kafka no longer holds may have made a row, or be its click. What is still known of
// such records bounds what they can excuse: how many there were at most, and before which time
// their events lie. A row that claims more is wrong.

// Why a record is not there.
const (
	lostToRetention  = "retention took the record"
	lostToCompaction = "compaction took the record"
	lostBeforeStart  = "the record lies before the group's start, where Kafka no longer holds it"
)

// lostRange is records of one partition that are not there.
type lostRange struct {
	why    string
	count  int64 // at most; endless: not known
	before int64 // all their event times lie before it
	likely int64 // and before this, if they were produced in the order of their times
}

// losses is what a topic has lost.
type losses struct {
	ranges []lostRange
	in     map[int32]bool  // by partition, whether any of it is of the group's own time
	claims map[int64]int64 // by the least bound that admits them, how many rows or clicks claim to be lost records
	// ahead has lost events that were dated ahead of the clock, by id. No bound of event time holds
	// for them, because nothing waits for such an event. firstclick.late says that they were there.
	ahead map[string]lostAhead
}

type lostAhead struct {
	time int64
	why  string
}

func newLosses() losses {
	return losses{in: map[int32]bool{}, claims: map[int64]int64{}, ahead: map[string]lostAhead{}}
}

// admits says whether an event of that time may be among what was lost, and why it was. doubtful:
// only if records are far out of the order of their times.
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

// claim counts an event of that time as a lost record.
func (l *losses) claim(time int64) {
	bound := int64(endless)
	for _, r := range l.ranges {
		if r.before > time {
			bound = min(bound, r.before)
		}
	}
	l.claims[bound]++
}

// excess is how many more claims there are than lost records can answer, and how many there are.
//
// The ranges that admit an event are nested by time: the later it is, the fewer there are. So it is
// enough to count, for each bound, what lies behind it (Hall's theorem).
func (l *losses) excess() (more, claims int64) {
	for bound, n := range l.claims {
		claims += n
		claimed, held := int64(0), int64(0)
		for other, n := range l.claims {
			if other >= bound {
				claimed += n
			}
		}
		for _, r := range l.ranges {
			if r.before >= bound {
				held += min(r.count, endless-held)
			}
		}
		more = max(more, claimed-held)
	}
	return more, claims
}

// gaps is what one partition has lost, by where its offsets lie: below start, below old, below
// next.
type gaps struct {
	start  int64 // where the group began
	old    int64 // offsets below it have event times before oldBefore
	next   int64 // offsets at or above it had no effect so far
	before int64 // event times of offsets below next lie before it

	oldBefore int64
	lost      map[string][3]int64 // by why
}

// gapsOf begins with the positions and times that are stored of a partition.
func (r *run) gapsOf(t topic, partition int32, start int64) gaps {
	g := gaps{start: start, before: endless, oldBefore: endless, lost: map[string][3]int64{}}
	if t == topicCheckouts {
		s := r.snap.shards[partition]
		g.next, g.old, g.oldBefore = s.next, s.recent, s.finalBefore
	} else {
		i := int(partition)
		for _, s := range r.snap.shards { // the furthest shard counts
			if i < len(s.restore) && s.expireBefore != noTime {
				g.old, g.oldBefore = further(g.old, g.oldBefore, s.restore[i], s.expireBefore)
			}
			if i < len(s.clicks) {
				latest := int64(endless)
				if i < len(s.latest) && s.latest[i] < endless {
					latest = s.latest[i] + 1
				}
				g.next, g.before = further(g.next, g.before, s.clicks[i], latest)
			}
		}
	}
	if g.oldBefore == noTime {
		g.oldBefore = endless
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

// split counts offsets from <= o < to by where they lie.
func (g *gaps) split(from, to int64) (n [3]int64) {
	for i, end := range [...]int64{g.start, max(g.start, g.old), g.next} {
		if end = min(end, to); end > from {
			n[i] = end - from
			from = end
		}
	}
	return n
}

// add counts offsets from <= o < to as lost.
func (g *gaps) add(why string, from, to int64) {
	n := g.lost[why]
	for i, more := range g.split(from, to) {
		n[i] += more
	}
	g.lost[why] = n
}

// known takes back a lost record that firstclick's tables say enough about: it made no row.
func (g *gaps) known(why string, offset int64) {
	n := g.lost[why]
	for i, less := range g.split(offset, offset+1) {
		n[i] = max(0, n[i]-less)
	}
	g.lost[why] = n
}

// addTo adds what was lost to the topic's losses. first is the time of the first event that is
// there.
func (g *gaps) addTo(l *losses, partition int32, first int64, s *snapshot) {
	likely := int64(endless)
	if disorder := (s.lateness + s.outOfOrder).Microseconds(); first < endless-disorder {
		likely = first + disorder
	}
	for why, n := range g.lost {
		for i, r := range [...]lostRange{
			{why: lostBeforeStart, count: endless, before: s.begun + s.skew, likely: s.begun},
			{why: why, count: n[1], before: min(g.oldBefore, g.before)},
			{why: why, count: n[2], before: g.before},
		} {
			if n[i] == 0 {
				continue
			}
			if i > 0 {
				r.likely = min(r.before, likely)
				l.in[partition] = true
			}
			l.ranges = append(l.ranges, r)
		}
	}
	rank := func(r lostRange) int { // what lies before the start excuses first
		if r.why == lostBeforeStart {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(l.ranges, func(x, y lostRange) int {
		return cmp.Or(cmp.Compare(rank(x), rank(y)), cmp.Compare(x.why, y.why))
	})
}
