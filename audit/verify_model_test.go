package audit

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"
)

func (m *model) held(name string, e modelEvent) bool {
	return !e.gone && e.offset >= m.logs[name][e.partition]
}

// losses counts the offsets that are gone of what was read, and says whether any lie below the
// start.
func (m *model) losses(name string) (n int64, beforeStart bool) {
	for p := range m.ends[name] {
		start, log := m.starts[name][p], m.logs[name][p]
		var next int64
		for s, sh := range m.shards {
			if name == clicksName {
				next = max(next, sh.clicks[p])
			} else if s == p {
				next = sh.next
			}
		}
		n += max(0, min(log, next)-start)
		beforeStart = beforeStart || start > 0 && log > 0
		if !m.compacted[name] {
			continue
		}
		for _, e := range m.events(name) {
			if e.gone && e.partition == p && e.offset+1 >= log {
				n += 2 // with what marks it as aborted
				beforeStart = beforeStart || e.offset < start
			}
		}
	}
	return n, beforeStart
}

// falsify changes one thing. certain says that verify must see it.
func (m *model) falsify() (what string, certain bool) {
	ids := slices.Sorted(maps.Keys(m.rows))
	if len(ids) == 0 || m.chance(4) {
		return m.inventRow()
	}
	id := ids[m.random.IntN(len(ids))]
	row := m.rows[id]
	var records []modelEvent // that the row must do for
	readable := false
	before := false
	for _, k := range m.checkouts {
		if k.id != id {
			continue
		}
		start := m.starts[checkoutsName][k.partition]
		before = before || k.offset < start
		if m.held(checkoutsName, k) && k.offset >= start && k.offset < m.shards[k.partition].next {
			readable = true
			records = append(records, k)
		}
	}
	switch m.random.IntN(5) {
	case 0:
		delete(m.rows, id)
		return "row " + id + " deleted", readable
	case 1:
		row.evil = true
		m.rows[id] = row
		return "own column of " + id, readable
	case 2:
		row.click, row.at = "", 0
	case 3:
		c := m.clicks[m.random.IntN(len(m.clicks))]
		row.click, row.at = c.id, c.minutes
	case 4:
		row.click, row.at = "invented", row.minutes-float64(m.random.IntN(70))+0.25
	}
	if row == m.rows[id] {
		return "nothing", false
	}
	m.rows[id] = row
	return fmt.Sprintf("click of %s is now %q at %g", id, row.click, row.at), m.certain(row, records, before)
}

// certain says whether the row's click can be known to be wrong.
func (m *model) certain(row modelRow, records []modelEvent, before bool) bool {
	if len(records) == 0 {
		return false
	}
	if row.click != "" && (row.at > row.minutes || row.at < row.minutes-60) {
		return true
	}
	real := false
	for _, c := range m.clicks {
		real = real || c.id == row.click && c.minutes == row.at && c.user == row.user &&
			(m.held(clicksName, c) || c.late)
	}
	// Worse than what is known to have been read in time.
	first := map[int]bool{}
	for _, k := range records {
		if first[k.partition] && !before { // equal to one that came before it
			continue
		}
		first[k.partition] = true
		sh := m.shards[k.partition]
		sure := m.best(k, func(c modelEvent) bool {
			return m.held(clicksName, c) && c.offset >= m.starts[clicksName][c.partition] &&
				c.offset < sh.clicks[c.partition] && !(c.late && k.minutes < sh.final)
		})
		if sure.id != "" && (row.click == "" || row.at > sure.minutes || row.at == sure.minutes &&
			row.click > sure.id) {
			return true
		}
	}
	if real || row.click == "" {
		return false
	}
	// Of what is lost.
	n, beforeStart := m.losses(clicksName)
	if beforeStart {
		return false
	}
	claimed := map[string]bool{}
	for _, r := range m.rows {
		there := r.click == ""
		readable := false
		for _, c := range m.clicks {
			there = there || c.id == r.click && c.minutes == r.at && c.user == r.user &&
				(m.held(clicksName, c) || c.late)
		}
		for _, k := range m.checkouts {
			readable = readable || k.id == r.id && m.held(checkoutsName, k) &&
				k.offset >= m.starts[checkoutsName][k.partition]
		}
		if !there && readable {
			claimed[fmt.Sprint(r.user, r.click, r.at)] = true
		}
	}
	latest := -1.0
	known := true
	for _, sh := range m.shards {
		known = known && sh.known
	}
	for _, c := range m.clicks {
		latest = max(latest, c.minutes)
	}
	return int64(len(claimed)) > n || known && row.at > latest
}

func (m *model) inventRow() (string, bool) {
	row := modelRow{id: "invented", user: 1, minutes: float64(m.random.IntN(300))}
	m.rows[row.id] = row
	n, beforeStart := m.losses(checkoutsName)
	bare := int64(0)
	for id := range m.rows {
		if !slices.ContainsFunc(m.checkouts, func(k modelEvent) bool {
			return k.id == id &&
				m.held(checkoutsName, k)
		}) {
			bare++
		}
	}
	old := true // whatever is lost is final
	for s, sh := range m.shards {
		old = old && sh.known && !math.IsInf(sh.final, 0) && row.minutes >= sh.final &&
			m.logs[checkoutsName][s] <= sh.recent
	}
	old = old && !m.compacted[checkoutsName]
	return fmt.Sprintf("row at %g", row.minutes), !beforeStart && (bare > n || old)
}

func TestVerifyModel(t *testing.T) {
	w := newWorld(t)
	w.producer = w.client()
	w.aborter = w.client(kgo.TransactionalID("compaction"))
	n := 0
	certain := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		n++
		seed := rapid.Uint64().Draw(t, "seed")
		m := &model{t: t, w: w, n: n, random: rand.New(rand.NewPCG(seed, 1))}
		m.draw()
		m.run()
		m.lose()
		m.store()
		r, err := Verify(context.WithoutCancel(w.t.Context()), w.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict == VerdictRed {
			t.Fatalf("a right table is called wrong:\n%s\n%s", said(r), m)
		}
		right := maps.Clone(m.rows)
		for range 4 {
			what, must := m.falsify()
			m.storeRows()
			if r, err = Verify(context.WithoutCancel(w.t.Context()), w.cfg); err != nil {
				t.Fatal(err)
			}
			if must {
				certain[strings.Fields(what)[0]]++
			}
			if must && r.Verdict != VerdictRed {
				t.Fatalf("%s: verdict %s\n%s\n%s", what, r.Verdict, said(r), m)
			}
			m.rows = maps.Clone(right)
		}
	})
	for _, what := range []string{"row", "own", "click"} {
		if certain[what] == 0 {
			t.Errorf("never certain of: %s", what)
		}
	}
	t.Log(certain)
}

func said(r *Report) string {
	var b strings.Builder
	_, _ = r.WriteTo(&b) // a buffer takes everything
	return b.String()
}

func (m *model) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "starts %v logs %v ends %v compacted %v created %g\n", m.starts, m.logs, m.ends, m.compacted,
		m.created)
	for s, sh := range m.shards {
		fmt.Fprintf(&b, "shard %d %+v\n", s, sh)
	}
	for _, e := range slices.Concat(m.clicks, m.checkouts) {
		fmt.Fprintf(&b, "%s user %d at %g: %d/%d gone %v late %v\n", e.id, e.user, e.minutes, e.partition, e.offset,
			e.gone, e.late)
	}
	for _, id := range slices.Sorted(maps.Keys(m.rows)) {
		fmt.Fprintf(&b, "row %+v\n", m.rows[id])
	}
	return b.String()
}
