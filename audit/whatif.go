package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
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

// currentTable is what WhatIf holds its rows against.
const currentTable = "commerce.attributed_checkouts"

// Scenario says what WhatIf recomputes by, Config.Window besides, and where to.
type Scenario struct {
	Model   Model
	Into    string // as one would type it in SQL, with its schema: scratch.half_hour
	Replace bool   // the table may be there, if an earlier WhatIf made it
}

// Outcome is what WhatIf did, and what would change. Numbers count checkouts unless said otherwise.
type Outcome struct {
	Into   string        `json:"into"`
	Model  Model         `json:"model"`
	Window time.Duration `json:"window_ns"`

	Clicks     int64            `json:"clicks"`     // valid clicks read from Kafka
	Checkouts  int64            `json:"checkouts"`  // checkout_ids
	Duplicates int64            `json:"duplicates"` // records beyond the first of their checkout_id
	Invalid    map[string]int64 `json:"invalid"`    // records that are no events, by reason
	Written    int64            `json:"written"`    // rows of the new table

	AttributedNow  int64 `json:"attributed_now"`  // of the checkouts that the current table has too
	AttributedThen int64 `json:"attributed_then"` // of all
	Same           int64 `json:"same"`            // all credit stays where it is
	Gained         int64 `json:"gained"`          // no click now, one or more then
	Lost           int64 `json:"lost"`            // a click now, none then
	Moved          int64 `json:"moved"`           // all credit goes to another click
	Split          int64 `json:"split"`           // credit goes to several clicks
	New            int64 `json:"new"`             // not in the current table, or not yet
	Left           int64 `json:"left"`            // rows of the current table whose checkout Kafka does not hold: not in the new one

	Notes    []string      `json:"notes,omitempty"`
	Examples []Example     `json:"examples,omitempty"`
	Elapsed  time.Duration `json:"elapsed_ns"`
}

// Kinds of examples of WhatIf's.
const (
	KindGained Kind = "gained"
	KindLost   Kind = "lost"
	KindSplit  Kind = "split"
)

// WhatIf recomputes every checkout from Kafka by another window or model into a table of its own, in one transaction, and says what
// would change against commerce.attributed_checkouts. It never touches that table, nor any that it did not make itself.
func WhatIf(ctx context.Context, cfg Config, scenario Scenario) (*Outcome, error) {
	if !slices.Contains(Models(), scenario.Model) {
		return nil, fmt.Errorf("there is no model %q", scenario.Model)
	}
	a, err := newAlone(cfg)
	if err != nil {
		return nil, err
	}
	w := &supposing{audit: a, scenario: scenario}
	err = w.run(ctx)
	return &w.outcome, errors.Join(err, a.clear())
}

// supposing is one run of WhatIf.
type supposing struct {
	*audit
	scenario Scenario
	outcome  Outcome
	into     scratch
}

func (w *supposing) run(ctx context.Context) error {
	begun := time.Now()
	if err := w.readCurrent(ctx); err != nil {
		return err
	}
	if err := w.readAlone(ctx, func(ctx context.Context) error { return w.groups(ctx, w.ask) }); err != nil {
		return err
	}
	if err := w.write(ctx); err != nil {
		return err
	}
	o := &w.outcome
	o.Into, o.Model, o.Window = w.scenario.Into, w.scenario.Model, w.snap.window
	o.Clicks, o.Invalid, o.Notes = w.audit.report.Clicks, w.alone.invalid, w.audit.report.Notes
	o.Elapsed = time.Since(begun)
	w.progress.done()
	return nil
}

