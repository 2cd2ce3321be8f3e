package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Verify recomputes every row from Kafka and compares. An error says that it could not; what was
// found wrong is in the report, see [Report.OK].
func Verify(ctx context.Context, cfg Config) (*Report, error) {
	v := &verifyRun{run: newRun(cfg, false)}
	return &v.report, v.onDisk(func() error { return v.verify(ctx) })
}

// verifyRun is one run of Verify or Repair.
type verifyRun struct {
	*run
	followUps *sorter  // claims and trials
	fixes     *sorter  // what Repair has to write; nil for Verify
	last      *finding // about the row at hand; nil: none yet
	unfilled  []item   // rows without a name that were noted over a minute ago
}

func (v *verifyRun) verify(ctx context.Context) error {
	begun := time.Now()
	if err := v.readPostgres(ctx); err != nil {
		return err
	}
	if err := v.examine(ctx); err != nil {
		return err
	}
	r, s := &v.report, &v.snap
	r.Window = s.window
	r.Rows, r.Attributed, r.Unattributed = s.rowCount, s.attributed, s.rowCount-s.attributed
	r.DeadLetters = s.dead
	if s.notLate > 0 {
		v.note("%s events are noted in firstclick.late that did not come too late: "+
			"a watermark ran ahead of the clock. `firstclick repair` mends the rows they concern", grouped(s.notLate))
	}
	r.ExpectedDigest, r.ActualDigest = v.expected.String(), v.actual.String()
	r.Verdict = r.verdict(s.known)
	r.Elapsed = time.Since(begun)
	return nil
}

func (v *verifyRun) readPostgres(ctx context.Context) error {
	return v.readSnapshot(ctx, v.readSettings, v.readShards, v.readColumns, v.readEntries,
		func(ctx context.Context, tx pgx.Tx) error {
			return v.addRows(ctx, tx, rowsTable, selectRows(v.snap.columns, rowsTable, true, asText))
		}, v.readUsers)
}

// examine reads Kafka and compares it with the snapshot.
func (v *verifyRun) examine(ctx context.Context) error {
	v.followUps = v.sorter("follow-ups", byKind)
	if err := v.readKafka(ctx, &verifyPolicy{verifyRun: v}); err != nil {
		return err
	}
	v.progress.phase("clicks of rows compared", v.enqueued)
	w := newWindow(&v.snap)
	for k, err := range v.walk(ctx, w) {
		if err != nil {
			return err
		}
		v.judge(k, w)
	}
	if v.last != nil {
		v.count(v.last)
	}
	for _, f := range v.several {
		f.k.flags &^= flagSeveral
		v.count(f)
	}
	if err := v.byKey.drop(); err != nil {
		return err
	}
	if err := v.followUp(ctx); err != nil {
		return err
	}
	v.addExcess(topicCheckouts, KindExtra, "rows without a record")
	v.addExcess(topicClicks, KindDifferent, "clicks of rows without a record")
	return v.lookAgain(ctx)
}

// addExcess counts rows as wrong if more of them need lost records than Kafka has lost.
func (v *verifyRun) addExcess(t topic, kind Kind, what string) {
	more, claims := v.lost[t].excess()
	if more <= 0 {
		return
	}
	*v.report.counter(kind) += more
	v.report.Unverifiable = max(0, v.report.Unverifiable-more)
	v.note("%s %s are not in Kafka any more, and what Kafka has lost is %s records fewer than that: "+
		"at least so many are wrong", grouped(claims), what, grouped(more))
}

// count counts what was found about a row's click.
func (v *verifyRun) count(f *finding) {
	k, kind, row := &f.k, f.kind, f.k.click
	switch {
	case v.postponed(f):
		return
	case kind == KindRefusedClick:
		v.tryClicks(f)
		return
	}
	column := v.snap.columns["click_time"]
	want := f.best
	if kind == KindUnverifiable || kind == "" && f.existing.ok() && f.existing.compare(f.best) < 0 {
		want = row
	}
	v.expected.add(k.id, column.storedClick(want))
	if k.flags&flagRow != 0 && k.flags&flagPending == 0 && kind != KindUnverifiable && kind != KindPending {
		v.report.Judged++
	}
	if kind == "" {
		return
	}
	expected := answerText(f.best.String(), k)
	switch {
	case kind == KindUnverifiable:
		expected = fmt.Sprintf("%s, or an earlier one: %s", f.best, f.why)
		if f.doubtful {
			v.report.Doubtful++
		}
		// Rows may share a click that Kafka has lost, so claims are counted when they are sorted.
		claim := item{kind: kindClaim, event: event{id: row.id, user: k.user, product: k.product}}
		claim.time = row.time - column.unit()/2
		v.followUps.add(&claim)
	case f.why != "":
		expected += "; " + f.why
	}
	v.addExample(kind, k, expected, clickText(k))
	if kind == KindExplained || f.repairable {
		v.addFix(f, f.best)
	}
}
