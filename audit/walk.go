package audit

import (
	"cmp"
	"context"
	"iter"
)

// enqueue puts a checkout into the stream by key, with its row if there is one.
func (r *run) enqueue(k item, row *item, flags int32) {
	k.flags |= flags
	if row != nil {
		k.flags |= flagRow
		k.click, k.name = row.click, row.name
	}
	r.enqueued++
	r.byKey.add(&k)
}

// walk goes through users, clicks and checkouts by key, and gives each checkout when w is at it.
func (r *run) walk(ctx context.Context, w *window) iter.Seq2[*item, error] {
	return func(yield func(*item, error) bool) {
		for x, err := range r.byKey.items() {
			if err = cmp.Or(err, ctx.Err()); err == nil {
				if w.advance(x); x.kind != kindCheckout {
					continue
				}
				r.progress.add(1)
			}
			if !yield(x, err) || err != nil {
				return
			}
		}
	}
}

// checkoutPolicy is what a command does with all that there is of one checkout_id.
type checkoutPolicy interface {
	add(x *item) // its row, if there is one, then its records by place
	conclude()   // there are no more
}

// eachCheckout goes through rows and records by checkout_id, and drops them.
func (r *run) eachCheckout(ctx context.Context, p checkoutPolicy) error {
	r.progress.phase("rows compared", r.snap.rowCount)
	var id string
	begun := false
	for x, err := range r.byID.items() {
		if err := cmp.Or(err, ctx.Err()); err != nil {
			return err
		}
		if begun && x.id != id {
			p.conclude()
		}
		begun, id = true, x.id
		p.add(x)
		if x.kind == kindRow {
			r.progress.add(1)
		}
	}
	if begun {
		p.conclude()
	}
	return r.byID.drop()
}
