package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// expire deletes what stands before the least restore points of all shards, once all are stored.
func (w *world) expire(lane string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*second)
	defer cancel()
	before := map[string]map[int32]int64{clicksTopic: {}, checkoutsTopic: {}}
	var partition int32
	var recent int64
	var restore []int64
	err := w.db.Rows(ctx, `SELECT partition, recent_offset, clicks_restore FROM firstclick.offsets WHERE group_id = $1`,
		[]any{group}, []any{&partition, &recent, &restore}, func() error {
			before[checkoutsTopic][partition] = recent
			for p, at := range restore {
				if least, ok := before[clicksTopic][int32(p)]; !ok || at < least {
					before[clicksTopic][int32(p)] = at
				}
			}
			return nil
		})
	if err == nil && len(before[checkoutsTopic]) == checkoutsPartitions {
		err = w.deleteBefore(ctx, before)
	}
	if err != nil { // a server is down just now
		w.log.Debug("no records deleted", "cause", err)
		return
	}
	w.out.Say("%-9s | %d clicks and %d checkouts are deleted", lane, w.expired[clicksTopic], w.expired[checkoutsTopic])
}

// deleteBefore deletes the records below an offset by topic and partition, and counts them.
func (w *world) deleteBefore(ctx context.Context, before map[string]map[int32]int64) error {
	var offsets kadm.Offsets
	for topic, partitions := range before {
		for p, at := range partitions {
			offsets.AddOffset(topic, p, at, -1)
		}
	}
	answers, err := w.admin.DeleteRecords(ctx, offsets)
	if err == nil {
		err = answers.Error()
	}
	if err != nil {
		return fmt.Errorf("delete records: %w", err)
	}
	clear(w.expired)
	for _, a := range answers.Sorted() {
		w.expired[a.Topic] += a.LowWatermark
	}
	return nil
}

// retention deletes what nobody needs any more while everything breaks, and then, the instances
// stopped, what somebody needs.
func (w *world) retention(ctx context.Context) error {
	if err := w.suffer(ctx); err != nil {
		return err
	}
	for _, topic := range []string{clicksTopic, checkoutsTopic} {
		if w.expired[topic] == 0 {
			w.blame("nothing of %s was deleted: the restore points have not moved (-duration)", topic)
		}
	}
	if len(w.wrong) > 0 {
		return nil
	}
	from := w.eventNow().Add(30 * time.Minute) // later than any event that is ahead
	return (&gaps{world: w, alone: &slot{w: w, number: 8}, from: from}).show(ctx)
}
