package cdc

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// world is a model of Postgres for the cache's rule. A transaction runs, its commit is in the WAL,
// and it becomes visible, at three different times. There are snapshots, and a slot that streams
// commits in WAL order.
type world struct {
	t        *rapid.T
	visible  map[int32]string // what a snapshot taken now sees
	written  map[int32]string // and the commits that are in the WAL but not visible yet
	next     uint64           // next xid
	last     uint64           // latest completed xid
	open     []*modelTx       // running, or committed and not visible
	wal      []*modelTx       // committed, not streamed yet
	answers  []answer         // read-throughs under way
	versions int
	cache    *cache
	inherits map[int32]bool // ids that once got another id's name, which may be an old one
}

type modelTx struct {
	xid       uint64
	changes   []change
	effect    func(map[int32]string)
	ids       []int32 // locked
	truncates bool
	committed bool
}

type answer struct {
	snap  *snapshot
	users []user
}

const modelIDs = 6

func (w *world) snapshot() *snapshot {
	s := &snapshot{xmax: w.last + 1, lsn: w.position()}
	for _, tx := range w.open {
		if tx.xid < s.xmax {
			s.xip = append(s.xip, tx.xid)
		}
	}
	slices.Sort(s.xip)
	s.xmin = s.xmax
	if len(s.xip) > 0 {
		s.xmin = s.xip[0]
	}
	return s
}

// position is the WAL's end: 1 for each committed transaction.
func (w *world) position() uint64 { return uint64(w.versions) }

func (w *world) locked(id int32) bool {
	return slices.ContainsFunc(w.open, func(tx *modelTx) bool { return tx.truncates || slices.Contains(tx.ids, id) })
}

// begin starts a transaction that does one thing to rows that are not locked.
func (w *world) begin() {
	id := rapid.Int32Range(1, modelIDs).Draw(w.t, "id")
	to := rapid.Int32Range(1, modelIDs).Draw(w.t, "to")
	what := rapid.SampledFrom([]string{"put", "put", "put", "delete", "rekey", "toast", "truncate"}).Draw(w.t, "what")
	if w.locked(id) || what == "rekey" && w.locked(to) || what == "truncate" && len(w.open) > 0 {
		return
	}
	tx := &modelTx{xid: w.next, ids: []int32{id}}
	old, there := w.written[id]
	w.versions++
	name := fmt.Sprintf("v%d", w.versions)
	k, n := key{id, true}, text{textValue, []byte(name)}
	switch {
	case what == "truncate":
		tx.truncates = true
		tx.changes = []change{{kind: kindTruncate}}
		tx.effect = func(db map[int32]string) { clear(db) }
	case what == "delete" && there:
		tx.changes = []change{{kind: kindDelete, hasOld: true, old: k}}
		tx.effect = func(db map[int32]string) { delete(db, id) }
	case what == "rekey" && there:
		if _, taken := w.written[to]; taken || to == id {
			return
		}
		if rapid.Bool().Draw(w.t, "unchanged name") {
			name, n = old, text{}
			w.inherits[to] = true
		}
		tx.ids = append(tx.ids, to)
		tx.changes = []change{{kind: kindUpdate, hasOld: true, old: k, id: key{to, true}, name: n}}
		tx.effect = func(db map[int32]string) { delete(db, id); db[to] = name }
	case what == "toast" && there:
		tx.changes = []change{{kind: kindUpdate, id: k}}
		tx.effect = func(map[int32]string) {}
	case there && rapid.Bool().Draw(w.t, "twice"):
		tx.changes = []change{{kind: kindDelete, old: k}, {kind: kindInsert, id: k, name: n}}
		tx.effect = func(db map[int32]string) { db[id] = name }
	default:
		tx.changes = []change{{kind: kindInsert, id: k, name: n}}
		if there {
			tx.changes[0].kind = kindUpdate
		}
		tx.effect = func(db map[int32]string) { db[id] = name }
	}
	w.next++
	w.open = append(w.open, tx)
}

func (w *world) commit() {
	running := slices.DeleteFunc(slices.Clone(w.open), func(tx *modelTx) bool { return tx.committed })
	if len(running) == 0 {
		return
	}
	tx := rapid.SampledFrom(running).Draw(w.t, "commit")
	tx.committed = true
	w.versions++
	tx.effect(w.written)
	w.wal = append(w.wal, tx)
}

func (w *world) show() {
	limbo := slices.DeleteFunc(slices.Clone(w.open), func(tx *modelTx) bool { return !tx.committed })
	if len(limbo) == 0 {
		return
	}
	w.end(rapid.SampledFrom(limbo).Draw(w.t, "show"))
}

func (w *world) end(tx *modelTx) {
	tx.effect(w.visible)
	w.last = max(w.last, tx.xid)
	w.open = slices.DeleteFunc(w.open, func(o *modelTx) bool { return o == tx })
}

