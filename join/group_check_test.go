package join_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// best is the meaning of a row, over the clicks appended before a moment.
func (g *group) best(k checkout, before int) row {
	return g.bestOf(k, func(_, _ int, c *clickRecord) bool { return c.seq < before })
}

func (g *group) bestOf(k checkout, counts func(partition, offset int, c *clickRecord) bool) row {
	r := row{checkout: k.id}
	for p, log := range g.clicks {
		for i := range log {
			c := &log[i]
			if !c.bad && c.id != "" && counts(p, i, c) && c.user == k.user && c.product == k.product &&
				k.t-hour <= c.t && c.t <= k.t && less(c.t, c.id, r) {
				r = row{k.id, c.id, c.t, true}
			}
		}
	}
	return r
}

func (g *group) compare() {
	for p, log := range g.checkouts {
		for o, k := range log {
			if k.id == "" {
				continue
			}
			stands, ok := g.table[k.id]
			if !ok {
				g.t.Errorf("checkout %s has no row", k.id)
			}
			if (stands.of != k.checkout) != g.dead[place{false, int32(p), int64(o)}] {
				g.t.Errorf("checkout %s at %d[%d]: its row is %+v, and dead letters have it: %v", k.id, p, o, stands,
					g.dead[place{false, int32(p), int64(o)}])
			}
		}
	}
	for id, stands := range g.table {
		if want := g.best(stands.of, g.seq+1); stands.row != want && !g.explained(stands.of, want) {
			g.t.Errorf("checkout %s: have %+v, want %+v, and neither was noted as late", id, stands.row, want)
		}
	}
	for p, log := range g.clicks {
		for o := range log {
			if at := (place{true, int32(p), int64(o)}); log[o].bad != g.dead[at] {
				g.t.Errorf("click at %d[%d] is a dead letter: %v, want %v", p, o, g.dead[at], log[o].bad)
			}
		}
	}
}

// noted holds what was noted as late against when it came: it was late, or it was dated too far
// ahead of the clock to be kept.
func (g *group) noted() {
	if len(g.wrongEvents) > len(neverTrue) {
		return
	}
	for at := range g.late {
		var k checkoutRecord
		if at.clicks {
			c := &g.clicks[at.partition][at.offset]
			k = checkoutRecord{checkout{c.id, c.user, c.product, c.t}, c.seq, c.at}
		} else {
			k = g.checkouts[at.partition][at.offset]
		}
		if late := k.at - k.t; late <= 9*minute && late > -hour { // the clock that decides may be 6 minutes ahead
			g.t.Errorf("%s is noted as late: it was by %v", k.id, time.Duration(late)*time.Microsecond)
		}
	}
}

// explained says whether the click that a row misses, or the checkout, was noted as late.
func (g *group) explained(k checkout, want row) bool {
	for at := range g.late {
		if at.clicks && g.clicks[at.partition][at.offset].id == want.click || !at.clicks &&
			g.checkouts[at.partition][at.offset].id == k.id {
			return true
		}
	}
	return false
}

func TestTwoInstancesGiveTheBruteForceTableOrSayWhyNot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := newGroup(t)
		for p := range g.checkouts {
			g.instances[p%2].claim(int32(p))
		}
		for range rapid.IntRange(20, 300).Draw(t, "steps") {
			g.step()
		}
		g.drain()
		g.compare()
		g.noted()
	})
}
