package engine

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"firstclick/join"
	"firstclick/join/event"
	"firstclick/join/window"
	"firstclick/pipeline/chunk"
	"firstclick/pipeline/ending"
	"firstclick/pipeline/rules"
	"firstclick/pipeline/sink"
)

// kafka is the side that reads.
type kafka interface {
	pauser
	logReader
	Starts(ctx context.Context) ([]int64, error)
	StableEnds(ctx context.Context) (clicks, checkouts []int64, err error)
	CheckTruncated(ctx context.Context, epochs []int32, next []int64) error
	ReadClicks(p int32, from, fresh int64)
	ClickRecordTime(p int32) int64
	RefreshGroup()
}

// ends requests end offsets.
type ends interface {
	Wake()
	RequestStable(on bool)
}

// Config is what New needs.
type Config struct {
	Group         *sink.Progress // as stored
	MemoryLimit   int64          // bytes; 0: none
	UntilCaughtUp bool
	CaughtUp      func() // called when Postgres holds what was there at the start

	Inbox     *Inbox
	Sink      *sink.Sink
	Kafka     kafka
	Ends      ends
	Checkouts checkoutsReader
	Chunks    *chunk.Pool
	Core      *join.Core
	Window    *window.Window
	Clock     rules.Clock
	Metrics   *Metrics
	Status    *atomic.Pointer[Status]
	Latest    *Latest
	Logger    *slog.Logger
}

const (
	maxRows        = 8_192  // of one shard in one transaction
	maxCorrections = 16_384 // that late clicks give rise to, in one transaction; the rest goes into the next ones
	maxNotes       = 4_096  // dead letters and late events of clicks that wait; past it reading of clicks waits

	positionsEvery = 10 * time.Second // a shard's position is committed at least this often
	tick           = 50 * time.Millisecond
)

// Engine owns the core and decides everything, in one goroutine.
type Engine struct {
	Config

	Owner      *Owner
	Restorer   *Restorer
	Committers []*Committer

	shards   shards
	letters  clickLetters
	pressure backpressure
	rows     [][]event.Released // memory for the next batch of any shard: with many shards most have none
	work     chan *commitSet
	idle     int // committers without work

	begin   stored // when the attempt began
	stored  stored // now
	targets targets

	knownPartitions int // of checkouts; 0: not known yet
	warned          struct {
		clicks int64 // dated ahead, that were logged
		at     time.Time
	}
	status status
}

// Run decides until the group has been left and every shard is handed back, or ctx ends.
func (e *Engine) Run(ctx context.Context) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	defer e.publish()
	for {
		// What a full room has no space for stays in its channel.
		clicks, room, restored := e.Inbox.clicks, e.Inbox.room, e.Inbox.restored
		if e.pressure.full(e.shards) {
			room = nil
		}
		if owns := len(e.shards) > 0; owns && e.notes() > maxNotes || !owns && e.Core.Crowded() ||
			e.letters.bytes > e.pressure.most() {
			clicks = nil
		}
		for _, sh := range e.shards {
			if sh.restore != nil && len(sh.Corrections) > maxRestored {
				restored = nil
			}
		}
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m := <-clicks:
			err = e.takeClicks(m)
		case <-room:
			continue // nothing has changed
		case chunks := <-e.Inbox.checkouts:
			for _, c := range chunks {
				if sh := e.shards[c.Partition]; sh != nil {
					sh.held.Add(c, sh.Fetched(c.Checkouts), e.Chunks)
				}
			}
			e.pressure.pauseCheckouts(e.shards)
		case m := <-restored:
			e.takeRestored(m)
		case m := <-e.Inbox.ends:
			e.takeEnds(m)
		case m := <-e.Inbox.checkoutEnds:
			e.Core.CheckoutsEnds(m.ends, m.began)
			e.answered(&e.status.checkoutEndsAt)
		case m := <-e.Inbox.assigned:
			err = e.takeAssigned(m)
		case m := <-e.Inbox.revoked:
			e.takeRevoked(m)
		case m := <-e.Inbox.committed:
			err = e.takeCommitted(m)
		case m := <-e.Inbox.stored:
			e.takeStored(m)
		case thawed := <-e.Inbox.freezes:
			<-thawed
		case <-ticker.C:
			e.takeTick(ctx)
		case <-e.Inbox.left:
			if len(e.shards) == 0 {
				return nil
			}
			return errors.New("left the group with shards in hand")
		}
		if err == nil {
			err = e.release()
		}
		if err != nil {
			return err
		}
		e.commitReady()
	}
}

