package pipeline

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"firstclick/join/event"
	"firstclick/pipeline/sink"
)

// takeTick lets time pass.
func (l *loop) takeTick(ctx context.Context, g *errgroup.Group) {
	l.tellClock()
	l.warnOfClocks()
	l.core.Tick(l.s.now())
	l.startRecalls(ctx, g)
	l.holdCheckouts()
	l.holdClicks()
	l.publish()
}

// warnOfClocks says, once a minute, that clicks are dated ahead, and whose clock is the one to look at.
func (l *loop) warnOfClocks() {
	n := l.core.AheadOfClock - l.ahead
	if n == 0 || time.Since(l.aheadTold) < time.Minute {
		return
	}
	l.ahead, l.aheadTold = l.core.AheadOfClock, time.Now()
	skew := l.s.cfg.MaxSkew.Seconds()
	if l.core.TrustsClock() {
		l.s.log.Warn("clicks are dated ahead of this machine's clock: they decide nothing for others. A producer's clock is wrong", "clicks", n, "max_future_skew_seconds", skew)
		return
	}
	l.s.log.Warn("most clicks are dated ahead of this machine's clock: finality waits. This machine's clock is wrong, or every producer's: look at NTP",
		"clicks", n, "max_future_skew_seconds", skew)
}

// payloads is what dead letters hold.
func payloads(dead []sink.DeadLetter) (n int64) {
	for i := range dead {
		n += weight(&dead[i])
	}
	return n
}

func weight(d *sink.DeadLetter) int64 { return max(int64(len(d.Payload)), leastRecord) }

// weighNotes is to be called when letters have left, or changed between the lists: noted is asked for before each message.
func (l *loop) weighNotes() { l.noted = payloads(l.dead) + payloads(l.under) }

// maxHeld is how many bytes of checkouts, of all shards together, wait for release or for their transaction, before no more are polled; and how
// many of clicks that are dead letters, before no more clicks are taken. Records may be small and many, or as large as is taken. Decoded, queued
// and made rows of they take some six times as much, so that a 48th of the limit is an eighth of it.
func (l *loop) maxHeld() int64 {
	const most, least = 10 << 20, 256 << 10 // less, and large records would go one by one
	if limit := l.s.cfg.MemoryLimit; limit > 0 {
		return max(min(most, limit/48), least)
	}
	return most
}

// full says that no more checkouts are to be polled: lag grows then, and not memory. While some shard has nothing to do and more to
// fetch, the others are paused before that (holdCheckouts), and what is polled for it finds room.
func (l *loop) full() bool {
	most := l.maxHeld()
	if l.hungry() {
		most *= 2
	}
	bytes := l.heldBytes()
	return bytes > 0 && bytes >= most
}

func (l *loop) heldBytes() (n int64) {
	for _, sh := range l.shards {
		n += sh.held.bytes
	}
	return n
}

// hungry says whether some shard has nothing to do although its partition has records.
func (l *loop) hungry() bool {
	for _, sh := range l.shards {
		if sh.held.bytes == 0 && sh.Unfetched() {
			return true
		}
	}
	return false
}

// holdCheckouts pauses the shards that hold more than their share while another is hungry.
func (l *loop) holdCheckouts() {
	most, share := l.maxHeld(), l.maxHeld()/int64(max(2*len(l.shards), 1))
	over := l.heldBytes() >= most && l.hungry()
	for p, sh := range l.shards {
		one := map[string][]int32{l.s.cfg.CheckoutsTopic: {p}}
		switch {
		case over && sh.held.bytes > share && !l.checkoutsPaused[p]:
			l.s.checkoutsClient.PauseFetchPartitions(one)
			l.checkoutsPaused[p] = true
		case (!over || sh.held.bytes == 0) && sh.held.bytes <= share && l.checkoutsPaused[p]: // invariant: no shard is paused that has nothing to do
			l.s.checkoutsClient.ResumeFetchPartitions(one)
			delete(l.checkoutsPaused, p)
		}
	}
}

// holdClicks pauses, while the window is over its budget, the partition furthest ahead in event time, never one that the oldest
// waiting checkout needs.
func (l *loop) holdClicks() {
	waits := l.core.WaitedFor()
	l.addWaits(waits)
	used, budget := l.s.window.Stats().Bytes, l.s.cfg.MemoryLimit/2
	over := budget > 0 && used > budget
	l.core.ShortOfMemory(over)
	for p := range l.clicksPaused {
		if waits[p] || used <= budget/10*9 {
			l.s.readerOf(p).ResumeFetchPartitions(map[string][]int32{l.s.cfg.ClicksTopic: {p}})
			delete(l.clicksPaused, p)
		}
	}
	if !over {
		return
	}
	furthest, ahead := int32(-1), event.NoTime
	for p, st := range l.core.ClicksStates() {
		if !waits[p] && !l.clicksPaused[int32(p)] && st.MaxTime > ahead {
			furthest, ahead = int32(p), st.MaxTime
		}
	}
	if furthest >= 0 {
		l.s.readerOf(furthest).PauseFetchPartitions(map[string][]int32{l.s.cfg.ClicksTopic: {furthest}})
		l.clicksPaused[furthest] = true
	}
}

// addWaits adds the clicks partitions that something other than a checkout waits for: the reading up to where the last owner of a shard was, which
// is what lets the window move on after a takeover, and a run until caught up.
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
		add(sh.at.ClicksNext)
	}
}

func (s *session) consumeClicks(p int32, from int64) {
	s.readerOf(p).AddConsumePartitions(map[string]map[int32]kgo.Offset{s.cfg.ClicksTopic: {p: kgo.NewOffset().At(from)}})
}

// addClicksPartition begins to read a partition that was added to the topic.
func (s *session) addClicksPartition(p int32) {
	from := at(s.progress.ClicksStart, int(p))
	s.core.AddClicks(p, from, event.NoTime, s.now())
	s.consumeClicks(p, from)
	s.log.Info("clicks partition added", "topic", s.cfg.ClicksTopic, "partition", p, "offset", from)
}

// shardsMsg is what Postgres holds of the whole group.
type shardsMsg struct{ shards []sink.State }

// takeShards frees clicks that no shard of any instance needs, and sees how far the others are.
func (l *loop) takeShards(m *shardsMsg) {
	others := event.Forever
	l.countOthers(m.shards)
	if !l.s.allClaimed(m.shards) {
		others = event.NoTime // a shard that nobody has claimed yet needs everything
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
			for _, sh := range l.shards { // invariant: a shard is in hand as we left it; a takeover that we have not heard of, Postgres may lose
				next[p] = min(next[p], at(sh.at.ClicksNext, p))
			}
		}
		l.core.StoredByAll(greatestFinal(m.shards), next)
		passed := func(d sink.DeadLetter) bool { return int(d.Partition) < len(next) && d.Offset < next[d.Partition] }
		l.dead = slices.DeleteFunc(l.dead, passed) // an instance without shards has nowhere to write them
		l.kept = slices.DeleteFunc(l.kept, passed)
		l.weighNotes()
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
			_, _, err = s.p.sink.AdvanceProgress(ctx, s.cfg.Group)
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
