package cdc

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// entry is a cached user. Its name is that of the snapshot from, plus every streamed transaction
// that from does not see.
type entry struct {
	name string
	from *snapshot // nil: every transaction to come applies
}

// user is a row of commerce.users.
type user struct {
	id   int32
	name string
}

// cache holds users under one slot. It has no connection and no clock, and is not safe for
// concurrent use.
type cache struct {
	edition   string        // of commerce.users that the names belong to
	outdated  chan struct{} // closed when the table is of another edition
	lru       *simplelru.LRU[int32, *entry]
	capacity  int
	exported  *snapshot // of the slot: what it sees is not streamed, everything else is
	changes   *changes
	truncated uint64 // xid of the last TRUNCATE; 0: none

	near     uint64      // the greatest full xid known, to extend 32-bit ones
	position uint64      // every transaction committed before this LSN is applied
	unpassed []*snapshot // of fills, whose lsn is beyond position; by arrival

	xid      uint64 // the transaction being applied
	admitted int    // users it may still bring into the cache in place of others

	evictions, refused, transactions, rows uint64
}

func newCache(capacity, ring int, exported *snapshot, consistent uint64) (*cache, error) {
	lru, err := simplelru.NewLRU[int32, *entry](capacity, nil)
	if err != nil {
		return nil, fmt.Errorf("create users cache: %w", err)
	}
	return &cache{
		outdated: make(chan struct{}), lru: lru, capacity: capacity, exported: exported,
		changes: newChanges(ring), near: exported.xmax, position: consistent,
	}, nil
}

func (c *cache) len() int { return c.lru.Len() }

func (c *cache) get(id int32) (string, bool) {
	e, ok := c.lru.Get(id)
	if !ok {
		return "", false
	}
	return e.name, true
}

// begin starts the streamed transaction with this 32-bit xid.
func (c *cache) begin(xid uint32) {
	c.xid = fullXid(c.near, xid)
	c.near = max(c.near, c.xid)
	// An inserted user enters the cache, because someone who has just signed up is likely to buy.
	// But a bulk load must not evict all others: one transaction evicts no more than this.
	c.admitted = max(1, c.capacity/64)
}

// commit ends it; end is the LSN after its commit record.
func (c *cache) commit(end uint64) {
	c.transactions++
	c.advance(end)
}

// advance records that every transaction committed before position has been applied.
func (c *cache) advance(position uint64) {
	if position <= c.position {
		return
	}
	c.position = position
	// The order of arrival is nearly that of the LSNs. A snapshot behind a later one waits for it.
	for len(c.unpassed) > 0 && c.unpassed[0].lsn <= position {
		c.unpassed[0].pass()
		c.unpassed = c.unpassed[1:]
	}
}

// peek returns the entry of id if the current transaction applies to it. present: there is an
// entry, whether or not it does.
func (c *cache) peek(id int32) (e *entry, present bool) {
	e, ok := c.lru.Peek(id)
	if !ok {
		return nil, false
	}
	if e.from != nil {
		if e.from.seesStreamed(c.xid) {
			return nil, true
		}
		e.from = nil
	}
	return e, true
}

// apply applies one change of the current transaction. It keeps nothing of ch.
func (c *cache) apply(ch *change) {
	c.rows++
	switch ch.kind {
	case kindInsert:
		if ch.id.ok {
			c.appear(ch.id.value, ch.name, true)
		}
	case kindUpdate:
		c.update(ch)
	case kindDelete:
		if ch.old.ok {
			c.vanish(ch.old.value)
		}
	case kindTruncate:
		c.truncated = c.xid
		c.lru.Purge()
	}
}

func (c *cache) update(ch *change) {
	rekeyed := ch.hasOld && ch.old != ch.id
	name := ch.name
	if rekeyed && ch.old.ok {
		if name.state == textUnchanged {
			name = c.nameOf(ch.old.value)
		}
		c.vanish(ch.old.value)
	}
	if !ch.id.ok {
		return
	}
	if rekeyed && name.state == textUnchanged {
		// The name did not change, but is not known: it is read again.
		c.vanish(ch.id.value)
		return
	}
	c.appear(ch.id.value, name, rekeyed)
}

// nameOf returns the cached name of id just before the current transaction, or textUnchanged.
func (c *cache) nameOf(id int32) text {
	if e, _ := c.peek(id); e != nil {
		return text{state: textValue, bytes: []byte(e.name)}
	}
	return text{state: textUnchanged}
}

// appear gives id its name as of the current transaction. admit: a user that is not cached may
// enter.
func (c *cache) appear(id int32, name text, admit bool) {
	c.changes.record(id, c.xid)
	e, present := c.peek(id)
	switch {
	case present && e == nil:
		// the entry's snapshot saw this transaction
	case name.state == textUnchanged:
		// an entry keeps its name
	case name.state == textNull:
		if present {
			c.lru.Remove(id)
		}
	case present:
		if e.name != string(name.bytes) { // does not copy
			e.name = string(name.bytes)
		}
	case admit && (c.admitted > 0 || c.lru.Len() < c.capacity):
		if c.lru.Len() == c.capacity {
			c.admitted--
		}
		c.add(id, &entry{name: string(name.bytes)})
	}
}

func (c *cache) vanish(id int32) {
	c.changes.record(id, c.xid)
	if e, _ := c.peek(id); e != nil {
		c.lru.Remove(id)
	}
}

func (c *cache) add(id int32, e *entry) {
	if c.lru.Add(id, e) {
		c.evictions++
	}
}

// fill offers users that a query with snapshot s has read. The query must have begun after the slot
// was up. fill sorts the users, and refuses those that may be older than what was applied.
func (c *cache) fill(s *snapshot, users []user) {
	c.near = max(c.near, s.xmax)
	if len(users) == 0 {
		return
	}
	if !s.covers(c.exported) || c.truncated != 0 && !s.sees(c.truncated) || c.changes.mayHaveLost(s) {
		c.refused += uint64(len(users))
		return
	}
	byID := func(a, b user) int { return cmp.Compare(a.id, b.id) }
	slices.SortFunc(users, byID)
	var stale map[int32]struct{}
	c.changes.unseen(s, func(id int32) {
		if _, ok := slices.BinarySearchFunc(users, user{id: id}, byID); ok {
			if stale == nil {
				stale = make(map[int32]struct{})
			}
			stale[id] = struct{}{}
		}
	})
	from := s
	if s.lsn <= c.position {
		from = nil
	}
	added := 0
	for _, u := range users {
		if _, ok := stale[u.id]; ok {
			c.refused++
			continue
		}
		if c.lru.Contains(u.id) {
			continue // the stream keeps it right
		}
		c.add(u.id, &entry{name: u.name, from: from})
		added++
	}
	if from != nil && added > 0 {
		c.unpassed = append(c.unpassed, s)
	}
}
