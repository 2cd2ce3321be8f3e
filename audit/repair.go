package audit

import (
	"context"
	"fmt"
	"io"
	"time"
)

// RepairReport is what Repair did.
type RepairReport struct {
	Late     int64         `json:"late"`     // events recorded late and not yet repaired, when it began
	Repaired int64         `json:"repaired"` // of them marked as repaired now
	Left     int64         `json:"left"`     // checkouts recorded late that Kafka no longer holds
	Unread   int64         `json:"unread"`   // late clicks that some shard has not read yet: they stay open
	Ahead    int64         `json:"ahead"`    // events dated ahead whose rows are not final yet: they stay open
	Moved    int64         `json:"moved"`    // rows that moved to an earlier click
	Kept     int64         `json:"kept"`     // rows to move that somebody else moved meanwhile
	Refused  int64         `json:"refused"`  // rows that keep their click because Postgres refuses the earlier one
	Notes    []string      `json:"notes,omitempty"`
	Examples []Example     `json:"examples,omitempty"`
	Elapsed  time.Duration `json:"elapsed_ns"`
}

// Repair recomputes the rows that firstclick.late could have changed, and moves those that have an
// earlier click: what Verify finds "explained". A row only ever moves to an earlier click, in the
// one transaction that marks the late events as repaired. So running it again, or while the
// pipeline runs, is harmless.
func Repair(ctx context.Context, cfg Config) (*RepairReport, error) {
	v := &verifyRun{run: newRun(cfg, false)}
	out := &RepairReport{}
	return out, v.onDisk(func() error { return v.repair(ctx, out) })
}

func (v *verifyRun) repair(ctx context.Context, out *RepairReport) error {
	begun := time.Now()
	v.fixes = v.sorter("fixes", byID) // as the pipeline writes, for the locks' sake
	if err := v.readPostgres(ctx); err != nil {
		return err
	}
	if out.Late = v.snap.late; out.Late > 0 {
		if err := v.examine(ctx); err != nil {
			return err
		}
		if err := v.apply(ctx, out); err != nil {
			return err
		}
		out.Notes = v.report.Notes
	}
	out.Elapsed = time.Since(begun)
	return nil
}

// addFix keeps that Repair moves the row to a click or, where Postgres refuses that, to the next
// better one.
func (v *verifyRun) addFix(f *finding, to click) {
	if v.fixes == nil {
		return
	}
	x := item{kind: kindFix, event: event{id: f.k.id}, click: f.k.click, clicks: []click{to}}
	x.partition, x.offset = f.k.partition, f.k.offset
	for _, c := range f.better {
		if c.click().compare(to) > 0 {
			x.clicks = append(x.clicks, c.click())
		}
	}
	v.fixes.add(&x)
}

// WriteTo prints what Repair did for people.
func (r RepairReport) WriteTo(w io.Writer) (int64, error) {
	t := &printer{}
	if r.Late == 0 {
		t.WriteString("Nothing to repair: no late events are recorded that were not repaired.\n")
		return t.Buffer.WriteTo(w)
	}
	fmt.Fprintf(t, "%s late events: %s rows moved to an earlier click, %s events marked as repaired, in %s\n",
		grouped(r.Late), grouped(r.Moved), grouped(r.Repaired), r.Elapsed.Round(10*time.Millisecond))
	for _, x := range []struct {
		n    int64
		says string
	}{
		{r.Refused, "rows keep the click they have, for Postgres refuses the earlier one: " +
			"see their dead letters, reason refused_click"},
		{r.Kept, "rows had moved by themselves meanwhile"},
		{r.Left, "late checkouts are no longer in Kafka and stay as they are"},
		{r.Ahead, "events stay open: they were not late but dated far ahead of the clock, " +
			"and rows that they concern may still come or move. Run repair again when their time has passed"},
		{r.Unread, "late clicks stay open: some shard has not read them yet, and may have rows that they change. " +
			"Run repair again when it has"},
	} {
		if x.n > 0 {
			fmt.Fprintf(t, "%s %s\n", grouped(x.n), x.says)
		}
	}
	t.notes(r.Notes)
	t.examples(r.Examples)
	return t.Buffer.WriteTo(w)
}
