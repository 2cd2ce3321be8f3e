package sink

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"firstclick/join"
)

// maxTries bounds how many clicks of one checkout are tried in one transaction.
const maxTries = 16

// walk looks for the first click of a checkout that Postgres takes.
type walk struct {
	correction
	tried []join.ClickAt // refused
	why   string         // the first of them was
	state walkState
}

type walkState int

const (
	walking   walkState = iota
	took                // Postgres takes the click
	exhausted           // the click is the last one that is tried
	none                // there is no other
)

// refusedClick is a checkout of a batch whose first click was refused.
type refusedClick struct {
	batch int32
	join.Refusal
}

// clickAgain has the click of a row asserted once the row stands.
func (t *try) clickAgain(e entry) {
	r := e.row
	t.out.corrected = append(t.out.corrected, correction{
		Correction: join.Correction{Offset: r.Offset, Key: r.Key, Time: r.Time, Checkout: r.ID, Click: r.Click, ClickTime: r.ClickTime}, batch: e.batch, row: r,
	})
}

// correctWarily makes the corrections in a savepoint. Where Postgres refuses one, the next click of
// the checkout is tried (invariant: bad input harms nobody else, and a refused click hides no
// other).
func (t *try) correctWarily(ctx context.Context) error {
	walks := make([]*walk, len(t.corrections))
	for i, c := range t.corrections {
		walks[i] = &walk{correction: c}
	}
	for left := walks; len(left) > 0; left = stillOpen(left) {
		slices.SortStableFunc(left, func(a, b *walk) int { return compareCorrections(a.correction, b.correction) })
		var due []*walk
		for i, w := range left {
			switch {
			case i > 0 && left[i-1].Checkout == w.Checkout: // its turn comes where the better one is refused
			case t.tooLong(w.correction):
				t.refuseClick(w, fmt.Sprintf("the column holds %d characters", t.target.clickMax))
			default:
				due = append(due, w)
			}
		}
		if err := t.assert(ctx, due); err != nil {
			return err
		}
	}
	for _, w := range walks {
		if len(w.tried) > 0 {
			t.noteRefusal(w)
		}
	}
	return nil
}

// stillOpen leaves out the walks of checkouts whose click was found: what else there is for them is
// worse.
func stillOpen(walks []*walk) []*walk {
	found := map[join.ID]bool{}
	for _, w := range walks {
		if w.state == took {
			found[w.Checkout] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(walks), func(w *walk) bool { return w.state != walking || found[w.Checkout] })
}

// assert writes corrections, and moves on those that Postgres refuses.
func (t *try) assert(ctx context.Context, due []*walk) error {
	write := func(piece []*walk) error { return t.correct(ctx, piece) }
	if len(due) == 0 {
		return nil
	}
	if _, err := t.conn.Exec(ctx, "SAVEPOINT corrections", pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("write corrections: %w", err)
	}
	err := write(due)
	refused := map[*walk]error{}
	if err != nil && t.ofRows(err) {
		if _, err := t.conn.Exec(ctx, "ROLLBACK TO SAVEPOINT corrections", pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("go back to before a refused correction: %w", err)
		}
		err = byHalves(ctx, t, due, err, write, func(w *walk, saidOf error) { refused[w] = saidOf })
	}
	if err != nil {
		return fmt.Errorf("write corrections: %w", err)
	}
	for _, w := range due {
		if saidOf := refused[w]; saidOf != nil {
			t.refuseClick(w, refusal(saidOf))
			continue
		}
		w.state = took
		if w.row != nil && t.bare[w.row] {
			t.out.result.Attributed++
		}
	}
	return nil
}

// correct writes corrections of different checkouts.
func (t *try) correct(ctx context.Context, piece []*walk) error {
	all := make([]correction, len(piece))
	for i, w := range piece {
		all[i] = w.correction
	}
	var b pgx.Batch
	n := int64(0)
	queueCorrections(&b, t.target, all, func(moving, moved int64) error {
		if n += moved; moved < moving {
			return &meddledError{"a trigger of commerce.attributed_checkouts keeps the row as it is"}
		}
		return nil
	})
	err := t.conn.SendBatch(ctx, &b).Close()
	if err == nil {
		err = t.checkDeferred(ctx)
	}
	if err == nil {
		t.out.result.Corrected += n
	}
	return err
}

// refuseClick goes on to the next click of the checkout.
func (t *try) refuseClick(w *walk, why string) {
	if len(w.tried) == 0 {
		w.why = why
	}
	w.tried = append(w.tried, join.ClickAt{Time: w.ClickTime, ID: w.Click})
	if len(w.tried) == maxTries {
		w.state = exhausted
		return
	}
	if clicks := t.work.batches[w.batch].Clicks; clicks != nil {
		if at, click, ok := clicks.After(w.Key, w.ClickTime, w.Click, w.Time); ok {
			w.ClickTime, w.Click = at, click
			return
		}
	}
	w.state = none
}

func (t *try) tooLong(c correction) bool {
	return t.target.clickMax > 0 && characters(c.Click) > t.target.clickMax
}

// noteRefusal makes a dead letter of the checkout whose row stands, and lets the core know what it
// has.
func (t *try) noteRefusal(w *walk) {
	b := t.work.batches[w.batch]
	r := join.Refusal{Offset: w.Offset, Key: w.Key, Time: w.Time, ID: w.Checkout, Tried: w.tried}
	if w.state != none {
		r.HasClick, r.Took = true, join.ClickAt{Time: w.ClickTime, ID: w.Click}
	}
	t.out.refusals = append(t.out.refusals, refusedClick{w.batch, r})
	t.out.result.Unclicked++

	first := w.tried[0]
	var detail strings.Builder
	fmt.Fprintf(&detail, "click %s at %s: %s", quoteID(first.ID), instant(first.Time).Time.Format("2006-01-02 15:04:05.999999"), w.why)
	if n := len(w.tried); n > 1 {
		fmt.Fprintf(&detail, "; %d more after it", n-1)
	}
	if w.state == exhausted {
		detail.WriteString("; no further one was tried")
	}
	d := &DeadLetter{
		Topic: b.Claim.Topic, TopicID: b.TopicID, Partition: b.Claim.Partition, Offset: w.Offset,
		Reason: join.ReasonRefusedClick, Detail: detail.String(), RecordTime: join.NoTime, Again: true, Unread: w.row == nil,
	}
	if w.row != nil {
		d.RecordTime = w.row.RecordTime
		t.sink.payloads.Keep(d, w.row.Payload)
	}
	t.out.letters = append(t.out.letters, deadLetter{group: b.Claim.Group, DeadLetter: d})
}

// quoteID is a click_id in a message: at most 100 bytes of it.
func quoteID(id join.ID) string {
	text := id.String()
	if len(text) > 100 {
		return fmt.Sprintf("%q...", text[:100])
	}
	return fmt.Sprintf("%q", text)
}