// readCurrent looks whether the new table may be, and reads the current one, if there is one.
func (w *supposing) readCurrent(ctx context.Context) error {
	conn, tx, err := begin(ctx, w.cfg.Database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if w.into, err = lookUpScratch(ctx, tx, w.scenario.Into); err != nil {
		return err
	}
	if err := w.into.usable(w.scenario.Replace); err != nil {
		return err
	}
	if err := w.takeMeaning(ctx, tx); err != nil {
		return err
	}
	err = w.readForeign(ctx, tx, currentTable)
	if errors.Is(err, ErrTable) {
		w.note("%v: nothing to compare with", err)
		return w.snap.rows.Finish()
	}
	return err
}

// ask asks for the clicks of a checkout. Of several different ones with one id it is the first by partition and offset.
func (w *supposing) ask(g *group) error {
	o := &w.outcome
	o.Duplicates += max(0, g.records-1)
	if len(g.firsts) == 0 {
		o.Left++
		return nil
	}
	o.Checkouts++
	q := question{sale: g.firsts[0]}
	if len(g.rows) > 0 {
		q.row = g.rows[0]
		if q.row.click.ok {
			o.AttributedNow++
		}
	}
	return w.askSort.Add(q.append(nil))
}

// tally counts what changes for a checkout whose credit goes to the clicks then.
func (w *supposing) tally(q question, clicks []winner) {
	o := &w.outcome
	now, then := q.row.click, winner{}
	if len(clicks) > 0 {
		o.AttributedThen++
		then = clicks[0]
	}
	switch {
	case !q.row.there:
		o.New++
	case len(clicks) > 1:
		w.example(KindSplit, &o.Split, q, clicks)
	case now.ok == then.ok && now.id == then.id:
		o.Same++
	case !now.ok:
		w.example(KindGained, &o.Gained, q, clicks)
	case !then.ok:
		w.example(KindLost, &o.Lost, q, clicks)
	default:
		w.example(KindMoved, &o.Moved, q, clicks)
	}
}

func (w *supposing) example(kind Kind, counter *int64, q question, clicks []winner) {
	if *counter++; *counter > int64(w.cfg.Examples) {
		return
	}
	then := winner{}.String()
	if len(clicks) > 0 {
		then = clicks[0].String()
	}
	if n := len(clicks); n > 1 {
		then += fmt.Sprintf(" and %d more", n-1)
	}
	w.outcome.Examples = append(w.outcome.Examples, Example{
		Kind: kind, CheckoutID: q.id, Topic: w.checkouts.name, Partition: q.partition, Offset: q.offset, Actual: q.row.click.String(),
		Expected: fmt.Sprintf("%s, user %d, product %s, checkout_time %s", then, q.user, quote(q.product), formatTime(q.time)),
	})
}

// WriteTo prints the outcome for people.
func (o Outcome) WriteTo(out io.Writer) (int64, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: model %s, window %s: %s rows of %s checkouts (%s duplicates) and %s clicks in %s\n\nagainst %s:\n",
		o.Into, o.Model, o.Window, grouped(o.Written), grouped(o.Checkouts), grouped(o.Duplicates), grouped(o.Clicks), o.Elapsed.Round(10*time.Millisecond), currentTable)
	line := func(n int64, name, meaning string) { fmt.Fprintf(&b, "%14s  %-9s %s\n", grouped(n), name, meaning) }
	line(o.Same, "same", "checkouts keep their click, or keep having none")
	line(o.Gained, "gained", "have no click now, and would have one")
	line(o.Lost, "lost", "have a click now, and would have none")
	line(o.Moved, "moved", "would have another click")
	if o.Model == ModelLinear {
		line(o.Split, "split", "would be credited to several clicks")
	}
	line(o.New, "new", "are not in the current table")
	if o.Left > 0 {
		line(o.Left, "left", "are in the current table, and Kafka does not hold them: not in the new one")
	}
	fmt.Fprintf(&b, "\nwith a click: %s now, %s then (%s)\n", share(o.AttributedNow, o.Checkouts-o.New), share(o.AttributedThen, o.Checkouts), grouped(o.AttributedThen))
	for _, reason := range sortedKeys(o.Invalid) {
		fmt.Fprintf(&b, "no event: %s records, reason %s\n", grouped(o.Invalid[reason]), reason)
	}
	for _, n := range o.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	for _, e := range o.Examples {
		fmt.Fprintf(&b, "\n%s checkout %s (%s-%d, offset %d)\n  now:  %s\n  then: %s\n", e.Kind, quote(e.CheckoutID), e.Topic, e.Partition, e.Offset, e.Actual, e.Expected)
	}
	n, err := io.WriteString(out, b.String())
	return int64(n), err
}

func share(n, of int64) string {
	if of == 0 {
		return "none"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(of))
}

// scratch is the table that WhatIf makes.
type scratch struct {
	typed        string
	schema, name string
	schemaThere  bool
	kind         string // pg_class.relkind of what is there under the name, "" where nothing is
	ours         bool   // it was made by WhatIf, says its comment
}

// scratchMark is what the comment on our tables begins with.
const scratchMark = "made by firstclick whatif"

// lookUpScratch reads the name by the rules by which Postgres reads names.
func lookUpScratch(ctx context.Context, tx pgx.Tx, typed string) (scratch, error) {
	s := scratch{typed: typed}
	var parts []string
	if err := tx.QueryRow(ctx, `SELECT parse_ident($1)`, typed).Scan(&parts); err != nil || len(parts) != 2 {
		if ctx.Err() != nil {
			return s, context.Cause(ctx)
		}
		return s, fmt.Errorf("%w %s: give its name with its schema, as in scratch.half_hour", ErrTable, quote(typed))
	}
	s.schema, s.name = parts[0], parts[1]
	err := tx.QueryRow(ctx, `
		SELECT true, coalesce(c.relkind::text, ''), coalesce(obj_description(c.oid, 'pg_class') LIKE $3 || '%', false)
		FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = $2 WHERE n.nspname = $1`,
		s.schema, s.name, scratchMark).Scan(&s.schemaThere, &s.kind, &s.ours)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return s, fmt.Errorf("look up table %s: %w", typed, err)
	}
	return s, nil
}

// longestName is what Postgres keeps of a name, in bytes (NAMEDATALEN - 1).
const longestName = 63

// usable says why the table cannot be made, if so.
func (s *scratch) usable(replace bool) error {
	known := []string{"attributed_checkouts", "users", "products"}
	switch {
	case s.schema == "firstclick", s.schema == "information_schema", strings.HasPrefix(s.schema, "pg_"), s.schema == "commerce" && slices.Contains(known, s.name):
		return fmt.Errorf("%w %s is not for this: name one of your own, as in scratch.half_hour", ErrTable, s.typed)
	case len(s.name) > longestName:
		return fmt.Errorf("%w %s: the name has %d bytes, and Postgres would cut it at %d", ErrTable, s.typed, len(s.name), longestName)
	case !s.schemaThere:
		return fmt.Errorf("%w %s: there is no schema %s; CREATE SCHEMA %s", ErrTable, s.typed, s.schema, pgx.Identifier{s.schema}.Sanitize())
	case s.kind == "":
		return nil
	case !s.ours || s.kind != "r":
		return fmt.Errorf("%w %s is there, and was not made by whatif: name another, or drop it yourself", ErrTable, s.typed)
	case !replace:
		return fmt.Errorf("%w %s is there from an earlier whatif: --replace it, or name another", ErrTable, s.typed)
	}
	return nil
}
