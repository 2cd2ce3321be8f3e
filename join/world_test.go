package join_test

import (
	"fmt"
	"time"

	"pgregory.net/rapid"

	"firstclick/join"
	"firstclick/join/event"
	"firstclick/join/window"
)

// world is a Kafka, a Postgres and one instance after another between them, all in memory. Rapid
// chooses what happens next; at the end everything is drained and the table must be the one that
// brute force gives.
type world struct {
	t     *rapid.T
	clock int64 // production time, micros; also the instance's clock

	clicks    [][]click    // log by partition; an id of "" is a control record
	checkouts [][]checkout // likewise
	nextID    int

	table  map[string]row
	stored map[int32]event.Position
	owned  map[int32]bool // shards that the instance holds

	window *window.Window
	core   *join.Core
	read   []int64 // clicks positions of the instance
	fresh  []int64 // from where on clicks had not been read before the restart
	asked  uint64
	batch  map[int32][]row
	lates  int
	noted  map[string]bool // clicks and checkouts that were noted as late, or as far ahead of the clock
	ahead  map[string]bool // events dated further ahead than a restart waits for
	leaps  int             // how often more time passed than the lateness allows for
	stride int64           // the most time between two events
}

type click struct {
	id            string
	user, product int
	t             int64
}

type checkout struct {
	id            string
	user, product int
	t             int64
}

type row struct {
	checkout string
	click    string
	time     int64
	has      bool
}

const (
	second = int64(1_000_000)
	hour   = 3600 * second
	noTime = event.NoTime
)

var hasher = event.NewHasher(7)

func (w *world) key(user, product int) event.Key {
	return hasher.Key(int32(user), fmt.Appendf(nil, "product-%d", product))
}

func newWorld(t *rapid.T) *world {
	w := &world{
		t: t, clock: 1_800_000_000 * second, table: map[string]row{}, stored: map[int32]event.Position{},
		noted: map[string]bool{}, ahead: map[string]bool{},
	}
	w.clicks = make([][]click, rapid.IntRange(1, 4).Draw(t, "clicks partitions"))
	w.checkouts = make([][]checkout, rapid.IntRange(1, 3).Draw(t, "checkouts partitions"))
	for p := range w.checkouts {
		w.stored[int32(p)] = event.Position{
			LeaderEpoch: -1, Watermark: noTime, FinalBefore: noTime, ExpireBefore: noTime,
			ClicksNext: make([]int64, len(w.clicks)), ClicksRestore: make([]int64, len(w.clicks)),
		}
	}
	w.stride = rapid.SampledFrom([]int64{second, 10 * second}).Draw(t, "stride")
	w.restart()
	return w
}

// restart is a crash: what was not committed is gone.
func (w *world) restart() {
	w.window = window.New(0)
	w.core = join.NewCore(join.Config{Window: time.Hour, Lateness: 15 * time.Minute, OutOfOrder: 15 * time.Second,
		MaxFutureSkew: 5 * time.Minute, FarBehind: 5}, w.window)
	w.core.SetClock(w.clock, w.clock)
	w.batch, w.owned, w.asked = map[int32][]row{}, map[int32]bool{}, 0
	w.read, w.fresh = make([]int64, len(w.clicks)), make([]int64, len(w.clicks))
	final := noTime
	for p := range w.clicks {
		w.read[p], w.fresh[p] = event.Forever, event.Forever
		for _, st := range w.stored {
			w.read[p], w.fresh[p] = min(w.read[p], st.ClicksRestore[p]), min(w.fresh[p], st.ClicksNext[p])
			final = max(final, st.FinalBefore)
		}
		w.core.AddClicks(int32(p), w.read[p], event.NoTime, w.clock)
	}
	w.core.StoredByAll(final, w.fresh)
	for p := range w.checkouts {
		w.takeOver(int32(p))
	}
}

func (w *world) takeOver(p int32) {
	st := w.stored[p]
	if !w.core.CanTakeOver(st) {
		w.restart()
		return
	}
	w.core.RestoreWatermark(st.Watermark)
	_, late := w.core.AddShard(p, st, st.OpenOffset < st.NextOffset)
	for _, k := range late {
		w.note(k.ID.String())
	}
	w.owned[p] = true
	delete(w.batch, p)
}

func (w *world) note(id string) {
	w.noted[id] = true
	if !w.ahead[id] {
		w.lates++
	}
}

