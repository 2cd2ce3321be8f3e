package pipeline

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/join/decode"
	"firstclick/join/event"
	"firstclick/pipeline/sink"
)

// heal takes back what was stored under an event dated ahead of every clock, by a version that believed it: the watermark, what was
// final, and the restore points, for the clicks of the last window were given up under it. It is safe where the times were right after
// all: a row only moves to an earlier click, and what is read again writes nothing twice.
func (s *session) heal(ctx context.Context) (healed bool, err error) {
	now := wall().UnixMicro()
	doubtful, err := s.p.sink.Doubtful(ctx, s.cfg.Group, s.cfg.CheckoutsTopic, now, s.cfg.MaxSkew, s.cfg.Window)
	if err != nil {
		return false, err
	}
	if len(doubtful) == 0 { // the last one that healed may have been killed before it came to this, or an older version may have told of it since
		return false, s.p.sink.HealProgress(ctx, s.cfg.Group, now, s.cfg.MaxSkew)
	}
	waiting, err := s.waiting(ctx, doubtful)
	if err != nil {
		return false, err
	}
	for i := range doubtful {
		d := &doubtful[i]
		before := d.Position
		base := d.CommittedAt // where no checkout waits, the next one is of a later time
		if t, ok := waiting[d.Claim.Partition]; ok {
			base = min(base, t)
		}
		if err := s.takeBack(ctx, d, base, now); err != nil {
			return false, err
		}
		if err := s.p.sink.Heal(ctx, d); err != nil {
			return false, err
		}
		s.log.Warn("what was stored of event times lies ahead of every clock: it is taken back, and the last window is read again. Rows of meanwhile may lack their click: run firstclick repair",
			"topic", s.cfg.CheckoutsTopic, "partition", d.Claim.Partition, "offset", d.Position.NextOffset,
			"watermark", shownTime(before.Watermark), "watermark_now", shownTime(d.Position.Watermark), "final_before_now", shownTime(d.Position.FinalBefore))
	}
	return true, s.p.sink.HealProgress(ctx, s.cfg.Group, now, s.cfg.MaxSkew)
}

func shownTime(micros int64) string {
	if micros == event.NoTime {
		return "none"
	}
	return time.UnixMicro(micros).UTC().Format(time.RFC3339)
}

// takeBack makes a position of one for which event time has come no further than base.
func (s *session) takeBack(ctx context.Context, d *sink.Doubtful, base, now int64) error {
	p, skew, window := &d.Position, s.cfg.MaxSkew.Microseconds(), s.cfg.Window.Microseconds()
	believed := max(now, d.CommittedAt) + skew
	for i := range p.ClicksLatest {
		if p.ClicksLatest[i] != event.Forever {
			p.ClicksLatest[i] = min(p.ClicksLatest[i], believed+window)
		}
	}
	if max(p.Watermark, p.FinalBefore, p.ExpireBefore) <= believed {
		return nil
	}
	final := base - (s.cfg.OutOfOrder + s.cfg.Lateness).Microseconds()
	p.Watermark, p.FinalBefore, p.ExpireBefore = min(p.Watermark, base), min(p.FinalBefore, final), min(p.ExpireBefore, final-window)
	// No event is stamped more than skew before its time: it would be a dead letter.
	from, err := s.stampedFrom(ctx, s.cfg.ClicksTopic, final-window-skew)
	if err != nil {
		return err
	}
	for c := range p.ClicksRestore {
		if c < len(from) {
			p.ClicksRestore[c] = min(p.ClicksRestore[c], max(from[c], at(s.progress.ClicksStart, c)))
		}
	}
	if from, err = s.stampedFrom(ctx, s.cfg.CheckoutsTopic, final-skew); err != nil {
		return err
	}
	if c := int(d.Claim.Partition); c < len(from) {
		p.RecentOffset = min(p.RecentOffset, max(from[c], at(s.progress.CheckoutsStart, c)))
	}
	return nil
}

// stampedFrom is, by partition, the first offset whose record may be stamped at or after a time, in microseconds. Where records have no
// timestamps, or such as nobody can have meant, that is the first there is.
func (s *session) stampedFrom(ctx context.Context, topic string, micros int64) ([]int64, error) {
	size := map[string]int32{topic: s.infos[topic].partitions}
	ask := func(at int64) ([]int64, error) {
		offsets, err := listOffsets(ctx, s.clicksClient, size, at, false)
		return offsets[topic], err
	}
	first, err := ask(atStart)
	if err != nil {
		return nil, err
	}
	sound, err := ask(nonsense.UnixMilli())
	if err != nil {
		return nil, err
	}
	from, err := ask(askedTime(time.UnixMicro(micros)))
	if err != nil {
		return nil, err
	}
	ends, err := ask(atEnd)
	if err != nil {
		return nil, err
	}
	for p := range from {
		switch {
		case sound[p] != first[p]:
			from[p] = first[p]
		case from[p] < 0: // none at or after that time
			from[p] = ends[p]
		}
	}
	return from, nil
}

// waiting is, by checkouts partition, the event time of the checkouts that wait to be read there.
func (s *session) waiting(ctx context.Context, shards []sink.Doubtful) (map[int32]int64, error) {
	topic := s.cfg.CheckoutsTopic
	all, err := listOffsets(ctx, s.clicksClient, s.sizes(), atEnd, true)
	if err != nil {
		return nil, err
	}
	ends, places := map[int32]int64{}, map[int32]kgo.Offset{}
	for i := range shards {
		p, next := shards[i].Claim.Partition, shards[i].Position.NextOffset
		if end := at(all[topic], int(p)); next < end {
			ends[p], places[p] = end, kgo.NewOffset().At(next)
		}
	}
	times := map[int32]int64{}
	if len(places) == 0 {
		return times, nil
	}
	opts, err := s.cfg.Kafka.Opts()
	if err != nil {
		return nil, err
	}
	opts = append(opts, s.readOptions("waiting")...)
	opts = append(opts, kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: places}))
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("make the Kafka client for the checkouts that wait: %w", err)
	}
	defer cl.Close()
	seen := map[int32][]int64{}
	reader := &checkoutsReader{chunks: &s.chunks, hasher: s.hasher, skew: s.cfg.MaxSkew, topicID: s.infos[topic].id, decoder: decode.New(s.cfg.Zone)}
	for len(ends) > 0 {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := s.fetchErrors(ctx, fetches); err != nil {
			return nil, err
		}
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			if _, wanted := ends[f.Partition]; !wanted || len(f.Records) == 0 {
				return
			}
			last := f.Records[len(f.Records)-1].Offset
			reader.read(f.Partition, f.Records, 0)
			for i := range reader.out.chunk.records {
				if k := &reader.out.chunk.records[i]; !k.Skip && len(seen[f.Partition]) < 31 {
					seen[f.Partition] = append(seen[f.Partition], k.Time)
				}
			}
			s.chunks.give(reader.out.chunk)
			if len(seen[f.Partition]) > 0 || last+1 >= ends[f.Partition] {
				delete(ends, f.Partition)
			}
		})
	}
	for p, all := range seen {
		slices.Sort(all)
		times[p] = all[(len(all)-1)/2] // one wrong clock among them does not count
	}
	return times, nil
}
