package audit

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// For any table, Verify's counts are the numbers of Explain's verdicts of that kind.
func TestExplainAgreesWithVerify(t *testing.T) {
	total := map[Verdict]int64{}
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t)
			ids := disturbed(w, rand.New(rand.NewPCG(seed, 7)))
			r := w.verify()
			said := map[Verdict]int64{}
			var pendingRows int64
			for _, id := range ids {
				e := w.explain(id)
				said[e.Verdict]++
				if e.Verdict == VerdictPending && e.Row != nil {
					pendingRows++
				}
				if e.Verdict == VerdictRight && len(e.Clicks) == 0 && e.Row.ClickID != nil {
					t.Errorf("%s is right with a click that is not there", id)
				}
			}
			for verdict, want := range map[Verdict]int64{VerdictMissing: r.Missing, VerdictWrong: r.Different,
				VerdictLate: r.Explained} {
				if said[verdict] != want {
					t.Errorf("%s %d times, verify counts %d", verdict, said[verdict], want)
				}
			}
			for verdict, n := range said {
				total[verdict] += n
			}
			total["pending row"] += pendingRows
			if pendingRows != r.PendingRows {
				t.Errorf("%d pending rows, verify counts %d", pendingRows, r.PendingRows)
			}
		})
	}
	for _, verdict := range []Verdict{VerdictRight, VerdictLate, VerdictWrong, VerdictMissing, "pending row"} {
		if total[verdict] == 0 {
			t.Errorf("%s never happens", verdict)
		}
	}
}

// disturbed fills a world with clicks, late and unread ones among them, and with rows, wrong and
// missing ones among them.
func disturbed(w *world, random *rand.Rand) (ids []string) {
	w.exec(`INSERT INTO commerce.users VALUES (1, 'u', 'x'), (2, 'u', 'x')`)
	type made struct {
		id   string
		user int
		at   float64

		stamped   float64
		partition int
		offset    int64
		late      bool
	}
	var clicks []made
	var next [2]int64
	for i := range 60 {
		p := i % 2
		c := made{id: fmt.Sprintf("c%02d", random.IntN(60)), user: 1 + random.IntN(2),
			at: float64(random.IntN(30)*5 - 100), partition: p, late: random.IntN(5) == 0}
		c.stamped = c.at
		switch { // what is not late was there in time, and timestamps are in order: that is what Explain goes by
		case c.late:
			c.stamped += float64(random.IntN(200))
		case random.IntN(4) == 0:
			c.stamped += float64(random.IntN(15))
		}
		clicks = append(clicks, c)
	}
	slices.SortStableFunc(clicks, func(a, b made) int { return cmp.Compare(a.stamped, b.stamped) })
	for i := range clicks {
		c := &clicks[i]
		c.offset = w.live("clicks", int32(c.partition), c.stamped, clickOf(c.id, c.user, "p", c.at))
		if c.late {
			w.late("click", c.partition, c.offset, c.id, c.user, "p", c.at)
		}
		next[c.partition] = c.offset + 1 - int64(random.IntN(25))
	}
	var checkouts [2]int64 // next offsets
	for i := range 20 {
		k := made{id: fmt.Sprintf("k%02d", i), user: 1 + random.IntN(2), at: float64(random.IntN(12)*5 - 30)}
		p := i % 2
		stamped := k.at + float64(random.IntN(3)*random.IntN(60))
		offset := w.live("checkouts", int32(p), stamped, checkoutOf(k.id, k.user, "p", k.at))
		checkouts[p] = offset + 1 - int64(random.IntN(3))
		ids = append(ids, k.id)
		best := made{}
		without := random.IntN(3) // 1: unread clicks, 2: late ones too
		for _, c := range clicks {
			in := c.user == k.user && c.at <= k.at && c.at >= k.at-60 &&
				(without < 1 || c.offset < next[c.partition]) && (without < 2 || !c.late)
			if in && (best.id == "" || c.at < best.at || c.at == best.at && c.id < best.id) {
				best = c
			}
		}
		switch random.IntN(8) {
		case 0: // no row
			continue
		case 1:
			best = made{}
		case 2, 3:
			best = clicks[random.IntN(len(clicks))]
		}
		w.row(k.id, "u", "p", k.at, best.id, best.at)
	}
	w.begun(next, checkouts)
	return ids
}