// Clocks of producers. What was dated ahead may come true while it is read again; alone, it is
// believed then.
var (
	neverTrue    = []int64{minute, 6 * minute, 26 * hour, 7900 * 365 * 24 * hour}
	someComeTrue = append([]int64{40 * minute, 2 * hour}, neverTrue...)
)

// wrongBy is by how much an event is dated ahead of its time: most are not.
func wrongBy(t *rapid.T, by []int64) int64 {
	if rapid.IntRange(0, 24).Draw(t, "wrong clock") > 0 {
		return 0
	}
	return rapid.SampledFrom(by).Draw(t, "ahead by")
}

func (w *world) produce() {
	n := rapid.IntRange(1, 20).Draw(w.t, "events")
	for range n {
		w.clock += rapid.Int64Range(0, w.stride).Draw(w.t, "gap")
		w.nextID++
		user, product := rapid.IntRange(1, 2).Draw(w.t, "user"), rapid.IntRange(1, 2).Draw(w.t, "product")
		back := rapid.SampledFrom([]int64{0, 0, 0, second, 20 * second, 9 * 60 * second}).Draw(w.t, "late by")
		ahead := wrongBy(w.t, neverTrue)
		at := (w.clock-back)/second*second + ahead
		switch kind := rapid.IntRange(0, 9).Draw(w.t, "kind"); {
		case kind < 5:
			p := rapid.IntRange(0, len(w.clicks)-1).Draw(w.t, "partition")
			// coarse times make equal times likely; ids are random in order
			c := click{fmt.Sprintf("c%d-%d", rapid.IntRange(0, 99).Draw(w.t, "id"), w.nextID), user, product, at}
			w.ahead[c.id] = ahead > hour
			w.clicks[p] = append(w.clicks[p], c)
			if rapid.IntRange(0, 9).Draw(w.t, "again") == 0 {
				w.clicks[p] = append(w.clicks[p], c)
			}
		case kind < 8:
			p := rapid.IntRange(0, len(w.checkouts)-1).Draw(w.t, "partition")
			k := checkout{fmt.Sprintf("k%d", w.nextID), user, product, at}
			w.ahead[k.id] = ahead > hour
			w.checkouts[p] = append(w.checkouts[p], k)
		case kind == 8:
			p := rapid.IntRange(0, len(w.clicks)-1).Draw(w.t, "partition")
			w.clicks[p] = append(w.clicks[p], click{})
		default:
			p := rapid.IntRange(0, len(w.checkouts)-1).Draw(w.t, "partition")
			w.checkouts[p] = append(w.checkouts[p], checkout{})
		}
	}
}

// leap lets much time pass, so that clicks and checkouts expire.
func (w *world) leap() {
	w.leaps++
	w.ask()
	for i := 0; i < 30; i++ {
		w.clock += 30 * second
		w.core.SetClock(w.clock, w.clock)
		w.ask()
		w.core.Tick(w.clock)
	}
}

func (w *world) readClicks() {
	p := rapid.IntRange(0, len(w.clicks)-1).Draw(w.t, "partition")
	w.ask() // an instance knows the ends to half a second
	w.readSome(p, rapid.IntRange(1, 30).Draw(w.t, "records"))
}

func (w *world) readSome(p, n int) {
	var r join.ClicksRead
	r.Reset(int32(p))
	r.SetLimits(w.core.LimitsAt(w.clock, w.clock))
	w.core.SetClock(w.clock, w.clock)
	log := w.clicks[p]
	to := min(int(w.read[p])+n, len(log))
	if to == int(w.read[p]) {
		return
	}
	for o := int(w.read[p]); o < to; o++ {
		r.Next = int64(o) + 1
		c := log[o]
		if c.id == "" {
			continue
		}
		key, id := w.key(c.user, c.product), event.MakeID([]byte(c.id))
		w.window.Insert(key, c.t, id)
		r.Add(c.t, int64(o))
		if r.IsCandidate(c.t, w.core.Frontier(), w.core.LateBefore(), int64(o) >= w.fresh[p]) {
			r.Candidates = append(r.Candidates, join.Candidate{Key: key, Time: c.t, ID: id, Offset: int64(o)})
		}
	}
	w.read[p] = int64(to)
	late, _ := w.core.Clicks(&r, w.clock)
	for _, k := range late {
		w.note(k.ID.String())
	}
	w.restore()
}

// restore begins when the clicks have been read up to where the last owner was.
func (w *world) restore() {
	for _, s := range w.core.Shards() {
		st := w.stored[s.Partition]
		if !s.Restoring() || !w.core.ReadUpTo(st.ClicksNext) {
			continue
		}
		for _, k := range w.core.Restore(s, w.fetchable(s.Partition, int(st.OpenOffset), int(st.NextOffset))) {
			w.note(k.ID.String())
		}
		w.core.RestoreDone(s)
	}
}