func (w *world) abort() {
	running := slices.DeleteFunc(slices.Clone(w.open), func(tx *modelTx) bool { return tx.committed })
	if len(running) == 0 {
		return
	}
	tx := rapid.SampledFrom(running).Draw(w.t, "abort")
	w.last = max(w.last, tx.xid)
	w.open = slices.DeleteFunc(w.open, func(o *modelTx) bool { return o == tx })
}

// slot begins a new slot. Its exported snapshot sees what is in the WAL, visible or not.
func (w *world) slot() {
	e := &snapshot{xmax: w.next}
	for _, tx := range w.open {
		if !tx.committed {
			e.xip = append(e.xip, tx.xid)
		}
	}
	slices.Sort(e.xip)
	e.xmin = e.xmax
	if len(e.xip) > 0 {
		e.xmin = e.xip[0]
	}
	w.wal = nil
	w.answers = nil // they belong to the cache before
	var err error
	if w.cache, err = newCache(rapid.IntRange(1, 8).Draw(w.t, "capacity"), 4, e, w.position()); err != nil {
		w.t.Fatal(err)
	}
	from := *e
	w.answers = append(w.answers, answer{&from, rows(w.written)}) // the preload
}

func rows(db map[int32]string) []user {
	var users []user
	for id, name := range db {
		users = append(users, user{id, name})
	}
	return users
}

func (w *world) query() {
	if slices.ContainsFunc(w.open, func(tx *modelTx) bool { return tx.truncates }) {
		return // waits for the table's lock
	}
	w.answers = append(w.answers, answer{w.snapshot(), rows(w.visible)})
}

func (w *world) answered() {
	if len(w.answers) == 0 {
		return
	}
	i := rapid.IntRange(0, len(w.answers)-1).Draw(w.t, "answer")
	w.cache.fill(w.answers[i].snap, w.answers[i].users)
	w.answers = slices.Delete(w.answers, i, i+1)
}

func (w *world) stream() {
	if len(w.wal) == 0 {
		if !slices.ContainsFunc(w.open, func(tx *modelTx) bool { return tx.committed }) {
			w.cache.advance(w.position())
		}
		return
	}
	tx := w.wal[0]
	w.wal = w.wal[1:]
	w.cache.begin(uint32(tx.xid))
	for i := range tx.changes {
		before := w.cached()
		w.cache.apply(&tx.changes[i])
		for id, name := range w.cached() {
			if was := before[id]; version(name) < version(was) && !w.inherits[id] {
				w.t.Fatalf("user %d went back from %q to %q", id, was, name)
			}
		}
		if rapid.IntRange(0, 3).Draw(w.t, "amid") == 0 {
			w.answered()
		}
	}
	w.cache.commit(0)
}

func (w *world) cached() map[int32]string {
	names := make(map[int32]string)
	for _, id := range w.cache.lru.Keys() {
		e, _ := w.cache.lru.Peek(id)
		names[id] = e.name
	}
	return names
}

// version is 0 for the names that were there at first.
func version(name string) (n int) {
	_, _ = fmt.Sscanf(name, "v%d", &n)
	return n
}

// TestCacheAgainstModel: in any order of commits, visibility, stream and answers, every cached name
// is the table's once all have arrived.
func TestCacheAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.SampledFrom([]uint64{3, 1000, 1<<32 - 5, 7<<32 + 1}).Draw(t, "first xid")
		w := &world{t: t, visible: map[int32]string{1: "one", 2: "two"}, written: map[int32]string{1: "one", 2: "two"},
			next: first, last: first - 1, inherits: make(map[int32]bool)}
		for range rapid.IntRange(0, 10).Draw(t, "before") {
			rapid.SampledFrom([]func(){w.begin, w.commit, w.show, w.abort}).Draw(t, "early")()
		}
		w.slot()
		steps := []func(){w.begin, w.begin, w.commit, w.commit, w.show, w.show, w.abort, w.query, w.query, w.answered,
			w.answered, w.stream, w.stream}
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			steps[rapid.IntRange(0, len(steps)-1).Draw(t, "step")]()
			if rapid.IntRange(0, 50).Draw(t, "reconnect") == 50 {
				w.slot()
			}
		}
		for len(w.open) > 0 {
			if tx := w.open[0]; !tx.committed {
				tx.committed = true
				w.versions++
				tx.effect(w.written)
				w.wal = append(w.wal, tx)
			}
			w.end(w.open[0])
		}
		if !maps.Equal(w.visible, w.written) {
			t.Fatalf("the model is wrong: visible %v, written %v", w.visible, w.written)
		}
		for len(w.wal)+len(w.answers) > 0 {
			w.stream()
			w.answered()
		}
		for _, id := range w.cache.lru.Keys() {
			e, _ := w.cache.lru.Peek(id)
			if want, ok := w.visible[id]; !ok || e.name != want {
				t.Fatalf("user %d: cached %q, in the table %q (there: %v)", id, e.name, want, ok)
			}
		}
		// With nothing under way, no fill is refused.
		w.query()
		refused := w.cache.refused
		w.answered()
		if w.cache.refused != refused {
			t.Fatalf("%d fills refused although nothing is under way", w.cache.refused-refused)
		}
	})
}
