package audit

import (
	"cmp"
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

// findCheckouts finds the records with the checkout_id. No record is stamped more than the skew
// before its event, so the row's time says where to begin. Only if the record is not found there,
// or is not as the row has it, all has to be read.
func (x *explainer) findCheckouts(ctx context.Context) error {
	var known []recordRef
	for ref := range x.dead {
		known = append(known, ref)
	}
	for _, l := range x.late {
		ref := recordRef{l.topic, l.Partition, l.Offset}
		if l.topic == topicCheckouts && !slices.Contains(known, ref) {
			known = append(known, ref)
		}
	}
	if err := x.scanCheckouts(ctx, x.at(topicCheckouts, known)); err != nil {
		return err
	}
	t, starts := topicCheckouts, x.snap.topics[topicCheckouts]
	var parts [][]span
	if x.row != nil && x.row.flags&flagTimed != 0 {
		from, to, err := x.offsetsAround(ctx, t, x.row.time, x.row.time)
		if err != nil {
			return err
		}
		parts = [][]span{x.spans(t, starts, from, to), x.spans(t, starts, to, nil), x.spans(t, starts, nil, from)}
	} else {
		next := offsets{}
		for _, p := range x.logs[t].partitions {
			next[p.partition] = x.snap.shards[p.partition].next
		}
		parts = [][]span{x.spans(t, starts, next, nil), x.spans(t, starts, nil, next)}
	}
	for i, part := range parts {
		if i > 0 && x.foundEnough() {
			break
		}
		if err := x.scanCheckouts(ctx, part); err != nil {
			return err
		}
	}
	slices.SortFunc(x.records, func(a, b foundCheckout) int {
		return cmp.Or(cmp.Compare(a.partition, b.partition), cmp.Compare(a.offset, b.offset))
	})
	return nil
}

// foundEnough says whether what the row is made of was found, or without a row anything at all.
func (x *explainer) foundEnough() bool {
	return slices.ContainsFunc(x.records, func(k foundCheckout) bool {
		if x.row == nil {
			return true
		}
		_, dead := x.dead[recordRef{topicCheckouts, k.partition, k.offset}]
		return k.reason == "" && !dead && x.differs(&k) == ""
	})
}

func (x *explainer) scanCheckouts(ctx context.Context, spans []span) error {
	column := x.snap.columns["checkout_id"]
	return x.scan(ctx, topicCheckouts, spans, x.id, func(r *kgo.Record, stamp int64) {
		k := foundCheckout{item: item{partition: r.Partition, offset: r.Offset}, stamp: stamp}
		k.event, k.reason = x.decode(topicCheckouts, r)
		switch {
		case k.reason != "" && k.reason != reasonFuture:
			if members, reason := decodeObject(r.Value); reason != "" || !x.isID(members[memberCheckoutID]) {
				return
			}
			k.id = x.id
		case column.stored(k.id) != x.id:
			return
		}
		if s, ok := x.snap.shards[r.Partition]; !ok || r.Offset >= s.next {
			k.flags |= flagPending
		}
		again := func(o foundCheckout) bool { return o.partition == k.partition && o.offset == k.offset }
		switch {
		case slices.ContainsFunc(x.records, again):
		case len(x.records) < recordsKept:
			x.shortenValues(k.values)
			x.records = append(x.records, k)
		default:
			x.dropped++
		}
	})
}

// isID says whether a member is the checkout_id.
func (x *explainer) isID(raw []byte) bool {
	id, isString, _ := decodeString(raw)
	return isString && x.snap.columns["checkout_id"].stored(id) == x.id
}
