package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Verify recomputes every row from Kafka and compares. The error is about not having been able to; what
// was found wrong is in the report, see Report.OK.
func Verify(ctx context.Context, cfg Config) (*Report, error) {
	v := &verifyRun{run: newRun(cfg, false)}
	return &v.report, v.onDisk(func() error { return v.verify(ctx) })
}

// verifyRun is one run of Verify or Repair.
type verifyRun struct {
	*run
	expected, actual digest

	followUps *sorter             // claims and trials
	fixes     *sorter             // what Repair has to write; nil for Verify
	last      *finding            // about the row at hand; nil: none yet
	several   map[string]*finding // of rows that records of several users may have written
	unfilled  []item              // rows without a name that were noted over a minute ago
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
		v.note("%s events are noted in firstclick.late that did not come too late: a watermark ran ahead of the clock. "+
			"`firstclick repair` mends the rows they concern", grouped(s.notLate))
	}
	r.ExpectedDigest, r.ActualDigest = v.expected.String(), v.actual.String()
	r.Verdict = r.verdict(s.known)
	r.Elapsed = time.Since(begun)
	return nil
}

func (v *verifyRun) readPostgres(ctx context.Context) error {
	return v.readSnapshot(ctx, v.readSettings, v.readShards, v.readColumns, v.readNotes,
		func(ctx context.Context, tx pgx.Tx) error {
			return v.addRows(ctx, tx, rowsTable, selectRows(v.snap.columns, rowsTable, true, asText))
		}, v.readUsers)
}

