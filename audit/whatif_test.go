package audit

import (
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func (w *world) whatIf(s Scenario) *Outcome {
	w.t.Helper()
	o, err := WhatIf(w.t.Context(), w.cfg, s)
	if err != nil {
		w.t.Fatal(err)
	}
	return o
}

// number is what a query gives.
func (w *world) number(sql string, args ...any) (n int64) {
	w.t.Helper()
	if err := w.db.QueryRow(w.t.Context(), sql, args...).Scan(&n); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// bustle fills Kafka and, as plain tables, Postgres with the same events: few users and products,
// times by the second so that many are equal, and some clicks sent twice.
func bustle(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.cfg.SortMemory = 4096 // by the disk, in some runs
	w.exec(`CREATE SCHEMA plain`)
	w.exec(`CREATE TABLE plain.clicks (click_id text, user_id int, product_id text, at timestamp)`)
	w.exec(`CREATE TABLE plain.checkouts (checkout_id text, user_id int, product_id text, at timestamp)`)
	random := rand.New(rand.NewPCG(7, 7))
	var clicks, checkouts [2][]string
	var plainClicks, plainCheckouts [][]any
	for i := range 900 {
		user, product := random.IntN(6), fmt.Sprintf("p%d", random.IntN(3))
		minutes := -float64(random.IntN(4*60*6)) / 6 // every ten seconds of four hours
		when := noon.Add(time.Duration(minutes * float64(time.Minute)))
		p := random.IntN(2)
		if i%3 == 0 {
			id := fmt.Sprintf("k%03d", i)
			checkouts[p] = append(checkouts[p], checkoutOf(id, user, product, minutes))
			plainCheckouts = append(plainCheckouts, []any{id, int32(user), product, when})
			continue
		}
		id := fmt.Sprintf("%x", random.IntN(1<<20))
		value := clickOf(id, user, product, minutes)
		clicks[p] = append(clicks[p], value)
		if i%10 == 0 {
			clicks[1-p] = append(clicks[1-p], value)
		}
		plainClicks = append(plainClicks, []any{id, int32(user), product, when})
	}
	for p := range int32(2) {
		w.produce("clicks", p, clicks[p]...)
		w.produce("checkouts", p, checkouts[p]...)
	}
	for table, rows := range map[string][][]any{"clicks": plainClicks, "checkouts": plainCheckouts} {
		columns := []string{strings.TrimSuffix(table, "s") + "_id", "user_id", "product_id", "at"}
		if _, err := w.db.CopyFrom(t.Context(), pgx.Identifier{"plain", table}, columns,
			pgx.CopyFromRows(rows)); err != nil {
			t.Fatal(err)
		}
	}
	w.exec(`INSERT INTO commerce.attributed_checkouts (checkout_id, product_id, checkout_time, click_id, click_time)
		SELECT checkout_id, product_id, at, click_id, click_at FROM (` + plainAnswer("first", "1 hour") + `) x`)
	return w
}

// plainAnswer is what a model means, in SQL.
func plainAnswer(model, window string) string {
	pick := map[string]string{"first": "pos = 1", "last": "pos = n", "linear": "true"}[model]
	return `SELECT k.checkout_id, k.user_id, k.product_id, k.at, c.click_id, c.at AS click_at, coalesce(c.n, 0) AS n
		FROM plain.checkouts k LEFT JOIN LATERAL (
			SELECT click_id, at, row_number() OVER (ORDER BY at, click_id COLLATE "C") AS pos,
			       count(*) OVER () AS n FROM (
				SELECT DISTINCT click_id, at FROM plain.clicks WHERE user_id = k.user_id AND product_id = k.product_id
				AND at BETWEEN k.at - interval '` + window + `' AND k.at) d) c ON ` + pick
}

// Every model and some windows against plain SQL: the rows, their weights, and what the summary
// says.
func TestWhatIfLikePlain(t *testing.T) {
	w := bustle(t)
	for _, model := range Models() {
		for _, window := range []time.Duration{time.Hour, 30 * time.Minute, 3 * time.Hour} {
			w.cfg.Window = window
			o := w.whatIf(Scenario{Model: model, Into: "plain.scratch", Replace: true})
			answer := plainAnswer(string(model), fmt.Sprintf("%d seconds", int(window.Seconds())))
			clicks := "n"
			if model != ModelLinear {
				clicks = "least(n, 1)"
			}
			ours := `SELECT checkout_id, user_id, product_id, checkout_time, click_id, click_time, clicks
				FROM plain.scratch`
			theirs := `SELECT checkout_id, user_id, product_id, at, click_id, click_at, ` + clicks + ` FROM (` +
				answer + `) x`
			name := fmt.Sprintf("%s, %s", model, window)
			for what, sql := range map[string]string{"too many": ours + " EXCEPT ALL " + theirs,
				"missing": theirs + " EXCEPT ALL " + ours} {
				if n := w.number(`SELECT count(*) FROM (` + sql + `) x`); n != 0 {
					t.Errorf("%s: %d rows %s", name, n, what)
				}
			}
			if n := w.number(`SELECT count(*) FROM (SELECT FROM plain.scratch
				GROUP BY checkout_id
				HAVING sum(weight) <> 1 OR max(weight) - min(weight) > 0.000000000001) x`); n != 0 {
				t.Errorf("%s: the weights of %d checkouts", name, n)
			}
			if n := w.number(`SELECT count(*) FROM plain.scratch WHERE total_amount IS DISTINCT FROM 12.345`); n != 0 {
				t.Errorf("%s: %d amounts", name, n)
			}
			summary := `FROM commerce.attributed_checkouts a
				JOIN (SELECT checkout_id, min(click_id) AS click_id, max(clicks) AS clicks FROM plain.scratch
				GROUP BY 1) s USING (checkout_id)`
			for what, q := range map[string]struct {
				got  int64
				rule string
			}{
				"same":   {o.Same, `clicks <= 1 AND a.click_id IS NOT DISTINCT FROM s.click_id`},
				"gained": {o.Gained, `clicks = 1 AND a.click_id IS NULL`},
				"lost":   {o.Lost, `clicks = 0 AND a.click_id IS NOT NULL`},
				"moved":  {o.Moved, `clicks = 1 AND a.click_id <> s.click_id`},
				"split":  {o.Split, `clicks > 1`},
			} {
				if want := w.number(`SELECT count(*) ` + summary + ` WHERE ` + q.rule); q.got != want {
					t.Errorf("%s: %s %d, want %d", name, what, q.got, want)
				}
			}
			if o.Checkouts != 300 || o.Written != w.number(`SELECT count(*) FROM plain.scratch`) || o.New != 0 ||
				o.Left != 0 ||
				o.AttributedThen != w.number(`SELECT count(DISTINCT checkout_id) FROM plain.scratch
					WHERE click_id IS NOT NULL`) ||
				o.AttributedNow != w.number(`SELECT count(click_id) FROM commerce.attributed_checkouts`) {
				t.Errorf("%s: %+v", name, o)
			}
		}
	}
	// The rule as it is changes nothing; that of another job is found by Compare, and by plain SQL.
	w.cfg.Window = 0
	if o := w.whatIf(Scenario{Model: ModelFirst, Into: "plain.scratch", Replace: true}); o.Same != 300 {
		t.Errorf("the rule as it is: %+v", o)
	}
	w.exec(`CREATE TABLE plain.last AS SELECT checkout_id, click_id, click_at AS click_time FROM (` +
		plainAnswer("last", "1 hour") + `) x`)
	later := w.number(`SELECT count(*) FROM plain.last l JOIN commerce.attributed_checkouts a USING (checkout_id)
		WHERE l.click_id <> a.click_id`)
	if r := w.compare(Other{Table: "plain.last"}); r.Later != later || r.Different != later || r.Same != 300-later ||
		r.OK() || later == 0 {
		t.Errorf("the last clicks: %+v, want %d later", r, later)
	}
	if r := w.compare(Other{Table: "commerce.attributed_checkouts"}); !r.OK() || r.Same != 300 ||
		r.ExpectedDigest != r.ActualDigest {
		t.Errorf("our own table: %+v", r)
	}
}

func TestWhatIfNewAndLeft(t *testing.T) {
	w := base(t)
	w.exec(`CREATE SCHEMA scratch; DELETE FROM commerce.attributed_checkouts WHERE checkout_id = 'k1'`)
	w.row("k9", "ann", "p", 0, "a", -50)
	w.produce("checkouts", 1, checkoutOf("k2", 1, "p", 15), checkoutOf("k3", 1, "p", 20), "{")
	o := w.whatIf(Scenario{Model: ModelFirst, Into: "scratch.x"})
	if o.New != 1 || o.Left != 1 || o.Same != 3 || o.Checkouts != 4 || o.Duplicates != 2 || o.Invalid["json"] != 1 ||
		o.AttributedNow != 2 || o.AttributedThen != 3 {
		t.Errorf("%+v", o)
	}
	var text strings.Builder
	if _, err := o.WriteTo(&text); err != nil || !strings.Contains(text.String(),
		"scratch.x: model first, window 1h0m0s: 4 rows of 4 checkouts") ||
		!strings.Contains(text.String(), "66.7 % now, 75.0 % then (3)") {
		t.Errorf("%v, %s", err, text.String())
	}
	// Without a table of ours there is nothing to compare with, and all is new.
	w.exec(`DROP SCHEMA commerce CASCADE; DROP SCHEMA firstclick CASCADE`)
	if o := w.whatIf(Scenario{Model: ModelLast, Into: "scratch.y"}); o.New != 4 || o.Written != 4 || len(o.Notes) != 1 {
		t.Errorf("%+v", o)
	}
}

// No table but one that whatif made itself is ever replaced, and a failure leaves the old one.
func TestWhatIfRefuses(t *testing.T) {
	w := base(t)
	w.exec(`CREATE SCHEMA scratch; CREATE TABLE scratch.theirs (id int); CREATE VIEW scratch.view AS SELECT 1 AS x`)
	w.whatIf(Scenario{Model: ModelFirst, Into: "Scratch.Ours"}) // as SQL reads names: lower case
	rows := func() int64 { return w.number(`SELECT count(*) FROM scratch.ours`) }
	for into, row := range map[string]struct {
		replace bool
		says    string
	}{
		"commerce.attributed_checkouts":       {true, "not for this"},
		`"commerce" . "attributed_checkouts"`: {true, "not for this"},
		"commerce.users":                      {true, "not for this"},
		"firstclick.progress":                 {true, "not for this"},
		"pg_catalog.x":                        {false, "not for this"},
		"nowhere.x":                           {false, "CREATE SCHEMA \"nowhere\""},
		"scratch.theirs":                      {true, "not made by whatif"},
		"scratch.view":                        {true, "not made by whatif"},
		"scratch.ours":                        {false, "--replace"},
		"scratch." + strings.Repeat("x", 64):  {false, "64 bytes"},
		"ours":                                {true, "with its schema"},
		"a.b.c":                               {true, "with its schema"},
		"scratch.":                            {true, "with its schema"},
		"scratch.x; DROP TABLE scratch.ours":  {true, "with its schema"},
	} {
		_, err := WhatIf(t.Context(), w.cfg, Scenario{Model: ModelFirst, Into: into, Replace: row.replace})
		if !errors.Is(err, ErrTable) || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v", into, err)
		}
	}
	if _, err := WhatIf(t.Context(), w.cfg, Scenario{Model: "best", Into: "scratch.ours", Replace: true}); err == nil {
		t.Error("a model that there is not")
	}
	if n := rows(); n != 4 {
		t.Errorf("%d rows are left", n)
	}
	// A view keeps the old table in use: it cannot be dropped, and stays.
	w.exec(`CREATE VIEW scratch.uses AS SELECT * FROM scratch.ours`)
	if _, err := WhatIf(t.Context(), w.cfg, Scenario{Model: ModelLast, Into: "scratch.ours",
		Replace: true}); err == nil {
		t.Error("dropped a table that a view uses")
	}
	if n := w.number(`SELECT count(*) FROM pg_class WHERE relname LIKE 'firstclick_whatif%'`); n != 0 || rows() != 4 {
		t.Errorf("%d tables are left over, %d rows", n, rows())
	}
	w.exec(`DROP VIEW scratch.uses`)
	if o := w.whatIf(Scenario{Model: ModelLast, Into: "scratch.ours", Replace: true}); o.Moved != 1 || o.Same != 3 {
		t.Errorf("%+v", o)
	}
}

// Weights sum to 1 whatever their number.
func TestWeights(t *testing.T) {
	one := new(big.Int).Exp(big.NewInt(10), big.NewInt(weightDigits), nil)
	for _, n := range []int{1, 2, 3, 7, 49, 999, 123_457} {
		sum := new(big.Int)
		for i := range n {
			sum.Add(sum, weight(i, n))
		}
		if sum.Cmp(one) != 0 || weight(0, n).Cmp(new(big.Int).Add(weight(n-1, n), big.NewInt(1))) > 0 {
			t.Errorf("%d weights sum to %s", n, sum)
		}
	}
}

// The linear model holds a window of clicks at most, and says no where that is too much.
func TestLinearIsBounded(t *testing.T) {
	w := &window{length: 100}
	long := strings.Repeat("x", maxID)
	const per = maxID + 40
	n := creditMemory/per + 1000
	click := func(i int) *item {
		return &item{kind: kindClick, event: event{id: fmt.Sprintf("%s%08d", long[8:], i), user: 1, product: "p",
			time: int64(i)}}
	}
	for i := range n {
		w.advance(click(i))
	}
	k := &item{kind: kindCheckout, event: event{id: "k", user: 1, product: "p", time: int64(n)}}
	w.advance(k)
	if got, err := credit(ModelLinear, k, w); err != nil || len(got) != 100 || len(w.held) > 1000 {
		t.Errorf("%d clicks of %d held, %v", len(got), len(w.held), err)
	}
	w = &window{length: 1 << 40}
	for i := range n {
		w.advance(click(i))
	}
	if _, err := credit(ModelLinear, k, w); err == nil ||
		!strings.Contains(err.Error(), "too many to credit one by one") {
		t.Errorf("got %v", err)
	}
}
