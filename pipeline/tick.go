package pipeline

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"firstclick/join"
	"firstclick/pipeline/sink"
)

// takeTick lets time pass.
func (l *loop) takeTick(ctx context.Context, g *errgroup.Group) {
	l.core.Tick(l.s.now())
	l.startRecalls(ctx, g)
	l.holdCheckouts()
	l.holdClicks()
	l.publish()
}

// maxHeld bounds the bytes of one shard's queue, and of its batch, whatever the budget.
const maxHeld = 16 << 20

// allowance is how many bytes one shard's queue may hold, one shard's batch, and the dead letters of clicks that wait: records may be small and
// many, or as large as is taken.
func (l *loop) allowance() int64 {
	const least = 256 << 10 // else large records would go one by one
	limit := int64(maxHeld)
	if l.s.cfg.MemoryLimit > 0 {
		limit = min(limit, l.s.cfg.MemoryLimit/16/int64(max(len(l.shards), 1)))
	}
	return max(limit, least)
}

// payloads is what dead letters hold.
func payloads(dead []sink.DeadLetter) (n int64) {
	for i := range dead {
		n += int64(len(dead[i].Payload))
	}
	return n
}

// holdCheckouts pauses a shard whose queue is long, so that lag grows and not memory.
func (l *loop) holdCheckouts() {
	most := l.allowance()
	for p, sh := range l.shards {
		one := map[string][]int32{l.s.cfg.CheckoutsTopic: {p}}
		switch n, bytes := sh.Queued(), sh.QueuedBytes(); {
		case (n > maxQueued || bytes > most) && !l.checkoutsPaused[p]:
			l.s.checkoutsClient.PauseFetchPartitions(one)
			l.checkoutsPaused[p] = true
		case n <= maxQueued/2 && bytes <= most/2 && l.checkoutsPaused[p]:
			l.s.checkoutsClient.ResumeFetchPartitions(one)
			delete(l.checkoutsPaused, p)
		}
	}
}

// holdClicks pauses, while the window is over its budget, the partition furthest ahead in event time, never one that the oldest
// waiting checkout needs.
func (l *loop) holdClicks() {
	waits := l.core.Waits()
	l.addWaits(waits)
	used, budget := l.s.window.Stats().Bytes, l.s.cfg.MemoryLimit/2
	over := budget > 0 && used > budget
	for p := range l.clicksPaused {
		if waits[p] || used <= budget/10*9 {
			l.s.clicksClient.ResumeFetchPartitions(map[string][]int32{l.s.cfg.ClicksTopic: {p}})
			delete(l.clicksPaused, p)
		}
	}
	if !over {
		return
	}
	furthest, ahead := int32(-1), int64(join.NoTime)
	for p, st := range l.core.ClicksStates() {
		if !waits[p] && !l.clicksPaused[int32(p)] && st.MaxTime > ahead {
			furthest, ahead = int32(p), st.MaxTime
		}
	}
	if furthest >= 0 {
		l.s.clicksClient.PauseFetchPartitions(map[string][]int32{l.s.cfg.ClicksTopic: {furthest}})
		l.clicksPaused[furthest] = true
	}
}

// addWaits adds the clicks partitions that something other than a checkout waits for: a recall, which is what lets the window move on
// after a takeover, and a run until caught up.
func (l *loop) addWaits(waits []bool) {
	add := func(upTo []int64) {
		for p, st := range l.core.ClicksStates() {
			waits[p] = waits[p] || p < len(upTo) && st.Next < upTo[p]
		}
	}
	if l.s.cfg.UntilCaughtUp {
		add(l.targets.clicks)
	}
	for _, sh := range l.shards {
		if sh.recall != nil {
			add(sh.at.ClicksNext)
		}
	}
}

// addClicksPartition begins to read a partition that was added to the topic.
func (s *session) addClicksPartition(p int32) {
	from := at(s.progress.ClicksStart, int(p))
	s.core.AddClicks(p, from, join.NoTime, s.now())
	s.clicksClient.AddConsumePartitions(map[string]map[int32]kgo.Offset{s.cfg.ClicksTopic: {p: kgo.NewOffset().At(from)}})
	s.log.Info("clicks partition added", "topic", s.cfg.ClicksTopic, "partition", p, "offset", from)
}

// shardsMsg is what Postgres holds of the whole group.
type shardsMsg struct{ shards []sink.State }

// takeShards frees clicks that no shard of any instance needs, and sees how far the others are.
func (l *loop) takeShards(m *shardsMsg) {
	others := join.Forever
	l.countOthers(m.shards)
	if !l.s.allClaimed(m.shards) {
		others = join.NoTime // a shard that nobody has claimed yet needs everything
	}
	for i := range m.shards {
		if st := &m.shards[i]; l.shards[st.Claim.Partition] == nil {
			others = min(others, st.Position.ExpireBefore)
		}
	}
	l.core.Expire(others)
	if l.s.allClaimed(m.shards) {
		next := make([]int64, len(l.core.ClicksStates()))
		for p := range next {
			_, next[p] = l.s.clicksPlace(m.shards, p)
		}
		l.core.KnowStored(greatestFinal(m.shards), next)
		l.dead = slices.DeleteFunc(l.dead, func(d sink.DeadLetter) bool { // an instance without shards has nowhere to write them
			return int(d.Partition) < len(next) && d.Offset < next[d.Partition]
		})
		l.noted = payloads(l.dead) + payloads(l.under)
	}
	l.targets.stored = m.shards
	l.checkTargets()
}

// advise does what others look at and nobody's rows depend on: progress, instances, group offsets. It also asks how far the shards of
// other instances are.
func (s *session) advise(ctx context.Context) error {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	var announced time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		shards, err := s.p.sink.Shards(ctx, s.cfg.Group, s.cfg.CheckoutsTopic)
		if err == nil {
			select {
			case s.control <- &shardsMsg{shards}:
			case <-ctx.Done():
				return nil
			}
			_, _, err = s.p.sink.SettleProgress(ctx, s.cfg.Group)
		}
		if err == nil && time.Since(announced) >= 5*time.Second {
			announced = time.Now()
			err = s.announce(ctx)
			s.commitGroup(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Debug("progress not told", "cause", err) // the sink says what is wrong with Postgres
		}
	}
}