// examine reads Kafka and compares it with the snapshot.
func (v *verifyRun) examine(ctx context.Context) error {
	v.followUps, v.several = v.sorter("follow-ups", byKind), map[string]*finding{}
	if err := v.readKafka(ctx, &verifyPolicy{verifyRun: v}); err != nil {
		return err
	}
	v.progress.phase("clicks of rows compared", v.asked)
	if err := v.walk(ctx, v.judge); err != nil {
		return err
	}
	if v.last != nil {
		if err := v.conclude(v.last); err != nil {
			return err
		}
	}
	for _, f := range v.several {
		f.k.flags &^= flagSeveral
		if err := v.conclude(f); err != nil {
			return err
		}
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

// addExcess counts as wrong what claims to be among what Kafka has lost, beyond what that can be.
func (v *verifyRun) addExcess(t topic, kind Kind, what string) {
	more, claims := v.lost[t].excess()
	if more <= 0 {
		return
	}
	*v.report.counter(kind) += more
	v.report.Unverifiable = max(0, v.report.Unverifiable-more)
	v.note("%s %s are not in Kafka any more, and what Kafka has lost is %s records fewer than that: at least so many are wrong",
		grouped(claims), what, grouped(more))
}

// finding is what is to be said of a checkout's row.
type finding struct {
	k item // the checkout, with its row's click
	answers
	kind Kind // "": nothing

	better     []near // the first clicks that are better than the row's, where Postgres may refuse some
	why        string // it cannot be verified, or can be repaired
	doubtful   bool   // see Report.Doubtful
	repairable bool   // a note that explains nothing is there for the repair all the same
}

// judge compares the click of a checkout's row with the clicks of its window. A row's click is right if
// it is the best of all that are not below the group's start. Clicks that the checkout's shard has
// not read, and those that came too late for a final row, may have had their effect or not. So a row
// may have another click if that is no worse than the best without them; it must then be a click
// that exists.
func (v *verifyRun) judge(k *item, w *window) error {
	if k.flags&flagName != 0 {
		v.judgeName(k, w)
	}
	s := v.snap.shards[k.partition]
	f := &finding{k: *k, answers: w.answers(k, s)}
	switch {
	case k.flags&flagRow == 0 && k.flags&flagRefused != 0:
		t := f.k
		t.kind = kindTrial
		if f.best.ok() {
			t.clicks = []click{f.best}
		}
		return v.followUps.add(&t)
	case k.flags&flagRow == 0:
		f.kind = KindMissing
	case k.flags&flagJudged == 0:
		v.compareClicks(f, w)
	}
	if f.kind == KindRefusedClick || v.fixes != nil && (f.kind == KindExplained || f.repairable) {
		f.better = w.better(k.click, s)
	}
	last := v.last
	switch {
	case last == nil:
	case last.k.id != k.id || last.k.user != k.user || last.k.product != k.product || last.k.time != k.time:
		if err := v.conclude(last); err != nil { // all of a row's records with one user come one after the other
			return err
		}
	case leniency(f.kind) <= leniency(last.kind): // the row must be right for each of them
		return nil
	}
	v.last = f
	return nil
}

// compareClicks sets the finding's kind.
func (v *verifyRun) compareClicks(f *finding, w *window) {
	row := f.k.click
	var exists bool
	f.kind, exists = kindOf(&f.k, f.answers, w)
	switch {
	case !exists: // it may be among what Kafka has lost
		var ok bool
		if f.why, f.doubtful, ok = v.lost[topicClicks].admits(row.time - w.column.unit()/2); ok {
			f.kind = KindUnverifiable
		}
		f.repairable = row.compare(f.read) > 0 // whether or not the row's click ever was, the late one is better
	case f.kind == KindDifferent && !row.odd() && row.compare(f.best) > 0 &&
		(f.k.flags&flagLate != 0 || row.compare(f.unnoted) <= 0):
		f.repairable = true
		f.why = "firstclick.late has the event, which did not come too late: `firstclick repair` mends the row"
	}
	if f.kind == KindDifferent && refusedClick(&f.k, f.answers) {
		f.kind = KindRefusedClick // if the dead letter is right: see followUp
	}
}

// refusedClick says whether a dead letter may be why the row has a later click than the best, or none.
func refusedClick(k *item, a answers) bool {
	return k.flags&flagRefusedClick != 0 && !k.click.odd() && k.click.ok() == a.real.ok() && k.click.compare(a.best) > 0
}

// kindOf says what a row's click is; "" is that it is right. exists is false where the kind depends on
// whether the click ever was: no record that is there holds it, and it is better than what is there.
func kindOf(k *item, a answers, w *window) (kind Kind, exists bool) {
	stored := w.column.storedTime
	row := k.click
	inWindow := row.ok() && row.time <= stored(k.time) && row.time >= stored(k.time-w.length)
	if a.real.ok() {
		row = a.real
	}
	late := k.flags&flagLate != 0
	switch {
	case k.click.odd(), row.ok() && !inWindow:
		return KindDifferent, true
	case row == a.best, a.real.ok() && row.compare(a.best) < 0: // a click below the group's start: another job's row has it
		return "", true
	case row.ok() && !a.real.ok():
		return KindDifferent, !late && row.compare(a.onTime) > 0
	case k.flags&flagPending != 0, row.compare(a.read) <= 0:
		return KindPending, true
	case late && k.flags&flagEarly == 0, row.compare(a.onTime) <= 0:
		return KindExplained, true
	default:
		return KindDifferent, true
	}
}

// leniency orders kinds: a row that records of several users may have written is right if it is right
// for any of them.
func leniency(k Kind) int {
	switch k {
	case "":
		return 0
	case KindPending:
		return 1
	case KindExplained, KindRefusedClick:
		return 2
	case KindUnverifiable:
		return 3
	default:
		return 4
	}
}

// conclude counts what was found.
func (v *verifyRun) conclude(f *finding) error {
	k, kind, row := &f.k, f.kind, f.k.click
	if k.flags&flagSeveral != 0 {
		if o := v.several[k.id]; o == nil || leniency(kind) < leniency(o.kind) {
			v.several[k.id] = f
		}
		return nil
	}
	if kind == KindRefusedClick {
		return v.tryClicks(f)
	}
	column := v.snap.columns["click_time"]
	want := f.best
	if kind == KindUnverifiable || kind == "" && f.real.ok() && f.real.compare(f.best) < 0 {
		want = row
	}
	v.expected.add(k.id, column.storedClick(want))
	if k.flags&flagRow != 0 && k.flags&flagPending == 0 && kind != KindUnverifiable && kind != KindPending {
		v.report.Judged++
	}
	if kind == "" {
		return nil
	}
	expected, actual := describeAnswer(f.best.String(), k), row.String()
	switch {
	case kind == KindMissing:
		actual = "no row"
	case row.odd():
		actual = "click_id and click_time are not both set or both NULL"
	}
	switch {
	case kind == KindUnverifiable:
		expected = fmt.Sprintf("%s, or an earlier one: %s", f.best, f.why)
		if f.doubtful {
			v.report.Doubtful++
		}
		// Rows may share a click that Kafka has lost, so claims are counted when they are sorted.
		claim := item{kind: kindClaim, event: event{id: row.id, user: k.user, product: k.product, time: row.time - column.unit()/2}}
		if err := v.followUps.add(&claim); err != nil {
			return err
		}
	case f.why != "":
		expected += "; " + f.why
	}
	v.addExample(kind, k, expected, actual)
	if kind == KindExplained || f.repairable {
		return v.addFix(f, f.best)
	}
	return nil
}

// describeAnswer says which click a checkout should have.
func describeAnswer(best string, k *item) string {
	return fmt.Sprintf("%s, user %d, product %s, checkout_time %s", best, k.user, quote(k.product), formatTime(k.time))
}

// judgeName compares a row's name with the user's. Names change, and rows keep the old one, so only a
// missing name can be wrong; unless Config.Names says that names do not change.
func (v *verifyRun) judgeName(k *item, w *window) {
	var is optional
	if w.exists {
		is = w.name
	}
	switch {
	case w.exists && !k.name.valid:
		fresh, noted := v.snap.unknownUsers[k.id]
		switch {
		case !noted:
			v.nameExample(KindUnfilled, k, "the name of user %d, or a note that it is to be filled in")
		case fresh || !v.snap.running:
			v.nameExample(KindPending, k, "the name of user %d, as soon as firstclick runs")
		default:
			v.unfilled = append(v.unfilled, *k)
		}
	case v.cfg.Names && k.name != is:
		v.nameExample(KindDifferent, k, "user_name "+is.String()+" of user %d")
	}
}

func (v *verifyRun) nameExample(kind Kind, k *item, format string) {
	v.addExample(kind, k, fmt.Sprintf(format, k.user), "user_name "+k.name.String())
}

// lookAgain reads whether names that should have been filled in are there by now: a user may have been
// added just before the snapshot.
func (v *verifyRun) lookAgain(ctx context.Context) error {
	if len(v.unfilled) == 0 {
		return nil
	}
	conn, err := connect(ctx, v.cfg.Database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	ids := make([]string, len(v.unfilled))
	for i, k := range v.unfilled {
		ids[i] = k.id
	}
	var id string
	filled := map[string]bool{}
	if err := each(ctx, conn, "look again for names", []any{&id}, func() error {
		filled[id] = true
		return nil
	}, `SELECT checkout_id::text FROM commerce.attributed_checkouts
		WHERE checkout_id = ANY($1::text[]) AND user_name IS NOT NULL`, ids); err != nil {
		return err
	}
	for i := range v.unfilled {
		if k := &v.unfilled[i]; filled[k.id] {
			v.nameExample(KindPending, k, "the name of user %d, filled in meanwhile")
		} else {
			v.nameExample(KindUnfilled, k, "the name of user %d, noted over a minute ago")
		}
	}
	return nil
}
