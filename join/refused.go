package join

import "slices"

// Refusal says that Postgres refused the first click of a checkout, and which one it was given
// instead. Refused ones are not left out of the window, for another checkout may have them.
type Refusal struct {
	Offset int64 // of the checkout, in the shard's partition
	Key    Key
	Time   int64 // the checkout's
	ID     ID
	Tried  []ClickAt // refused, in order
	Took   ClickAt   // it has this click or a better one; only if HasClick
	// HasClick is false where all clicks that were there were refused.
	HasClick bool
}

// ClickAt is a click without its key.
type ClickAt struct {
	Time int64
	ID   ID
}

func (a ClickAt) less(b ClickAt) bool {
	return a.Time < b.Time || a.Time == b.Time && a.ID.Compare(b.ID) < 0
}

// Refused takes in what became of a checkout whose first click was refused. Invariant: a refused
// click hides no other. Clicks to come are held against the click that the row has, and one that
// came meanwhile, and was held against the refused one, is asserted with the next transaction.
func (c *Core) Refused(s *Shard, r *Refusal) {
	s.recents.Answer(r)
	if r.Time < s.taken.FinalBefore { // final when the transaction was made: what came since is noted as late
		return
	}
	t, id, ok := c.win.First(r.Key, r.Time-c.window, r.Time)
	for first := (ClickAt{t, id}); ok; t, id, ok = c.win.After(r.Key, t, id, r.Time) {
		click := ClickAt{t, id}
		if r.HasClick && !click.less(r.Took) {
			return
		}
		if !slices.Contains(r.Tried, click) {
			s.Reasserted = append(s.Reasserted, Correction{Offset: r.Offset, Key: r.Key, Time: r.Time, Checkout: r.ID, Click: first.ID, ClickTime: first.Time})
			return
		}
	}
}

// Answer sets the answer of a checkout, where it is still held, also to a worse one.
func (r *Recents) Answer(to *Refusal) {
	if owner := r.keys.find(to.Key); owner != 0 {
		r.answer(r.keys.at(owner).root, to)
	}
}

func (r *Recents) answer(ref uint32, to *Refusal) {
	if ref == 0 {
		return
	}
	n := r.nodes.at(ref)
	switch {
	case n.time == to.Time && n.offset == to.Offset:
		r.texts.drop(n.click, n.flags&flagClickText != 0)
		n.flags &^= flagClickText
		n.clickTime, n.click = noClick, packedID{}
		if to.HasClick {
			n.clickTime, n.click = to.Took.Time, r.texts.store(to.Took.ID, &n.flags, flagClickText)
		}
	case to.Time < n.time || to.Time == n.time && to.Offset < n.offset:
		r.answer(n.left, to)
	default:
		r.answer(n.right, to)
	}
	r.sum(ref, n)
}
