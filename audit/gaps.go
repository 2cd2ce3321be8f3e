package audit

import (
	"cmp"
	"slices"
)

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