// setClock gives the core the time of this machine: events dated ahead of it decide nothing.
func (e *Engine) setClock() { e.Core.SetClock(rules.Wall().UnixMicro(), e.Clock.Now()) }

// notes is how many dead letters and late events wait.
func (e *Engine) notes() int {
	n := e.letters.len()
	for _, sh := range e.shards {
		n += len(sh.batch.Late)
	}
	return n
}

// takeClicks takes in a poll of clicks. One that was under way while a shard was taken over may
// hold a late click that nobody has noted: the next attempt reads it again.
func (e *Engine) takeClicks(m clicksRead) error {
	e.setClock()
	for _, r := range m.reads {
		late, missed := e.Core.Clicks(r, e.Clock.Now())
		for i := range late {
			e.shards[late[i].Shard].late(e.lateClick(&late[i].Candidate))
		}
		if missed {
			return ending.Restartf(
				"clicks partition %d was read on while a shard was taken over that late clicks concern", r.Partition)
		}
	}
	e.letters.add(m.dead)
	return nil
}

// lateClick notes a click that came after rows that it could change were final.
func (e *Engine) lateClick(k *join.Candidate) sink.Late {
	return sink.Late{
		Topic: e.Group.ClicksTopic, TopicID: e.Group.ClicksTopicID, Partition: k.Partition, Offset: k.Offset,
		Kind: sink.LateClick, EventID: k.ID.String(), User: k.User, Product: k.Product, Time: k.Time,
	}
}

func (e *Engine) takeEnds(m clicksEnds) {
	added := e.Core.ClicksEnds(m.request, m.ends, m.stable, m.began)
	for _, p := range added {
		from := at(e.begin.group.ClicksStart, int(p))
		e.Core.AddClicks(p, from, event.NoTime, e.Clock.Now())
		e.Kafka.ReadClicks(p, from, 0)
		e.Logger.Info("clicks partition added", "topic", e.Group.ClicksTopic, "partition", p, "offset", from)
	}
	switch {
	case e.knownPartitions == 0:
		e.knownPartitions = m.checkouts
	case m.checkouts > e.knownPartitions && len(e.shards) > 0:
		e.knownPartitions = m.checkouts
		e.Kafka.RefreshGroup()
	}
	e.Ends.RequestStable(e.Core.Stalled(e.Clock.Now(), (2 * time.Second).Microseconds()))
	if e.Core.NeedsEnds() {
		e.Ends.Wake()
	}
	e.answered(&e.status.endsAt)
}

// answered notes that Kafka has given end offsets. Readiness does not wait for the next tick.
func (e *Engine) answered(at *time.Time) {
	first := at.IsZero()
	*at = time.Now()
	if first {
		e.publish()
	}
}

// takeAssigned takes shards over. One that needs clicks that were not kept ends the attempt (see
// join.Core.CanTakeOver): the next one reads them again.
func (e *Engine) takeAssigned(m assignment) (err error) {
	defer func() { m.done <- err }()
	if m.err != nil {
		return m.err
	}
	for i := range m.shards {
		st := &m.shards[i]
		p, pos := st.Claim.Partition, st.Position
		if !e.Core.CanTakeOver(pos) {
			return ending.Restartf("checkouts partition %d needs clicks that this instance did not keep", p)
		}
		e.Core.RestoreWatermark(e.begin.watermark())
		restoring := pos.OpenOffset < pos.NextOffset
		e.drop(p) // the group may repeat itself
		sh := &shard{
			log:   e.Logger.With("topic", e.Group.CheckoutsTopic, "partition", p),
			claim: st.Claim, topicID: st.TopicID, at: pos, batch: &sink.Batch{}, committed: time.Now(),
			time: event.NoTime, recordTime: event.NoTime,
		}
		e.shards[p] = sh
		e.letters.restore(pos.ClicksNext)
		var late []join.Candidate
		sh.Shard, late = e.Core.AddShard(p, pos, restoring)
		for i := range late {
			sh.late(e.lateClick(&late[i]))
		}
		if restoring {
			sh.restore = &restore{sh: sh, from: pos.OpenOffset, to: pos.NextOffset}
		}
		sh.log.Info("shard taken over", "offset", pos.NextOffset, "recent_offset", pos.OpenOffset)
	}
	// A takeover is a transaction. Where nothing is to be written, none follows for 10 s.
	e.status.committedAt = time.Now()
	e.publish()
	e.Ends.Wake()
	return nil
}

