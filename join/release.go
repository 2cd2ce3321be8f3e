package join

import "fmt"

// ask is an answer to the question where the clicks partitions end.
type ask struct {
	gen  uint64
	ends []int64

	version uint64 // of the core when pass and stuck were worked out
	pass    int64  // checkouts up to this time may go; NoTime: none
	stuck   bool   // an open transaction was passed over for it
}

// maxAsks bounds the answers kept. Past it the newest takes the place of its predecessor: stricter, never wrong.
const maxAsks = 64

// LostClicksError says that a checkout not yet released needs clicks that are gone from Kafka.
type LostClicksError struct {
	Partition int32 // of the clicks topic
	Started   int64 // offset from which clicks are there
	Checkout  int64 // offset of the checkout
	Time      int64 // its event time
}

func (e *LostClicksError) Error() string {
	return fmt.Sprintf("clicks partition %d begins at offset %d: clicks that the checkout at offset %d needs are gone", e.Partition, e.Started, e.Checkout)
}

// Ends takes in the answer to ask gen, which was begun after every checkout with Need <= gen had been fetched: the ends of the
// clicks partitions, uncommitted records counted, and, where asked for, their last stable offsets
// (else nil). Every partition's end must be known: an ask that could not learn one is asked again. asked is when it was begun, not
// when the answer came. It returns the clicks partitions that are new.
func (c *Core) Ends(gen uint64, clicks, stable []int64, asked int64) (added []int32) {
	for p := len(c.parts); p < len(clicks); p++ {
		added = append(added, int32(p))
	}
	c.grow(len(clicks), asked)
	for p, end := range clicks {
		cp := &c.parts[p]
		if cp.next >= cp.end && cp.next < end {
			cp.movedAt = asked // there was nothing to read before: it stands from now on
		}
		cp.end = max(cp.end, end)
		cp.lso = -1
		if p < len(stable) {
			cp.lso = stable[p]
		}
	}
	c.endsAt = max(c.endsAt, asked)
	c.version++
	if gen > c.answered {
		c.answered = gen
		a := ask{gen: gen, ends: clicks}
		if len(c.asks) >= maxAsks {
			c.asks[len(c.asks)-1] = a
		} else {
			c.asks = append(c.asks, a)
		}
	}
	c.advance(asked, -1)
	return added
}

// CheckoutEnds takes in the ends of the checkouts partitions, as asked for at a time. A negative one is not known: nobody leads the partition, it may be.
func (c *Core) CheckoutEnds(ends []int64, asked int64) {
	c.checkoutEndsAt = max(c.checkoutEndsAt, asked)
	for _, s := range c.shards {
		if int(s.Partition) < len(ends) {
			end := ends[s.Partition]
			s.end, s.unreadable = max(s.end, end), end < 0
		}
	}
}

// ShortOfMemory says whether clicks take more than they may. While they do, a shard whose partition can't be read does not hold them: see settle.
func (c *Core) ShortOfMemory(short bool) { c.short = short }

// Unasked says whether a checkout waits that no answered ask covers.
func (c *Core) Unasked() bool {
	for _, s := range c.shards {
		if s.Queued() > 0 && s.queue[len(s.queue)-1].Need > c.answered {
			return true
		}
	}
	return false
}

// Standing says whether a clicks partition has stood short of its end for at least d microseconds: then its last stable
// offset is worth asking for.
func (c *Core) Standing(now, d int64) bool {
	for i := range c.parts {
		if p := &c.parts[i]; p.next < p.end && now-p.movedAt >= d {
			return true
		}
	}
	return false
}

// Release gives out, in offset order, up to limit records of the shard that need not wait any longer, with the click that each
// checkout has. late: the checkout came after its time was final, or is dated so far ahead of our clock that no correction waits for it.
//
// Invariant (promise 2): a checkout goes only when every clicks partition has been read up to the end asked for after the
// checkout was fetched; or, for a partition far behind its end, when that partition's event time has passed the checkout's by the
// out-of-order allowance; a partition held by an open transaction is waited for no longer than OpenTransaction.
func (c *Core) Release(s *Shard, limit int, now int64, emit func(k *Pending, r *Recent, late bool)) (int, error) {
	c.trimAsks()
	n, last := 0, s.head
	top := int64(NoTime)
	for last < len(s.queue) && n < limit {
		k := &s.queue[last]
		if !k.Skip {
			if !c.mayGo(s, k, now) {
				break
			}
			if k.Time <= c.clock.far { // no later click corrects one that is far
				top = max(top, k.Time)
			}
		}
		last++
		n++
	}
	if n == 0 {
		return 0, nil
	}
	if top != NoTime {
		c.raiseFrontier(top) // before any look-up: see Frontier
	}
	for s.head < last {
		if err := c.giveOut(s, min(last, s.head+LookupsSize), emit); err != nil {
			return n, err
		}
	}
	if s.head == len(s.queue) {
		s.queue, s.head = s.queue[:0], 0
	}
	if s.newest.n > 0 {
		s.maxReleased = s.newest.reached(c.lateness + c.outOfOrder)
	}
	c.settle(s)
	return n, nil
}

