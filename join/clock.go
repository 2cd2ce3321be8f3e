package join

// A record's time is whatever its producer's clock said. A click that is dated ahead of our own clock may still be a checkout's click, but it
// decides nothing for others: one wrong clock would move the watermark of everybody. Three ranges, by our clock:
//
//	up to believed           decides: watermark, passing of a backlog, finality
//	up to believed + window  decides nothing, and is kept like any other: a restart reads it again
//	later ("far")            is joined with what comes while it is in the window, and noted like one that comes too late, for no restore point
//	                         waits for it: one click of the year 9999 would have every start read all that was ever written
//
// Our own clock may be the wrong one. While most clicks are ahead of it, it is not trusted: then
// nothing is far (invariant: a clock of ours that is wrong delays finality, and does nothing else).
// Any clock agrees with a backlog: so most of those that are dated near it count too. What comes
// after a backlog passes a clock that is behind by hours: for a window there are more and more
// after it, before the first that is far.
type clock struct {
	skew     int64
	told     bool
	offset   int64 // of the wall clock from now, as it was last
	believed int64
	far      int64
	all      votes
	near     votes // of the clicks dated near our clock: from a quarter of the window before what is believed to a window after
}

// votes are of the clicks of late those believed, and those not.
type votes struct{ good, ahead int }

func (v *votes) add(good, ahead int) {
	v.good, v.ahead = v.good+good, v.ahead+ahead
	for v.good+v.ahead > weighed {
		v.good, v.ahead = v.good/2, v.ahead/2
	}
}

// weighed is of how many clicks of late most must be believed.
const weighed = 10_000

// Clock tells what time it is by our own clock, in micros. It is to be told before everything else that time bears on; as long as it never was,
// every time is believed. A clock that was set is not trusted until most clicks agree with it.
func (c *Core) Clock(wall, now int64) {
	k := &c.clock
	if jump := wall - now - k.offset; k.told && (jump > k.skew || jump < -k.skew) {
		k.all, k.near = votes{}, votes{}
	}
	k.told, k.offset = true, wall-now
	k.believed = wall + k.skew
	c.setFar()
}

func (c *Core) setFar() {
	k := &c.clock
	k.far = forever
	if k.told && c.Trusts() {
		k.far = k.believed + c.window
	}
}

// Trusts says whether most of the clicks of late agree with our clock, of all and of those near it.
func (c *Core) Trusts() bool {
	k := &c.clock
	return k.all.good > k.all.ahead && k.near.good >= k.near.ahead
}

// weigh counts how many clicks of a read are ahead of our clock, unless the clock was set since they were held against it.
func (c *Core) weigh(r *ClicksRead) {
	k := &c.clock
	c.Ahead += int64(r.ahead)
	if set := r.belief.offset - k.offset; set > k.skew || set < -k.skew {
		return
	}
	k.all.add(r.newest.n, r.ahead)
	k.near.add(r.near.good, r.near.ahead)
	c.setFar()
}

// Belief is what our clock says of event times.
type Belief struct {
	believed, far int64 // see clock: later times decide nothing; no restart reads later ones again, if the clock is to be trusted
	offset        int64
}

// Far says whether no correction waits for an event of time t, if the clock is to be trusted.
func (b Belief) Far(t int64) bool { return t > b.far }

// Believe says what a clock that reads wall at now is good for. Safe for concurrent use.
func (c *Core) Believe(wall, now int64) Belief {
	believed := wall + c.clock.skew
	return Belief{believed: believed, far: believed + c.window, offset: wall - now}
}

// decidingTime is the time by which a checkout waits in a backlog. One ahead of our clock waits for what those before it have waited for.
func (c *Core) decidingTime(s *Shard, k *Pending) int64 {
	if k.Time > c.clock.believed && c.Trusts() {
		return s.maxReleased
	}
	return k.Time
}

// passedTime is the event time that a clicks partition has been read up to. While our clock is not trusted, clicks ahead of it count.
func (c *Core) passedTime(p *clicksPartition) int64 {
	if c.clock.told && !c.Trusts() {
		return p.latest
	}
	return p.maxTime
}

// maxFar bounds how many far clicks are kept for shards to come. Whoever takes a shard over that may lack the note of an older one reads again.
const maxFar = 20_000

// takeFar takes in a click that the reader found far. Where our clock is not trusted it is one like any other: noted is false.
func (c *Core) takeFar(partition int32, k *Candidate, late LateFunc) (noted bool) {
	p := &c.parts[partition]
	if k.Time <= c.clock.far {
		p.note([]TimeOffset{{k.Time / indexBucket, k.Offset}})
		p.latest = max(p.latest, k.Time)
		return false
	}
	if len(c.farClicks) >= maxFar {
		n := maxFar / 4
		for i := range c.farClicks[:n] {
			old := &c.farClicks[i]
			q := &c.parts[old.partition]
			q.farForgotten = max(q.farForgotten, old.Offset+1)
		}
		c.farClicks = append(c.farClicks[:0], c.farClicks[n:]...)
	}
	c.farClicks = append(c.farClicks, keptCandidate{partition, *k})
	for _, s := range c.shards {
		if s.stored.needs(int(partition), k.Offset) {
			late(s, partition, k)
		}
	}
	c.FarClicks++
	return true
}

// needs says whether a restore point stands at or below an offset.
func (at *Position) needs(p int, offset int64) bool {
	return p >= len(at.ClicksRestore) || offset >= at.ClicksRestore[p]
}