// takeRevoked drops shards that are lost. Others are handed back when what was released of them is
// written.
func (e *Engine) takeRevoked(r *revocation) {
	var staying []int32
	for _, p := range r.partitions {
		sh := e.shards[p]
		switch {
		case sh == nil:
		case r.lost:
			e.drop(p)
			sh.log.Warn("shard lost: what was not committed is forgotten", "offset", sh.at.NextOffset)
		default:
			sh.handBack = r
			staying = append(staying, p)
		}
	}
	r.partitions = staying
	if len(staying) == 0 {
		close(r.done)
	}
}

func (e *Engine) drop(p int32) {
	if sh := e.shards[p]; sh != nil && sh.restore != nil && sh.restore.cancel != nil {
		sh.restore.cancel()
	}
	e.Core.DropShard(p)
	delete(e.shards, p)
	e.pressure.resumeCheckouts(p) // the partition may come back
}

// takeStored frees clicks that no shard of any instance needs, and drops dead letters that every
// shard has passed. It also counts the shards of others.
func (e *Engine) takeStored(states []sink.State) {
	e.stored.shards = states
	e.status.others = OthersStats{Unowned: max(len(e.Group.CheckoutsStart)-len(states), 0)}
	expire := event.NoTime // a shard that was never claimed needs every click
	if e.stored.allClaimed() {
		expire = event.Forever
	}
	for i := range states {
		st := &states[i]
		if e.shards[st.Claim.Partition] != nil {
			continue
		}
		expire = min(expire, st.Position.ExpireBefore)
		if st.Instance == "" {
			e.status.others.Unowned++
		} else {
			e.status.others.Owned++
		}
	}
	e.Core.Expire(expire)
	if e.stored.allClaimed() {
		next := make([]int64, len(e.Core.ClicksStates()))
		for p := range next {
			_, next[p] = e.stored.clicks(p)
			// Invariant: Postgres may lose a takeover that this instance does not know of yet.
			for _, sh := range e.shards {
				next[p] = min(next[p], at(sh.at.ClicksNext, p))
			}
		}
		e.Core.StoredByAll(e.stored.final(), next)
		e.letters.passed(next)
	}
	e.checkTargets()
}

func (e *Engine) takeTick(ctx context.Context) {
	e.setClock()
	if n := e.Core.AheadOfClock - e.warned.clicks; n > 0 && time.Since(e.warned.at) >= time.Minute {
		if skew := e.Group.MaxSkew.Seconds(); e.Core.TrustsClock() {
			e.Logger.Warn("clicks are dated ahead of this machine's clock: they decide nothing for others. "+
				"A producer's clock is wrong", "clicks", n, "max_future_skew_seconds", skew)
		} else {
			e.Logger.Warn("most clicks are dated ahead of this machine's clock: finality waits. "+
				"This machine's clock is wrong, or every producer's: look at NTP",
				"clicks", n, "max_future_skew_seconds", skew)
		}
		e.warned.clicks, e.warned.at = e.Core.AheadOfClock, time.Now()
	}
	e.Core.Tick(e.Clock.Now())
	e.pressure.pauseCheckouts(e.shards)

	// Needed are the clicks partitions that the oldest waiting checkout waits for; those that are
	// not read up to where the last owner of a shard was, which is what moves the window after a
	// takeover; and those not read up to the targets of a run until caught up.
	needed := e.Core.WaitedFor()
	need := func(upTo []int64) {
		for p, st := range e.Core.ClicksStates() {
			needed[p] = needed[p] || p < len(upTo) && st.Next < upTo[p]
		}
	}
	if e.UntilCaughtUp {
		need(e.targets.clicks)
	}
	for _, sh := range e.shards {
		need(sh.at.ClicksNext)
		if r := sh.restore; r != nil && r.ctx == nil && e.Core.ReadUpTo(sh.at.ClicksNext) {
			r.ctx, r.cancel = context.WithCancel(ctx)
			send(ctx, e.Restorer.requests, r)
		}
	}
	e.Core.ShortOfMemory(e.pressure.pauseClicks(e.Window.Stats().Bytes, e.Core.ClicksStates(), needed))
	e.publish()
}
