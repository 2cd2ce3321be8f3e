package join_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// bruteForce is the meaning of a row, read off DESIGN: the least (time, id) within the hour before.
func (w *world) bruteForce() map[string]row {
	want := map[string]row{}
	for _, log := range w.checkouts {
		for _, k := range log {
			if k.id == "" {
				continue
			}
			r := row{checkout: k.id}
			for _, c := range slices.Concat(w.clicks...) {
				if c.id != "" && c.user == k.user && c.product == k.product && k.t-hour <= c.t && c.t <= k.t &&
					less(c.t, c.id, r) {
					r = row{k.id, c.id, c.t, true}
				}
			}
			want[k.id] = r
		}
	}
	return want
}

func TestAnyOrderOfEventsGivesTheBruteForceTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		steps := rapid.IntRange(1, 120).Draw(t, "steps")
		for range steps {
			switch rapid.IntRange(0, 13).Draw(t, "step") {
			case 0, 1:
				w.produce()
			case 2, 3, 4:
				w.readClicks()
			case 5, 6:
				w.fetch()
			case 7:
				w.ask()
			case 8, 9:
				w.release(rapid.IntRange(1, 50).Draw(t, "limit"))
			case 10:
				w.commit(int32(rapid.IntRange(0, len(w.checkouts)-1).Draw(t, "shard")),
					rapid.IntRange(1, 5).Draw(t, "corrections"))
			case 11:
				w.expire()
			case 12:
				switch rapid.IntRange(0, 2).Draw(t, "trouble") {
				case 0:
					w.restart()
				case 1:
					w.move()
				case 2:
					w.leap()
				}
			case 13:
				w.ask()
				w.core.Tick(w.clock)
			}
		}
		w.drain()
		w.compare()
	})
}

// compare holds the table against brute force. Only where more time passed than the lateness allows
// for may events have come too late; then a row may miss a click, but never have one that is not
// its own.
func (w *world) drain() {
	for p := range w.checkouts {
		if !w.owned[int32(p)] {
			w.takeOver(int32(p))
		}
	}
	w.restore()
	for range 3 {
		for p := range w.checkouts {
			w.fetchSome(int32(p), len(w.checkouts[p]))
		}
		w.ask()
		for p := range w.clicks {
			w.readSome(p, len(w.clicks[p]))
		}
		w.release(1 << 30)
		for p := range w.checkouts {
			w.commit(int32(p), 1<<30)
		}
	}
}

func (w *world) compare() {
	want := w.bruteForce()
	if w.lates > 0 && w.leaps == 0 {
		w.t.Errorf("%d events were late, though none came later than allowed", w.lates)
	}
	for id, r := range want {
		got, ok := w.table[id]
		switch {
		case !ok:
			w.t.Errorf("checkout %s has no row", id)
		case got == r:
		case w.lates == 0 && !w.noted[id] && !w.noted[r.click]:
			w.t.Errorf("checkout %s: have %+v, want %+v", id, got, r)
		case got.has && !w.candidate(got):
			w.t.Errorf("checkout %s: have %+v, which is no click of its own", id, got)
		}
	}
	if len(w.table) != len(want) {
		w.t.Errorf("%d rows for %d checkouts", len(w.table), len(want))
	}
}

func (w *world) candidate(r row) bool {
	var k checkout
	for _, log := range w.checkouts {
		for _, x := range log {
			if x.id == r.checkout {
				k = x
			}
		}
	}
	for _, c := range slices.Concat(w.clicks...) {
		if c.id == r.click && c.t == r.time {
			return c.user == k.user && c.product == k.product && k.t-hour <= c.t && c.t <= k.t
		}
	}
	return false
}
