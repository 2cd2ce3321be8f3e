package audit

import "context"

// A dead letter with reason refused says that Postgres did not accept the row. One with reason
// refused_click says that Postgres did not accept the first click of a checkout in its row, nor
// some clicks after it. A trial shows whether that can be: the row, with the click that it would
// have had, goes into an empty temporary table of the same columns and checks, and is rolled back.
// If the real table has more that may refuse a row (triggers, other keys), a row that the temporary
// table accepts proves nothing.

// tryClicks keeps a row with a later click than its first, or none, for followUp. Its clicks are
// the best one, then the better ones that the row should have. A final row need not have those that
// came too late: they are for Repair.
func (v *verifyRun) tryClicks(f *finding) {
	t := f.k
	t.kind, t.clicks = kindTrial, []click{f.best}
	fixed := false
	for _, c := range f.better {
		switch {
		case c.flags&flagLate == 0 || t.time >= v.snap.shards[t.partition].finalBefore:
			t.clicks = append(t.clicks, c.click())
		case !fixed:
			fixed = true
			v.addFix(f, c.click())
		}
	}
	v.followUps.add(&t)
}

// followUp counts the lost clicks that rows need, and tries what Postgres refused.
func (v *verifyRun) followUp(ctx context.Context) error {
	var claim item
	var t *trial
	defer func() {
		if t != nil {
			t.end(context.WithoutCancel(ctx))
		}
	}()
	for x, err := range v.followUps.items() {
		if err != nil {
			return err
		}
		if x.kind == kindClaim {
			if x.id != claim.id || x.user != claim.user || x.product != claim.product || x.time != claim.time {
				v.lost[topicClicks].claim(x.time)
			}
			claim = *x
			continue
		}
		if t == nil {
			v.progress.phase("refused rows tried", 0)
			if t, err = beginTrial(ctx, v.cfg.Database); err != nil {
				return err
			}
		}
		if err := v.tryRow(ctx, t, x); err != nil {
			return err
		}
		v.progress.add(1)
	}
	return nil
}

// try tries a refused checkout, or the clicks that one should have. The latter's row is wrong where
// Postgres accepts a better click, unless somebody has dropped the dead letter.
func (v *verifyRun) tryRow(ctx context.Context, t *trial, k *item) error {
	if k.flags&flagRow == 0 {
		var best click
		if len(k.clicks) > 0 {
			best = k.clicks[0]
		}
		accepted, err := t.accepts(ctx, k, best)
		if accepted && !t.inserts {
			v.unexplained(k, "a row: Postgres takes it now (was a column changed? then retry the dead letter)",
				reasonRefused)
		}
		return err
	}
	var accepted click
	for _, c := range k.clicks[1:] {
		if t.inserts || t.updates {
			break
		}
		if ok, err := t.accepts(ctx, k, c); err != nil {
			return err
		} else if ok {
			accepted = c
			break
		}
	}
	v.report.Judged++
	if accepted.ok() && k.flags&flagResolved == 0 {
		v.expected.add(k.id, v.snap.columns["click_time"].storedClick(accepted))
		v.addExample(KindDifferent, k, answerText(accepted.String(), k)+
			"; Postgres takes it now (was a constraint changed? then retry the dead letter)", k.click.String())
		return nil
	}
	v.expected.add(k.id, v.snap.columns["click_time"].storedClick(k.click))
	v.addExample(KindRefusedClick, k,
		answerText(k.clicks[0].String(), k)+"; a dead letter says why it is refused", k.click.String())
	return nil
}
