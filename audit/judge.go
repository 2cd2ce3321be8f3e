package audit

import "fmt"

// finding is what is to be said of a checkout's row.
type finding struct {
	k item // the checkout, with its row's click
	answers
	kind Kind // "": nothing

	better     []heldClick // the first clicks that are better than the row's, where Postgres may refuse some
	why        string      // it cannot be verified, or can be repaired
	doubtful   bool        // see Report.Doubtful
	repairable bool        // Repair mends the row although firstclick.late does not explain it
	counter    *int64      // Compare's counter of how the click differs
}

// judge compares the click of a checkout's row with the clicks of its window. A row's click is
// right if it is the best of all that are not below the group's start. Clicks that the checkout's
// shard has not read, and those that came too late for a final row, may have had their effect or
// not. So a row may have another click if that is no worse than the best without them; it must then
// be a click that exists.
func (v *verifyRun) judge(k *item, w *window) {
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
		v.followUps.add(&t)
		return
	case k.flags&flagRow == 0:
		f.kind = KindMissing
	case k.flags&flagJudged == 0:
		var exists bool
		f.kind, exists = kindOf(&f.k, f.answers, w)
		switch {
		case !exists: // it may be among what Kafka has lost
			var ok bool
			if f.why, f.doubtful, ok = v.lost[topicClicks].admits(k.click.time - w.column.unit()/2); ok {
				f.kind = KindUnverifiable
			}
			f.repairable = k.click.compare(f.read) > 0 // the late click is better, lost or not
		case f.kind == KindDifferent && !k.click.halfSet() && k.click.compare(f.best) > 0 &&
			(f.k.flags&flagLate != 0 || k.click.compare(f.unrecorded) <= 0):
			f.repairable = true
			f.why = "firstclick.late has the event, which did not come too late: `firstclick repair` mends the row"
		}
		if f.kind == KindDifferent && refusedClick(&f.k, f.answers) {
			f.kind = KindRefusedClick // if the dead letter is right: see followUp
		}
	}
	if f.kind == KindRefusedClick || v.fixes != nil && (f.kind == KindExplained || f.repairable) {
		f.better = w.better(k.click, s)
	}
	last := v.last
	switch {
	case last == nil:
	case last.k.id != k.id || last.k.user != k.user || last.k.product != k.product || last.k.time != k.time:
		v.count(last) // all of a row's records with one user come one after the other
	case leniency(f.kind) <= leniency(last.kind): // the row must be right for each of them
		return
	}
	v.last = f
}

// refusedClick says whether a dead letter may be why the row has a later click than the best, or
// none.
func refusedClick(k *item, a answers) bool {
	return k.flags&flagRefusedClick != 0 && !k.click.halfSet() &&
		k.click.ok() == a.existing.ok() && k.click.compare(a.best) > 0
}

// kindOf says what a row's click is; "" is that it is right. exists is false where the kind depends
// on whether the click ever was: no record that is there holds it, and it is better than what is
// there.
func kindOf(k *item, a answers, w *window) (kind Kind, exists bool) {
	stored := w.column.storedTime
	row := k.click
	inWindow := row.ok() && row.time <= stored(k.time) && row.time >= stored(k.time-w.length)
	if a.existing.ok() {
		row = a.existing
	}
	late := k.flags&flagLate != 0
	switch {
	case k.click.halfSet(), row.ok() && !inWindow:
		return KindDifferent, true
	case row == a.best, a.existing.ok() && row.compare(a.best) < 0: // another job's row, with a click below the start
		return "", true
	case row.ok() && !a.existing.ok():
		return KindDifferent, !late && row.compare(a.onTime) > 0
	case k.flags&flagPending != 0, row.compare(a.read) <= 0:
		return KindPending, true
	case late && k.flags&flagEarly == 0, row.compare(a.onTime) <= 0:
		return KindExplained, true
	default:
		return KindDifferent, true
	}
}

// leniency orders kinds, for a row that several records may have written.
func leniency(k Kind) int {
	order := map[Kind]int{"": 0, KindPending: 1, KindExplained: 2, KindRefusedClick: 2, KindUnverifiable: 3}
	if n, ok := order[k]; ok {
		return n
	}
	return 4
}

// postponed keeps a finding about a row that several records may have written, unless another is
// more lenient: the row is right if it is right for any of them.
func (r *run) postponed(f *finding) bool {
	if f.k.flags&flagSeveral == 0 {
		return false
	}
	if o := r.several[f.k.id]; o == nil || leniency(f.kind) < leniency(o.kind) {
		r.several[f.k.id] = f
	}
	return true
}

// clickText says which click a checkout's row has.
func clickText(k *item) string {
	switch {
	case k.flags&flagRow == 0:
		return "no row"
	case k.click.halfSet():
		return "click_id and click_time are not both set or both NULL"
	}
	return k.click.String()
}

// answerText says which click a checkout should have.
func answerText(best string, k *item) string {
	return fmt.Sprintf("%s, user %d, product %s, checkout_time %s", best, k.user, quote(k.product), formatTime(k.time))
}
