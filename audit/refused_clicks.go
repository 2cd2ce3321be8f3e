package audit

import (
	"context"
	"errors"
	"fmt"
)

// A dead letter with reason refused_click says that Postgres did not take the first click of a
// checkout in its row, nor others after it. Whether that can be is asked of Postgres, as it is of
// refused rows: each click that is better than the row's, and that the row should have, is tried on
// the temporary table.

// laterClick is a row with a later click than its first, or none; sorted like checkouts, by id and
// place.
type laterClick struct {
	id        string
	partition int32
	offset    int64
	row, best winner
	better    []winner // that it should have
	fix       fix      // for the repair: to the first that is noted as late; to none where there is none
}

// laterClick says which of the better clicks are demanded: once the row is final, not those that
// came too late.
func (d doubt) laterClick(shard position) laterClick {
	l := laterClick{id: d.id, partition: d.partition, offset: d.offset, row: d.click, best: d.best, fix: fix{id: d.id}}
	for _, c := range d.better {
		switch {
		case c.flags&flagLate == 0 || d.time >= shard.finalBefore:
			l.better = append(l.better, c.winner())
		case !l.fix.to.ok:
			l.fix = d.fix(c.winner())
		}
	}
	return l
}

func (l laterClick) append(b []byte) []byte {
	b = l.best.append(l.row.append(appendInt64(appendInt32(appendText(b, l.id), l.partition), l.offset)))
	return l.fix.append(appendWinners(b, l.better))
}

func appendWinners(b []byte, list []winner) []byte {
	for _, w := range list {
		b = w.append(b)
	}
	return winner{}.append(b)
}

func (f *fields) winners() (list []winner) {
	for w := f.winner(); w.ok; w = f.winner() {
		list = append(list, w)
	}
	return list
}

func parseLaterClick(item []byte) (l laterClick) {
	f := fields(item)
	l.id, l.partition, l.offset = f.text(), f.int32(), f.int64()
	l.row, l.best, l.better = f.winner(), f.winner(), f.winners()
	l.fix = parseFix(f)
	return l
}

func (a *audit) checkRefusedClicks(ctx context.Context) error {
	if err := errors.Join(a.refusedClicks.Finish(), a.laterClicks.Finish()); err != nil {
		return err
	}
	if a.laterClicks.count == 0 {
		return nil
	}
	a.progress.phase("refused clicks tried", a.laterClicks.count)
	checkouts, err := newStream(a.refusedClicks, parseCheckout)
	if err != nil {
		return err
	}
	defer checkouts.Close()
	rows, err := newStream(a.laterClicks, parseLaterClick)
	if err != nil {
		return err
	}
	defer rows.Close()
	trial, err := beginTrial(ctx, a.cfg.Database)
	if err != nil {
		return err
	}
	defer trial.end(context.WithoutCancel(ctx))
	for rows.ok {
		for k := &checkouts.head; k.id != rows.head.id || k.partition != rows.head.partition || k.offset != rows.head.offset; {
			if err := checkouts.next(); err != nil {
				return err
			}
		}
		takes, err := trial.first(ctx, checkouts.head, rows.head.better)
		if err != nil {
			return err
		}
		if err := a.concludeLater(checkouts.head, rows.head, takes); err != nil {
			return err
		}
		a.progress.add(1)
		if err := rows.next(); err != nil {
			return err
		}
	}
	return nil
}

// first is the first of some clicks that Postgres takes in the checkout's row, as far as the trial
// can tell.
func (t *trial) first(ctx context.Context, k checkout, clicks []winner) (winner, error) {
	if t.blind || t.moves {
		return winner{}, nil
	}
	for _, c := range clicks {
		if ok, err := t.accepts(ctx, k, c); err != nil || ok {
			return c, err
		}
	}
	return winner{}, nil
}

// concludeLater counts the row: it is wrong where Postgres takes a better click, unless somebody
// has dropped the dead letter.
func (a *audit) concludeLater(k checkout, l laterClick, takes winner) error {
	stored := a.snap.columns["click_time"].storedTime
	a.report.Judged++
	about := fmt.Sprintf(", user %d, product %s, checkout_time %s", k.user, quote(k.product), formatTime(k.time))
	if takes.ok && k.flags&flagResolved == 0 {
		a.expected.add(l.id, takes.id, stored(takes.time), true)
		a.addExample(KindDifferent, k, takes.String()+about+"; Postgres takes it now (was a constraint changed? then retry the dead letter)", l.row.String())
	} else {
		a.expected.add(l.id, l.row.id, stored(l.row.time), l.row.ok)
		a.addExample(KindRefusedClick, k, l.best.String()+about+"; a dead letter says why it is refused", l.row.String())
	}
	if a.fixes != nil && l.fix.to.ok {
		return a.fixes.Add(l.fix.append(nil))
	}
	return nil
}
