package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Model says how a checkout's credit goes to the clicks in its window.
type Model string

// The models. Each writes rows whose weights sum to 1 for every checkout.
const (
	ModelFirst  Model = "first"  // all to the least click by (time, click_id): what `firstclick run` does
	ModelLast   Model = "last"   // all to the greatest
	ModelLinear Model = "linear" // to each click the same
)

// Models are all of them.
func Models() []Model { return []Model{ModelFirst, ModelLast, ModelLinear} }

// Scenario says what WhatIf recomputes by, Config.Window besides, and where to.
type Scenario struct {
	Model   Model
	Into    string // as one would type it in SQL, with its schema: scratch.half_hour
	Replace bool   // the table may be there, if an earlier WhatIf made it
}

// WhatIf recomputes every checkout from Kafka by another window or model into a table of its own,
// in one transaction, and says what would change against commerce.attributed_checkouts. It never
// touches that table, nor any that it did not make itself.
func WhatIf(ctx context.Context, cfg Config, scenario Scenario) (*Outcome, error) {
	if !slices.Contains(Models(), scenario.Model) {
		return nil, fmt.Errorf("there is no model %q", scenario.Model)
	}
	w := &whatIfRun{run: newRun(cfg, true), scenario: scenario}
	return &w.out, w.onDisk(func() error { return w.whatIf(ctx) })
}

// whatIfRun is one run of WhatIf.
type whatIfRun struct {
	*run
	scenario Scenario
	out      Outcome
	into     scratch
	group    plainGroup
}

func (w *whatIfRun) whatIf(ctx context.Context) error {
	begun := time.Now()
	err := w.readSnapshot(ctx, w.findScratch, w.readSettings, func(ctx context.Context, tx pgx.Tx) error {
		err := w.readTable(ctx, tx, rowsTable)
		if errors.Is(err, ErrTable) {
			w.note("%v: nothing to compare with", err)
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := w.readKafka(ctx, w); err != nil {
		return err
	}
	if err := w.writeScratch(ctx); err != nil {
		return err
	}
	o := &w.out
	o.Into, o.Model, o.Window = w.scenario.Into, w.scenario.Model, w.snap.window
	o.Clicks, o.Invalid, o.Notes = w.report.Clicks, w.invalid, w.report.Notes
	o.Elapsed = time.Since(begun)
	return nil
}

func (w *whatIfRun) add(x *item) { w.group.add(x) }

// conclude enqueues a checkout. Of several with one id it is the first by partition and offset.
func (w *whatIfRun) conclude() {
	g, o := w.group, &w.out
	w.group = plainGroup{}
	o.Duplicates += max(0, g.records-1)
	if len(g.checkouts) == 0 {
		o.Left++
		return
	}
	o.Checkouts++
	if row := g.row(); row != nil && row.click.ok() {
		o.AttributedNow++
	}
	k := g.checkouts[0]
	amount := slices.IndexFunc(ownColumns, func(c ownColumn) bool { return c.amount })
	k.values = k.values[amount : amount+1] // the only one that is written
	w.enqueue(k, g.row(), 0)
}

// scratchRows gives the rows of the new table in the order of scratchColumns: one for each click of
// a checkout, or one without a click.
func (w *whatIfRun) scratchRows(ctx context.Context) iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		win := newWindow(&w.snap)
		for k, err := range w.walk(ctx, win) {
			var clicks []click
			if err == nil {
				clicks, err = credit(w.scenario.Model, k, win)
			}
			var amount pgtype.Numeric
			if err == nil && k.values[0].valid {
				text := k.values[0].text
				if d, ok := parseDecimal(text); ok && strings.ContainsAny(text, "eE") {
					digits, _ := d.FloatPrec()
					text = d.FloatString(digits)
				}
				err = amount.Scan(text)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			w.tally(k, clicks)
			n := max(1, len(clicks))
			for i := range n {
				row := []any{k.id, k.user, k.product, amount, moment(k.time), nil, nil, int32(len(clicks)),
					pgtype.Numeric{Int: weight(i, n), Exp: -weightDigits, Valid: true}}
				if len(clicks) > 0 {
					row[5], row[6] = clicks[i].id, moment(clicks[i].time)
				}
				if !yield(row, nil) {
					return
				}
			}
		}
	}
}

// tally counts what changes for a checkout if its credit goes to the clicks.
func (w *whatIfRun) tally(k *item, clicks []click) {
	o := &w.out
	now, then := k.click, click{}
	if len(clicks) > 0 {
		o.AttributedThen++
		then = clicks[0]
	}
	kind, counter := Kind(""), &o.Same
	switch {
	case k.flags&flagRow == 0:
		counter = &o.New
	case len(clicks) > 1:
		kind, counter = KindSplit, &o.Split
	case now.ok() == then.ok() && now.id == then.id:
	case !now.ok():
		kind, counter = KindGained, &o.Gained
	case !then.ok():
		kind, counter = KindLost, &o.Lost
	default:
		kind, counter = KindMoved, &o.Moved
	}
	if *counter++; kind == "" || *counter > int64(w.cfg.Examples) {
		return
	}
	text := then.String()
	if n := len(clicks); n > 1 {
		text += fmt.Sprintf(" and %d more", n-1)
	}
	o.Examples = append(o.Examples, w.exampleOf(kind, k, answerText(text, k), now.String()))
}

// creditMemory is how many bytes of clicks one checkout's window may hold for the linear model.
const creditMemory = 64 << 20

// credit gives the clicks that a checkout's credit goes to.
func credit(model Model, k *item, w *window) ([]click, error) {
	clicks := w.clicks()
	switch {
	case len(clicks) == 0:
		return nil, nil
	case model == ModelFirst:
		return []click{clicks[0].click()}, nil
	case model == ModelLast:
		return []click{clicks[len(clicks)-1].click()}, nil
	}
	var list []click
	size := 0
	for _, c := range clicks {
		if len(list) > 0 && list[len(list)-1] == c.click() {
			continue // the same click was sent twice
		}
		list = append(list, c.click())
		if size += len(c.id) + 40; size > creditMemory {
			return nil, fmt.Errorf("user %d clicked product %s more than %d times within a window of checkout %s: "+
				"too many to credit one by one; take a shorter --window or another --model",
				k.user, quote(k.product), len(list), quote(k.id))
		}
	}
	return list, nil
}

// weightDigits behind the point are what a weight has. Where the number of clicks does not divide
// 1, the first ones get a last digit more, so that the weights of a checkout sum to exactly 1.
const weightDigits = 12

// weight is the i-th of n equal ones, in units of the last digit.
func weight(i, n int) *big.Int {
	one := new(big.Int).Exp(big.NewInt(10), big.NewInt(weightDigits), nil)
	each, rest := one.QuoRem(one, big.NewInt(int64(n)), new(big.Int))
	if big.NewInt(int64(i)).Cmp(rest) < 0 {
		each.Add(each, big.NewInt(1))
	}
	return each
}
