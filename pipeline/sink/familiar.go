package sink

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"time"
)

// familiar remembers, while duplicates come, the checkout_ids last given to Commit. A producer that sends again does so within seconds; but a few
// such records in each transaction are enough to make every COPY fail, and to ask Postgres for thousands of ids costs as much as copying their rows.
//
// It is a hint and decides nothing. A row whose id is familiar goes through the temporary table, where Postgres compares it with what stands; one
// that is not, and stands all the same (it was written long ago, or by another instance), is met by the COPY.
type familiar struct {
	mu      sync.Mutex
	seed    maphash.Seed
	buckets [][ways]uint32 // of fingerprints, the newest first; nil while no duplicates come
	quiet   int            // transactions since the last duplicate
	last    chan struct{}  // closed when the last of those that go in turn is done
}

const (
	ways     = 8
	buckets  = 1 << 17 // 4 MiB: of the last 250,000 ids one in a thousand is forgotten, of the last 100,000 one in a million
	forgetIn = 2_000   // transactions
)

// meet marks the rows of w whose ids are familiar, or repeat the id of the row before, and makes all ids familiar. Work that has such rows, or
// asks for them, gets a turn: in the order of the calls, for a duplicate that comes before its first would take its place.
func (f *familiar) meet(w *work, asks bool) {
	if len(w.rows) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	some := w.repeats
	w.asks, w.known = asks, newMask(len(w.rows))
	for i, e := range w.rows {
		if w.repeats && i > 0 && sameID(w.rows[i-1], e) || f.buckets != nil && f.add(ownID(e.row.Own)) {
			w.known.set(i)
			some = true
		}
	}
	if some || asks {
		w.turn = &turn{before: f.last, done: make(chan struct{})}
		f.last = w.turn.done
	}
}

// add makes an id familiar, and says whether it was.
func (f *familiar) add(id []byte) bool {
	hash := maphash.Bytes(f.seed, id)
	bucket, mark := &f.buckets[hash%buckets], uint32(hash>>32)|1
	for _, p := range bucket {
		if p == mark {
			return true
		}
	}
	copy(bucket[1:], bucket[:ways-1])
	bucket[0] = mark
	return false
}

// note learns what a transaction met.
func (f *familiar) note(duplicates bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case duplicates && f.buckets == nil:
		f.seed, f.buckets = maphash.MakeSeed(), make([][ways]uint32, buckets)
		fallthrough
	case duplicates:
		f.quiet = 0
	case f.buckets != nil:
		if f.quiet++; f.quiet == forgetIn {
			f.buckets = nil
		}
	}
}

// turnWithin bounds how long a transaction that has rows in the table waits for its turn: the one before it may, against all likelihood, be waiting
// for one of them, which Postgres cannot see. It costs what Postgres takes to see a deadlock.
const turnWithin = time.Second

// turn is the place of a transaction in the row of those that meet duplicates: they go one by one.
type turn struct {
	before <-chan struct{} // nil: it is the first
	done   chan struct{}
}

// wait waits for the transaction before, or for enough, where that is not nil. A nil turn need not wait.
func (t *turn) wait(ctx context.Context, enough <-chan time.Time) error {
	if t == nil || t.before == nil {
		return nil
	}
	select {
	case <-t.before:
		return nil
	case <-enough:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for another transaction: %w", context.Cause(ctx))
	}
}

// end lets the next one go.
func (t *turn) end() {
	if t != nil {
		close(t.done)
	}
}
