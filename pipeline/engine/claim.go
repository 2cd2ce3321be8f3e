package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"firstclick/join/event"
	"firstclick/pipeline/ending"
	"firstclick/pipeline/rules"
	"firstclick/pipeline/sink"
)

// logReader finds offsets by the timestamps of their records.
type logReader interface {
	ClicksStampedFrom(ctx context.Context, micros int64) ([]int64, error)
	CheckoutsStampedFrom(ctx context.Context, micros int64) ([]int64, error)
}

// Owner claims shards in Postgres for this instance.
type Owner struct{ *Config }

// Assign claims partitions and hands them to the engine. It returns their positions: reading begins
// there, whatever offsets Kafka has.
func (o *Owner) Assign(ctx context.Context, partitions []int32) (map[int32]event.Position, error) {
	g := o.Group
	var shards []sink.State
	positions := map[int32]event.Position{}
	for _, p := range partitions {
		all, err := stored{group: g}, error(nil)
		if int(p) >= len(g.CheckoutsStart) { // added later: it begins by what the others hold
			all.shards, err = o.Sink.Shards(ctx, g.Group, g.CheckoutsTopic)
		}
		var st sink.State
		if err == nil {
			fresh := sink.State{TopicID: g.CheckoutsTopicID, Position: all.fresh(p)}
			st, err = o.Sink.Claim(ctx, g.Group, g.CheckoutsTopic, p, fresh)
		}
		ahead := rules.Wall().Add(g.MaxSkew).UnixMicro()
		if err == nil && max(st.Position.Watermark, st.Position.FinalBefore) > ahead {
			// An instance of a version that believes every time owned the shard until now.
			if took, failed := o.takeBack(ctx); took || failed != nil {
				cause := fmt.Errorf("the times of checkouts partition %d lie ahead of every clock", p)
				err = &ending.RestartError{Cause: errors.Join(cause, failed)}
			}
		}
		if err != nil && ctx.Err() != nil {
			return nil, err
		}
		if err != nil { // the sink has repeated what passes
			return nil, o.Inbox.assign(ctx, nil, fmt.Errorf("take over checkouts partition %d: %w", p, err))
		}
		positions[p] = st.Position
		shards = append(shards, st)
	}
	return positions, o.Inbox.assign(ctx, shards, nil)
}

// Revoke hands partitions back: see Inbox.Revoke.
func (o *Owner) Revoke(ctx context.Context, partitions []int32, lost bool) {
	o.Inbox.Revoke(ctx, partitions, lost)
}

// takeBack corrects what a version of firstclick stored that believed an event dated ahead of every
// clock: the watermark, what was final, and the restore points, for it had given up the clicks of
// the last window. That is safe where the times were right after all: a row only moves to an
// earlier click, and records that are read again write nothing twice. It says whether there was
// something.
func (o *Owner) takeBack(ctx context.Context) (took bool, err error) {
	now := rules.Wall().UnixMicro()
	g := o.Group
	doubtful, err := o.Sink.Doubtful(ctx, g.Group, g.CheckoutsTopic, now, g.MaxSkew, g.Window)
	if err != nil {
		return false, err
	}
	from := map[int32]int64{}
	for i := range doubtful {
		from[doubtful[i].Claim.Partition] = doubtful[i].Position.NextOffset
	}
	var waiting map[int32]int64
	if len(doubtful) > 0 {
		if waiting, err = o.Checkouts.WaitingTimes(ctx, from); err != nil {
			return false, err
		}
	}
	for i := range doubtful {
		d := &doubtful[i]
		before := d.Position
		base := d.CommittedAt // where no checkout waits, the next one is of a later time
		if t, ok := waiting[d.Claim.Partition]; ok {
			base = min(base, t)
		}
		if err := o.correctTimes(ctx, d, base, now); err != nil {
			return false, err
		}
		if err := o.Sink.Heal(ctx, d); err != nil {
			return false, err
		}
		o.Logger.Warn("what was stored of event times lies ahead of every clock: it is taken back, and the last "+
			"window is read again. Rows of meanwhile may lack their click: run firstclick repair",
			"topic", g.CheckoutsTopic, "partition", d.Claim.Partition, "offset", d.Position.NextOffset,
			"watermark", shownTime(before.Watermark), "watermark_now", shownTime(d.Position.Watermark),
			"final_before_now", shownTime(d.Position.FinalBefore))
	}
	// Also where no shard is doubtful: an instance may have been killed here, or an older version
	// may have stored the group's progress since.
	return len(doubtful) > 0, o.Sink.HealProgress(ctx, g.Group, now, g.MaxSkew)
}

func shownTime(micros int64) string {
	if micros == event.NoTime {
		return "none"
	}
	return time.UnixMicro(micros).UTC().Format(time.RFC3339)
}

// correctTimes makes a position of one for which event time has come no further than base.
func (o *Owner) correctTimes(ctx context.Context, d *sink.Doubtful, base, now int64) error {
	p, skew, window := &d.Position, o.Group.MaxSkew.Microseconds(), o.Group.Window.Microseconds()
	believed := max(now, d.CommittedAt) + skew
	for i := range p.ClicksLatest {
		if p.ClicksLatest[i] != event.Forever {
			p.ClicksLatest[i] = min(p.ClicksLatest[i], believed+window)
		}
	}
	if max(p.Watermark, p.FinalBefore, p.ExpireBefore) <= believed {
		return nil
	}
	final := base - (o.Group.OutOfOrder + o.Group.Lateness).Microseconds()
	p.Watermark, p.FinalBefore = min(p.Watermark, base), min(p.FinalBefore, final)
	p.ExpireBefore = min(p.ExpireBefore, final-window)
	// No event is stamped more than skew before its time: it would be a dead letter.
	clicks, err := o.Kafka.ClicksStampedFrom(ctx, final-window-skew)
	if err != nil {
		return err
	}
	for c := range min(len(p.ClicksRestore), len(clicks)) {
		p.ClicksRestore[c] = min(p.ClicksRestore[c], max(clicks[c], at(o.Group.ClicksStart, c)))
	}
	checkouts, err := o.Kafka.CheckoutsStampedFrom(ctx, final-skew)
	if err != nil {
		return err
	}
	if c := int(d.Claim.Partition); c < len(checkouts) {
		p.OpenOffset = min(p.OpenOffset, max(checkouts[c], at(o.Group.CheckoutsStart, c)))
	}
	return nil
}
