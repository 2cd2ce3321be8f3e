package join

import "firstclick/join/event"

// A record's time is whatever its producer's clock said. A click that is dated ahead of our own
// clock may still be a checkout's click, but it decides nothing for others: one wrong clock would
// move the watermark of everybody. There are three ranges, by our clock:
//
//   - up to now + MaxFutureSkew: the time decides watermark, passing of a backlog, and finality.
//   - up to a window later: it decides nothing, and is kept like any other. Restarts read it again.
//   - later, "far": the event is joined with what is in the window, and noted like one that comes
//     too late. No restore point waits for it: one click of the year 9999 would have every start
//     read all that was ever written.
//
// Our own clock may be the wrong one. While most clicks are ahead of it, it is not trusted: then
// nothing is far. Invariant: a wrong clock of ours delays finality, and does nothing else.
//
// Any clock agrees with a backlog. So most of the clicks dated near our clock must agree with it
// too. After a backlog, clicks pass a clock that is behind by hours: for a window there are more
// and more ahead of it before the first that is far.
type clock struct {
	skew   int64
	told   bool
	limits Limits
	all    votes
	near   votes // of clicks dated near our clock: from a quarter of the window before what decides to a window after
}

// Limits is what our clock says of event times.
type Limits struct {
	decides int64 // later times decide nothing
	far     int64 // later times are far, if the clock is trusted
	offset  int64 // of the wall clock from now
}

func noLimits() Limits { return Limits{decides: event.Forever, far: event.Forever} }

// votes count recent clicks: those whose times decide, and those ahead.
type votes struct{ good, ahead int }

// votesKept is how many recent clicks count.
const votesKept = 10_000

func (v *votes) add(good, ahead int) {
	v.good, v.ahead = v.good+good, v.ahead+ahead
	for v.good+v.ahead > votesKept {
		v.good, v.ahead = v.good/2, v.ahead/2
	}
}

// SetClock sets what time it is by our own clock, in micros. It must be set before any call whose
// event times it should bear on. Until it is first set, every time decides. A clock that jumps is
// not trusted until most clicks agree with it.
func (c *Core) SetClock(wall, now int64) {
	k := &c.clock
	if jump := wall - now - k.limits.offset; k.told && (jump > k.skew || jump < -k.skew) {
		k.all, k.near = votes{}, votes{}
	}
	k.told = true
	k.limits = c.LimitsAt(wall, now)
	c.setFar()
}

func (c *Core) setFar() {
	l := &c.clock.limits
	l.far = event.Forever
	if c.clock.told && c.TrustsClock() {
		l.far = l.decides + c.window
	}
}

// TrustsClock says whether most recent clicks agree with our clock, of all and of those near it.
func (c *Core) TrustsClock() bool {
	k := &c.clock
	return k.all.good > k.all.ahead && k.near.good >= k.near.ahead
}

// countVotes counts how many clicks of a read are ahead of our clock, unless the clock was set
// since.
func (c *Core) countVotes(r *ClicksRead) {
	k := &c.clock
	c.AheadOfClock += int64(r.ahead)
	if set := r.limits.offset - k.limits.offset; set > k.skew || set < -k.skew {
		return
	}
	k.all.add(r.newest.n, r.ahead)
	k.near.add(r.near.good, r.near.ahead)
	c.setFar()
}

// LimitsAt says what a clock that reads wall at now is good for. Safe for concurrent use.
func (c *Core) LimitsAt(wall, now int64) Limits {
	decides := wall + c.clock.skew
	return Limits{decides: decides, far: decides + c.window, offset: wall - now}
}

// decidingTime is the time by which a checkout waits in a backlog. One ahead of our clock waits for
// what those before it have waited for.
func (c *Core) decidingTime(s *Shard, k *event.Checkout) int64 {
	if k.Time > c.clock.limits.decides && c.TrustsClock() {
		return s.maxReleased
	}
	return k.Time
}

// passedTime is the event time that a clicks partition has been read up to. While our clock is not
// trusted, clicks ahead of it count.
func (c *Core) passedTime(p *clicksPartition) int64 {
	if c.clock.told && !c.TrustsClock() {
		return p.latest
	}
	return p.maxTime
}
