package sink

import (
	"context"
	"fmt"
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// recentIDs remembers, while duplicates come, the checkout_ids last given to Commit. A producer
// that sends again does so within seconds. A few duplicates in each transaction are enough to make
// every COPY fail, and to look thousands of ids up in Postgres costs as much as copying their rows.
//
// It is a hint and decides nothing. A row with a recent id goes through the temporary table, where
// Postgres compares it with the row that is there. If another row exists all the same (it was
// written long ago, or by another instance), the COPY fails on it.
type recentIDs struct {
	mu      sync.Mutex
	seed    maphash.Seed
	buckets [][ways]uint32 // of fingerprints, the newest first; nil while no duplicates come
	quiet   int            // transactions since the last duplicate
	last    chan struct{}  // closed by the newest ticket's transaction when it ends
}

const (
	ways     = 8
	buckets  = 1 << 17 // 4 MiB: of the last 250,000 ids 1 in 1,000 is forgotten, of the last 100,000 1 in 1,000,000
	forgetIn = 2_000   // transactions
)

// mark marks the rows of set that have a recent id, or the id of the row before, and remembers all
// ids. A set with such rows, or one that looks rows up, gets a ticket. Tickets are in the order of
// the calls: else a duplicate could be written before the first record of its checkout_id.
func (ids *recentIDs) mark(set *commitSet, lookUp bool) {
	if len(set.rows) == 0 {
		return
	}
	ids.mu.Lock()
	defer ids.mu.Unlock()
	some := set.repeats
	set.lookUp, set.likely = lookUp, newMask(len(set.rows))
	for i, r := range set.rows {
		if set.repeats && i > 0 && sameID(set.rows[i-1], r) || ids.buckets != nil && ids.add(r.IDText()) {
			set.likely.set(r)
			some = true
		}
	}
	if some || lookUp {
		set.ticket = &ticket{before: ids.last, done: make(chan struct{})}
		ids.last = set.ticket.done
	}
}

// add remembers an id, and says whether it was there already.
func (ids *recentIDs) add(id []byte) bool {
	hash := maphash.Bytes(ids.seed, id)
	bucket, fingerprint := &ids.buckets[hash%buckets], uint32(hash>>32)|1
	for _, f := range bucket {
		if f == fingerprint {
			return true
		}
	}
	copy(bucket[1:], bucket[:ways-1])
	bucket[0] = fingerprint
	return false
}

// record is called after each transaction with rows.
func (ids *recentIDs) record(duplicates bool) {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	switch {
	case duplicates && ids.buckets == nil:
		ids.seed, ids.buckets, ids.quiet = maphash.MakeSeed(), make([][ways]uint32, buckets), 0
	case duplicates:
		ids.quiet = 0
	case ids.buckets != nil:
		if ids.quiet++; ids.quiet == forgetIn {
			ids.buckets = nil
		}
	}
}

// ticketTimeout bounds how long a transaction that has written rows waits for the one before. That
// one may wait for one of these rows, which Postgres cannot see. The wait costs what Postgres
// takes to see a deadlock.
const ticketTimeout = time.Second

// ticket is the place of a transaction among those with duplicates, which go one by one.
type ticket struct {
	before <-chan struct{} // nil: it is the first
	done   chan struct{}
}

// wait waits for the transaction before, or for the timeout if there is one. A nil ticket does not
// wait.
func (t *ticket) wait(ctx context.Context, timeout <-chan time.Time) error {
	if t == nil || t.before == nil {
		return nil
	}
	select {
	case <-t.before:
		return nil
	case <-timeout:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for another transaction: %w", context.Cause(ctx))
	}
}

// end lets the next one go.
func (t *ticket) end() {
	if t != nil {
		close(t.done)
	}
}

// duplicateHistory remembers which of the last commits had a duplicate that recentIDs did not
// foresee. A plain COPY that fails on one costs half of itself on average, and then the way through
// the temporary table, which costs two. To look all ids up first costs about one. So that pays
// where two of three commits have duplicates, as while a restarted shard reads its checkouts again.
type duplicateHistory struct{ last3 atomic.Uint32 } // bit 0 is the last commit

func (h *duplicateHistory) record(duplicates bool) {
	last3 := h.last3.Load() << 1
	if duplicates {
		last3 |= 1
	}
	h.last3.Store(last3 & 0b111)
}

func (h *duplicateHistory) frequent() bool { return bits.OnesCount32(h.last3.Load()) >= 2 }
