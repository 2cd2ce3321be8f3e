package sink

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"firstclick/join/event"
)

// maxClicks bounds how many clicks of one checkout are tried in one transaction.
const maxClicks = 16

// clickSearch looks for the first click of a checkout that Postgres takes.
type clickSearch struct {
	correction
	refused []event.ClickAt
	why     string // the first of them was refused
	state   searchState
}

type searchState int

const (
	searching searchState = iota
	found                 // Postgres takes the click
	gaveUp                // the click is the last one that is tried
	noClick               // there is no other
)

// assertClick has the click of a row corrected once the row is in the table.
func (a *attempt) assertClick(r rowRef) {
	a.result.asserted = append(a.result.asserted, correction{
		Correction: event.Correction{
			Offset: r.Offset, Key: r.Key, Time: r.Time, Checkout: r.ID, Click: r.Click, ClickTime: r.ClickTime,
		},
		batch: r.batch, row: r.Released,
	})
}

// correctEach makes the corrections in a savepoint. If Postgres refuses one, it tries the next
// click of the checkout (invariant: bad input harms nobody else, and a refused click hides no
// other).
func (a *attempt) correctEach(ctx context.Context) error {
	all := make([]*clickSearch, len(a.corrections))
	for i, c := range a.corrections {
		all[i] = &clickSearch{correction: c}
	}
	for open := slices.Clone(all); len(open) > 0; {
		slices.SortStableFunc(open, func(a, b *clickSearch) int {
			return compareCorrections(a.correction, b.correction)
		})
		var due []*clickSearch
		for i, s := range open {
			switch {
			case i > 0 && open[i-1].Checkout == s.Checkout: // it is due if the better one is refused
			case a.target.tooLong(s.Click):
				a.nextClick(s, fmt.Sprintf("the column holds %d characters", a.target.clickMax))
			default:
				due = append(due, s)
			}
		}
		if err := a.correct(ctx, due); err != nil {
			return err
		}
		done := map[event.ID]bool{} // what else there is for these checkouts is worse
		for _, s := range open {
			if s.state == found {
				done[s.Checkout] = true
			}
		}
		open = slices.DeleteFunc(open, func(s *clickSearch) bool { return s.state != searching || done[s.Checkout] })
	}
	for _, s := range all {
		if len(s.refused) > 0 {
			a.reportRefused(s)
		}
	}
	return nil
}

// correct writes corrections of different checkouts, and goes on to the next click of those that
// Postgres refuses.
func (a *attempt) correct(ctx context.Context, due []*clickSearch) error {
	if len(due) == 0 {
		return nil
	}
	if err := a.exec(ctx, "SAVEPOINT corrections"); err != nil {
		return fmt.Errorf("write corrections: %w", err)
	}
	refused := map[*clickSearch]error{}
	err := writeEach(ctx, a, "corrections", due, func(piece []*clickSearch) error {
		var b pgx.Batch
		corrected := int64(0)
		corrections := list(piece, func(s *clickSearch) correction { return s.correction })
		queueCorrections(&b, a.target, corrections, func(moving, moved int64) error {
			if corrected += moved; moved < moving {
				return &triggerError{"a trigger of commerce.attributed_checkouts keeps the row as it is"}
			}
			return nil
		})
		err := a.conn.SendBatch(ctx, &b).Close()
		if err == nil {
			err = a.checkDeferred(ctx)
		}
		if err == nil {
			a.result.Corrected += corrected
		}
		return err
	}, func(s *clickSearch, refusal error) { refused[s] = refusal })
	if err != nil {
		return fmt.Errorf("write corrections: %w", err)
	}
	for _, s := range due {
		if refusal := refused[s]; refusal != nil {
			a.nextClick(s, whyRefused(refusal))
			continue
		}
		s.state = found
		if a.withoutClick[s.row] {
			a.result.Attributed++
		}
	}
	return nil
}

// nextClick goes on to the next click of the checkout.
func (a *attempt) nextClick(s *clickSearch, why string) {
	if len(s.refused) == 0 {
		s.why = why
	}
	s.refused = append(s.refused, event.ClickAt{Time: s.ClickTime, ID: s.Click})
	if len(s.refused) == maxClicks {
		s.state = gaveUp
		return
	}
	s.state = noClick
	if clicks := s.batch.Clicks; clicks != nil {
		if at, click, ok := clicks.After(s.Key, s.ClickTime, s.Click, s.Time); ok {
			s.ClickTime, s.Click, s.state = at, click, searching
		}
	}
}

// reportRefused makes a dead letter of the checkout, whose row is in the table, and tells the join
// which click the row has.
func (a *attempt) reportRefused(s *clickSearch) {
	r := event.Refusal{Offset: s.Offset, Key: s.Key, Time: s.Time, ID: s.Checkout, Tried: s.refused}
	if s.state != noClick {
		r.HasClick, r.Took = true, event.ClickAt{Time: s.ClickTime, ID: s.Click}
	}
	a.result.refusals = append(a.result.refusals, refusal{s.batch, r})
	a.result.Unclicked++

	first := s.refused[0]
	var detail strings.Builder
	at := instant(first.Time).Time.Format("2006-01-02 15:04:05.999999")
	fmt.Fprintf(&detail, "click %.100q at %s: %s", first.ID.String(), at, s.why)
	if n := len(s.refused); n > 1 {
		fmt.Fprintf(&detail, "; %d more after it", n-1)
	}
	if s.state == gaveUp {
		detail.WriteString("; no further one was tried")
	}
	letter := &DeadLetter{
		Topic: s.batch.Claim.Topic, TopicID: s.batch.TopicID, Partition: s.batch.Claim.Partition, Offset: s.Offset,
		Reason: event.ReasonRefusedClick, Detail: detail.String(), RecordTime: event.NoTime,
		Again: true, Unread: s.row == nil,
	}
	if s.row != nil {
		letter.RecordTime = s.row.RecordTime
		a.sink.payloads.Keep(letter, s.row.Value())
	}
	a.result.letters = append(a.result.letters, letter)
}
