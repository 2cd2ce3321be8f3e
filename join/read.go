package join

// ClicksRead says what one read of a clicks partition brought. The clicks are in the window already.
type ClicksRead struct {
	Partition  int32
	Next       int64 // position after the last record, control records counted
	Epoch      int32 // leader epoch of the last record
	Latest     int64 // the greatest event time that is not far; NoTime: none
	Unjudged   int64 // the least event time of a click that did not come before [Core.LateBefore]: see Judge; Forever: none
	Index      []TimeOffset
	Candidates []Candidate

	belief Belief
	newest times // of the clicks up to believed
	ahead  int   // clicks after believed
	near   votes // see clock
}

// Candidate is a click that may change a checkout released already: its time is not after [Core.Frontier], read after the click
// went into the window. Or it comes too late: its time is before [Core.LateBefore] and it was not read before a restart. Or it is far.
type Candidate struct {
	Key     Key
	Time    int64
	ID      ID
	Offset  int64
	User    int32
	Product string
}

// Reset makes r ready for the next read of a partition. Every time is believed until Believe is called.
func (r *ClicksRead) Reset(partition int32) {
	*r = ClicksRead{
		Partition: partition, Latest: NoTime, Unjudged: forever, Epoch: -1, Index: r.Index[:0], Candidates: r.Candidates[:0],
		belief: Belief{believed: forever, far: forever},
	}
}

// Believe sets what our clock says of the clicks to come.
func (r *ClicksRead) Believe(b Belief) { r.belief = b }

// Note adds a click's place to what the read brought.
func (r *ClicksRead) Note(t, offset int64) {
	if t > r.belief.believed {
		r.ahead++
		if t > r.belief.far { // a Candidate: the core says whether a restart reads it again
			return
		}
		r.near.ahead++
	} else {
		r.newest.add(t)
		if t > r.belief.believed-(r.belief.far-r.belief.believed)/4 {
			r.near.good++
		}
	}
	r.Latest = max(r.Latest, t)
	b := t / indexBucket
	const few = 8 // a read spans few buckets, unless somebody wants it to span many
	for i := len(r.Index) - 1; i >= max(0, len(r.Index)-few); i-- {
		if r.Index[i].Bucket == b {
			return // offsets rise within a read: the first one stays the least
		}
	}
	r.Index = append(r.Index, TimeOffset{b, offset})
}

// Judge says whether a click must be handed in as a [Candidate]. frontier and late are [Core.Frontier] and [Core.LateBefore] as they were after
// the click went into the window; fresh says that it was not read before a restart.
func (r *ClicksRead) Judge(t, frontier, late int64, fresh bool) (candidate bool) {
	if t >= late {
		r.Unjudged = min(r.Unjudged, t)
	}
	return t <= frontier || t < late && fresh || t > r.belief.far
}
