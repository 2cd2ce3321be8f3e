package audit

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// Verify and Explain look at the same table by different ways: whatever is in it, what the one counts the other says of each row.
func TestExplainAgreesWithVerify(t *testing.T) {
	for seed := range uint64(4) {
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
			t.Logf("%v, %d pending rows", said, pendingRows)
			for verdict, want := range map[Verdict]int64{VerdictMissing: r.Missing, VerdictWrong: r.Different, VerdictLate: r.Explained} {
				if said[verdict] != want {
					t.Errorf("%s %d times, verify counts %d", verdict, said[verdict], want)
				}
			}
			if pendingRows != r.PendingRows {
				t.Errorf("%d pending rows, verify counts %d", pendingRows, r.PendingRows)
			}
		})
	}
}

// disturbed fills a world with clicks, late and unread ones among them, and with rows, wrong and missing ones among them.
func disturbed(w *world, random *rand.Rand) (ids []string) {
	w.exec(`INSERT INTO commerce.users VALUES (1, 'u', 'x'), (2, 'u', 'x')`)
	type made struct {
		id   string
		user int
		at   float64
	}
	var clicks []made
	var next [2]int64
	for i := range 60 {
		c := made{fmt.Sprintf("c%02d", random.IntN(60)), 1 + random.IntN(2), float64(random.IntN(30)*5 - 100)}
		clicks = append(clicks, c)
		p := i % 2
		stamped := c.at
		if random.IntN(4) == 0 {
			stamped += float64(random.IntN(200))
		}
		offset := w.live("clicks", int32(p), stamped, clickOf(c.id, c.user, "p", c.at))
		if random.IntN(6) == 0 {
			w.late("click", p, offset, c.id, c.user, "p", c.at)
		}
		next[p] = offset + 1 - int64(random.IntN(2)*random.IntN(10))
	}
	var checkouts [2]int64
	for i := range 24 {
		k := made{fmt.Sprintf("k%02d", i), 1 + random.IntN(2), float64(random.IntN(12)*5 - 30)}
		p := i % 2
		stamped := k.at + float64(random.IntN(3)*random.IntN(60))
		offset := w.live("checkouts", int32(p), stamped, checkoutOf(k.id, k.user, "p", k.at))
		checkouts[p] = offset + 1 - int64(random.IntN(3))
		ids = append(ids, k.id)
		best := made{}
		for _, c := range clicks {
			in := c.user == k.user && c.at <= k.at && c.at >= k.at-60
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
	w.begun([2]int64{max(0, next[0]), max(0, next[1])}, [2]int64{max(0, checkouts[0]), max(0, checkouts[1])})
	return ids
}
