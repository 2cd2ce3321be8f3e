package audit

import (
	"cmp"
	"slices"
)

// nearby holds the clicks of one user and product that a checkout can have: those of its window. Checkouts come by user, product and time,
// and so do clicks; what is too early for one is too early for all that follow. In memory are the clicks of one key and one window.
type nearby struct {
	clicks *stream[click]
	window int64
	column column // which holds rows' click times, to its precision

	user    int32
	product string
	held    []near // by time and id
	head    int    // those before are too early
	noted   bool   // some are noted as late
	places  []reached
}

// near is a click as far as it matters here.
type near struct {
	time      int64
	id        string
	partition int32
	offset    int64
	flags     int32
}

// rule says which clicks count.
type rule struct {
	read    bool  // only those that the shard has read
	shard   int32 // likewise
	without int32 // not those that are noted with one of these flags; flagLate: nor those that are noted at all, unless too early for that
}

func (r rule) admits(c near, shard position) bool {
	switch {
	case c.flags&flagBefore != 0, r.read && !shard.passed(c.partition, c.offset):
		return false
	case c.flags&flagEarly != 0:
		return r.without&flagEarly == 0
	}
	return c.flags&r.without == 0
}

// reached is how far the search by one rule has come: nothing before it counts, for whichever checkout follows.
type reached struct {
	rule
	at int
}

// moveTo takes in the clicks up to the checkout, and lets go of those before its window.
func (n *nearby) moveTo(q ask) error {
	if n.user != q.user || n.product != q.product {
		n.user, n.product = q.user, q.product
		n.held, n.head, n.noted, n.places = n.held[:0], 0, false, n.places[:0]
	}
	for n.head < len(n.held) && n.held[n.head].time < q.time-n.window {
		n.head++
	}
	if n.head > len(n.held)/2 {
		gone := n.head
		n.held, n.head = slices.Delete(n.held, 0, gone), 0
		for i := range n.places {
			n.places[i].at = max(0, n.places[i].at-gone)
		}
	}
	for n.clicks.ok {
		c := &n.clicks.head
		if order := cmp.Or(cmp.Compare(c.user, q.user), cmp.Compare(c.product, q.product), cmp.Compare(c.time, q.time)); order > 0 {
			break
		}
		if !before(*c, q, q.time-n.window) {
			n.held = append(n.held, near{time: c.time, id: c.id, partition: c.partition, offset: c.offset, flags: c.flags})
			n.noted = n.noted || c.flags&flagLate != 0
		}
		if err := n.clicks.next(); err != nil {
			return err
		}
	}
	return nil
}

// least is the first click in the window that counts.
func (n *nearby) least(r rule, shard position) winner {
	i := slices.IndexFunc(n.places, func(p reached) bool { return p.rule == r })
	if i < 0 {
		i = len(n.places)
		n.places = append(n.places, reached{rule: r})
	}
	p := &n.places[i]
	p.at = max(p.at, n.head)
	for p.at < len(n.held) && !r.admits(n.held[p.at], shard) {
		p.at++
	}
	if p.at == len(n.held) {
		return winner{}
	}
	return n.held[p.at].winner()
}

func (c near) winner() winner { return winner{id: c.id, time: c.time, ok: true} }

// maxBetter is of how many clicks of a checkout that it does not take Postgres is asked: no more
// are tried where rows are written.
const maxBetter = 16

// better are the first clicks in the window that the shard has read and that are better than the
// row's.
func (n *nearby) better(row winner, shard position) (list []near) {
	for _, c := range n.held[n.head:] {
		if len(list) == maxBetter || c.winner().compare(row) >= 0 {
			break
		}
		if (rule{read: true}).admits(c, shard) && (len(list) == 0 || list[len(list)-1].winner() != c.winner()) {
			list = append(list, c)
		}
	}
	return list
}

// find is the click that a row has, to the microsecond: the column may hold less.
func (n *nearby) find(row winner) winner {
	if !row.ok {
		return winner{}
	}
	slack := n.column.unit() / 2
	from, _ := slices.BinarySearchFunc(n.held[n.head:], row.time-slack, func(c near, t int64) int { return cmp.Compare(c.time, t) })
	for _, c := range n.held[n.head+from:] {
		if c.time > row.time+slack {
			break
		}
		if c.id == row.id && n.column.storedTime(c.time) == row.time {
			return c.winner()
		}
	}
	return winner{}
}