func (w *world) fetchable(p int32, from, to int) []event.Checkout {
	var out []event.Checkout
	for o := from; o < to; o++ {
		k := w.checkouts[p][o]
		out = append(out, event.Checkout{
			Offset: int64(o), Time: k.t, Key: w.key(k.user,
				k.product), ID: event.MakeID([]byte(k.id)), Barrier: w.asked + 1, Skip: k.id == "",
		})
	}
	return out
}

func (w *world) fetch() {
	p := int32(rapid.IntRange(0, len(w.checkouts)-1).Draw(w.t, "partition"))
	w.fetchSome(p, rapid.IntRange(1, 20).Draw(w.t, "records"))
}

func (w *world) fetchSome(p int32, n int) {
	s := w.core.Shard(p)
	if s == nil {
		return
	}
	from := int(s.Next()) + s.Queued() // every record of these logs is queued, none is left out
	s.Fetched(w.fetchable(p, from, min(from+n, len(w.checkouts[p]))))
}

func (w *world) ask() {
	w.asked++
	clicks, checkouts := make([]int64, len(w.clicks)), make([]int64, len(w.checkouts))
	for p := range w.clicks {
		clicks[p] = int64(len(w.clicks[p]))
	}
	for p := range w.checkouts {
		checkouts[p] = int64(len(w.checkouts[p]))
	}
	w.core.CheckoutsEnds(checkouts, w.clock)
	w.core.ClicksEnds(w.asked, clicks, nil, w.clock)
}

func (w *world) release(limit int) {
	w.core.SetClock(w.clock, w.clock)
	for _, s := range w.core.Shards() {
		released, err := w.core.Release(s, limit, w.clock)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, r := range released {
			if r.Skip {
				continue
			}
			if r.Final {
				w.note(r.ID.String())
			}
			w.batch[s.Partition] = append(w.batch[s.Partition],
				row{r.ID.String(), r.Click.String(), r.ClickTime, r.HasClick})
		}
	}
}

func less(t int64, id string, r row) bool {
	return !r.has || t < r.time || t == r.time && id < r.click
}

// commit is one transaction of one shard: rows, corrections, positions.
func (w *world) commit(p int32, most int) {
	s := w.core.Shard(p)
	if s == nil {
		return
	}
	for _, r := range w.batch[p] {
		if _, ok := w.table[r.checkout]; ok {
			w.t.Fatalf("row %s written twice", r.checkout)
		}
		w.table[r.checkout] = r
	}
	delete(w.batch, p)
	final := w.stored[p].FinalBefore
	taken := w.core.Take(s, most)
	for _, c := range taken.Corrections {
		r, ok := w.table[c.Checkout.String()]
		if !ok {
			w.t.Fatalf("correction of %s, which has no row", c.Checkout)
		}
		if less(c.ClickTime, c.Click.String(), r) {
			if at := w.timeOf(c.Checkout.String()); final != noTime && at < final {
				w.t.Fatalf("row %s of time %d moved after %d was final", c.Checkout, at, final)
			}
			w.table[c.Checkout.String()] = row{r.checkout, c.Click.String(), c.ClickTime, true}
		}
	}
	old, at := w.stored[p], taken.Position
	if at.NextOffset < old.NextOffset || at.OpenOffset < old.OpenOffset || at.Watermark < old.Watermark ||
		at.FinalBefore < old.FinalBefore {
		w.t.Fatalf("position went back from %+v to %+v", old, at)
	}
	w.stored[p] = at
}

func (w *world) timeOf(id string) int64 {
	for _, log := range w.checkouts {
		for _, k := range log {
			if k.id == id {
				return k.t
			}
		}
	}
	return 0
}

func (w *world) expire() { w.core.Expire(w.leastUnowned()) }

func (w *world) leastUnowned() int64 {
	least := event.Forever
	for p, st := range w.stored {
		if !w.owned[p] {
			least = min(least, st.ExpireBefore)
		}
	}
	return least
}

// move is a rebalance: a shard is dropped as it stands, and taken over again.
func (w *world) move() {
	p := int32(rapid.IntRange(0, len(w.checkouts)-1).Draw(w.t, "partition"))
	if w.owned[p] {
		w.core.DropShard(p)
		delete(w.owned, p)
		delete(w.batch, p)
		return
	}
	w.takeOver(p)
	w.restore()
}