// giveOut gives out the records up to a place in the queue.
func (c *Core) giveOut(s *Shard, to int, emit func(k *Pending, r *Recent, late bool)) error {
	c.lookups.Reset()
	for i := s.head; i < to; i++ {
		if k := &s.queue[i]; !k.Skip {
			c.lookups.Ask(k.Key, k.Time-c.window, k.Time)
		}
	}
	c.lookups.Find()
	for answer := 0; s.head < to; s.head++ {
		k := &s.queue[s.head]
		var r Recent
		late := false
		if !k.Skip {
			far := k.Time > c.clock.far
			if late = k.Time < s.final || far; !late { // invariant: what comes too late, or is far, stops nothing
				if err := c.lost(k); err != nil {
					return err
				}
			}
			if far {
				c.FarCheckouts++
			}
			r = Recent{Time: k.Time, Offset: k.Offset, ID: k.ID}
			r.ClickTime, r.Click, r.HasClick = c.lookups.Answer(answer)
			answer++
			if !late {
				s.recents.Add(k.Key, r)
			}
			if k.Time <= c.clock.believed {
				s.newest.add(k.Time)
			}
		}
		s.next, s.epoch = k.Offset+1, k.Epoch
		emit(k, &r, late)
		*k = Pending{}
	}
	return nil
}

func (c *Core) lost(k *Pending) error {
	for i := range c.parts {
		if p := &c.parts[i]; p.lostUntil != NoTime && k.Time-c.window < p.lostUntil {
			return &LostClicksError{Partition: int32(i), Started: p.started, Checkout: k.Offset, Time: k.Time}
		}
	}
	return nil
}

// trimAsks forgets the answers that every partition has been read up to.
func (c *Core) trimAsks() {
	n := 0
	for n < len(c.asks) && c.readUpToAsk(&c.asks[n]) {
		c.satisfied = c.asks[n].gen
		n++
	}
	if n > 0 {
		c.asks = c.asks[:copy(c.asks, c.asks[n:])]
	}
}

func (c *Core) readUpToAsk(a *ask) bool {
	for p, end := range a.ends {
		if c.parts[p].next < end {
			return false
		}
	}
	return true
}

func (c *Core) mayGo(s *Shard, k *Pending, now int64) bool {
	if k.Need <= c.satisfied {
		return true
	}
	for i := range c.asks {
		a := &c.asks[i]
		if a.gen < k.Need {
			continue
		}
		if a.version != c.version {
			c.judge(a, now)
		}
		if a.pass == NoTime || c.decidingTime(s, k) > a.pass {
			return false
		}
		if a.stuck {
			c.OpenTxnReleases++
		}
		return true
	}
	return false
}

// judge works out up to which time checkouts may go although a's ends have not all been reached.
func (c *Core) judge(a *ask, now int64) {
	a.version, a.pass, a.stuck = c.version, forever, false
	for i, end := range a.ends {
		p := &c.parts[i]
		switch {
		case p.next >= end:
		case p.lso >= 0 && p.next >= p.lso && now-p.movedAt >= c.openTxn:
			a.stuck = true // invariant: nothing of it can be read, so its event time is not waited for, however far it is behind
		case p.end-p.next > c.farBehind && c.passedTime(p) != NoTime:
			a.pass = min(a.pass, c.passedTime(p)-c.outOfOrder)
		default:
			a.pass = NoTime
			return
		}
	}
}

// Waits tells, by clicks partition, whether the oldest checkout at the head of a queue waits for it. Such a partition must
// never be paused. All are true while nothing is known.
func (c *Core) Waits() []bool {
	w := make([]bool, len(c.parts))
	var oldest *Pending
	var since int64
	for _, s := range c.shards {
		for i := s.head; i < len(s.queue); i++ {
			if k := &s.queue[i]; !k.Skip {
				if t := c.decidingTime(s, k); oldest == nil || t < since {
					oldest, since = k, t
				}
				break
			}
		}
	}
	if oldest == nil || oldest.Need <= c.satisfied {
		return w
	}
	ends := []int64(nil)
	for i := range c.asks {
		if c.asks[i].gen >= oldest.Need {
			ends = c.asks[i].ends
			break
		}
	}
	for i := range w {
		p := &c.parts[i]
		short := i >= len(ends) || p.next < ends[i]
		passed := p.end-p.next > c.farBehind && c.passedTime(p) != NoTime && c.passedTime(p)-c.outOfOrder >= since
		w[i] = short && !passed
	}
	return w
}

// ClicksState is how far one clicks partition is, for those who look.
type ClicksState struct {
	Next, End, MaxTime int64
}

// ClicksStates lists the clicks partitions.
func (c *Core) ClicksStates() []ClicksState {
	st := make([]ClicksState, len(c.parts))
	for i := range c.parts {
		st[i] = ClicksState{c.parts[i].next, c.parts[i].end, c.parts[i].maxTime}
	}
	return st
}
