package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"firstclick/join"
	"firstclick/join/event"
	"firstclick/pipeline/sink"
)

const (
	maxRows    = 8_192 // rows of one shard in one transaction
	maxRecalls = 4_096 // re-asserted corrections of one shard that wait; past it the historian waits

	maxCorrections = 16_384 // that late clicks gave rise to, in one transaction: what is more goes into the next ones
	maxDead        = 4_096  // dead letters and late events of clicks that wait; past it the clicks reader waits

	positionsEvery = 10 * time.Second // positions are committed at least this often
	tick           = 50 * time.Millisecond
)

// loop owns the core and everything that is decided: one goroutine.
type loop struct {
	s    *session
	core *join.Core

	shards map[int32]*shard
	rows   spareRows
	idle   int               // committers without a job
	dead   []sink.DeadLetter // of clicks, for the next transaction
	under  []sink.DeadLetter // of clicks, in transactions under way: each holds all, for its positions pass them, and another may be lost
	kept   []sink.DeadLetter // of clicks, landed: until every shard is known to have passed them. See owe
	noted  int64             // bytes of payload in dead and under

	targets *targets
	stop    context.CancelFunc // begins the end in good order

	clicksPaused    map[int32]bool
	checkoutsPaused map[int32]bool
	checkouts       int      // partitions of the checkouts topic that the group has been told of
	counted         [3]int64 // see countCore

	ahead               int64     // clicks dated ahead of our clock that the log has told of
	aheadTold           time.Time // when it last did
	endsAt, committedAt time.Time
	checkoutEndsAt      time.Time           // endsAt is of the clicks
	clicksAtEnd         map[int32]time.Time // when a partition was last read up to its end
	others              OthersStats
}

// shard is an owned checkouts partition and the batch that grows for it.
type shard struct {
	*join.Shard
	claim   sink.Claim
	topicID [16]byte
	at      event.Position // as committed

	held      held
	batch     *sink.Batch
	inflight  *sink.Batch
	spare     *sink.Batch
	turn      time.Time // when it last went into a transaction
	committed time.Time

	time, recordTime int64     // of the last row committed
	atEnd            time.Time // when all up to the end asked for last was committed

	letting *revokedMsg // being let go
	recall  *recall     // nil: nothing to recall, or done
}

func newLoop(s *session, t *targets, stop context.CancelFunc) *loop {
	l := &loop{
		s: s, core: s.core, shards: map[int32]*shard{}, idle: committers,
		targets: t, stop: stop, clicksPaused: map[int32]bool{}, checkoutsPaused: map[int32]bool{}, clicksAtEnd: map[int32]time.Time{},
		checkouts: int(s.infos[s.cfg.CheckoutsTopic].partitions),
	}
	return l
}

// run decides until the group has been left and every shard is let go, or ctx ends.
func (l *loop) run(ctx context.Context, g *errgroup.Group) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	defer l.publish()
	for {
		clicks, permits, history := l.s.clicks, l.s.permits, l.s.history
		if l.full() {
			permits = nil
		}
		if l.notes() > maxDead && len(l.shards) > 0 || l.noted > l.maxHeld() || l.core.Crowded() && len(l.shards) == 0 {
			clicks = nil
		}
		if l.recallsWait() {
			history = nil
		}
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m := <-clicks:
			err = l.takeClicks(m)
		case <-permits:
			continue // nothing has changed
		case m := <-l.s.checkouts:
			l.takeCheckouts(m)
		case m := <-history:
			l.takeHistory(m)
		case m := <-l.s.control:
			err = l.takeControl(m)
		case <-ticker.C:
			l.takeTick(ctx, g)
		case <-l.s.gone:
			if len(l.shards) == 0 {
				return nil
			}
			return errors.New("left the group with shards in hand")
		}
		if err == nil {
			err = l.release()
		}
		if err != nil {
			return err
		}
		l.handOut()
	}
}

// takeClicks takes in a poll of clicks. One that was under way while a shard was taken over may hold a late click that nobody has noted: the
// next session reads it again.
func (l *loop) takeClicks(m *clicksMsg) error {
	l.tellClock()
	now := l.s.now()
	for _, r := range m.reads {
		late, missed := l.core.Clicks(r, now)
		for i := range late {
			l.shards[late[i].Shard].noteLate(&l.s.cfg, l.s.infos[l.s.cfg.ClicksTopic].id, &late[i].Candidate)
		}
		if missed {
			return &againError{cause: fmt.Errorf("clicks partition %d was read on while a shard was taken over that late clicks concern", r.Partition)}
		}
	}
	l.dead = append(l.dead, m.dead...)
	l.noted += payloads(m.dead)
	return nil
}

// tellClock tells the core our own time, against which events may be dated ahead.
func (l *loop) tellClock() { l.core.SetClock(wall().UnixMicro(), l.s.now()) }

// noteLate notes a click that came after rows of the shard that it could change were final.
func (sh *shard) noteLate(cfg *Config, topicID [16]byte, k *join.Candidate) {
	sh.batch.Late = append(sh.batch.Late, sink.Late{
		Topic: cfg.ClicksTopic, TopicID: topicID, Partition: k.Partition, Offset: k.Offset,
		Kind: sink.LateClick, EventID: k.ID.String(), User: k.User, Product: k.Product, Time: k.Time,
	})
}

// notes is how many dead letters and late events wait.
func (l *loop) notes() int {
	n := len(l.dead) + len(l.under)
	for _, sh := range l.shards {
		n += len(sh.batch.Late)
	}
	return n
}

func (l *loop) takeCheckouts(m *checkoutsMsg) {
	for i := range m.parts {
		if sh := l.shards[m.parts[i].partition]; sh != nil {
			sh.held.add(m.parts[i].chunk, sh.Fetched(m.parts[i].chunk.records), &l.s.chunks)
		}
	}
	l.holdCheckouts()
}

func (l *loop) takeControl(m any) error {
	switch m := m.(type) {
	case *endsMsg:
		l.takeEnds(m)
	case *checkoutEndsMsg:
		l.takeCheckoutEnds(m)
	case *assignedMsg:
		err := l.assign(m)
		m.done <- err
		return err
	case *revokedMsg:
		l.revoke(m)
	case *jobDone:
		return l.takeDone(m)
	case *shardsMsg:
		l.takeShards(m)
	case *freezeMsg:
		<-m.ends
	default:
		return fmt.Errorf("a message of type %T", m)
	}
	return nil
}

func (l *loop) takeEnds(m *endsMsg) {
	added := l.core.ClicksEnds(m.gen, m.clicks, m.stable, m.asked)
	for _, p := range added {
		l.s.addClicksPartition(p)
	}
	if m.checkouts > l.checkouts && len(l.shards) > 0 {
		l.checkouts = m.checkouts
		l.s.checkoutsClient.ForceMetadataRefresh() // else the group learns of a new partition when its metadata have grown old
	}
	l.s.asks.stable.Store(l.core.Stalled(l.s.now(), (2 * time.Second).Microseconds()))
	if l.core.NeedsEnds() {
		l.s.asks.poke()
	}
	first := l.endsAt.IsZero()
	l.endsAt = time.Now()
	if first {
		l.publish() // whoever waits for us to be ready need not wait for the next tick
	}
}

func (l *loop) takeCheckoutEnds(m *checkoutEndsMsg) {
	l.core.CheckoutsEnds(m.ends, m.asked)
	first := l.checkoutEndsAt.IsZero()
	l.checkoutEndsAt = time.Now()
	if first {
		l.publish()
	}
}

// assign takes shards in hand. A shard that needs clicks that were not kept (see [join.Core.Covers]) ends the session: the next one reads
// them again.
func (l *loop) assign(m *assignedMsg) error {
	if m.err != nil {
		return m.err
	}
	for i := range m.shards {
		st := &m.shards[i]
		at := st.Position
		if !l.core.CanTakeOver(at) {
			return &againError{cause: fmt.Errorf("checkouts partition %d needs clicks that this instance did not keep", st.Claim.Partition)}
		}
		l.core.RestoreWatermark(l.targets.watermark())
		restoring := at.RecentOffset < at.NextOffset
		l.drop(st.Claim.Partition) // the group may tell again what it told already
		sh := &shard{claim: st.Claim, topicID: st.TopicID, at: st.Position, batch: &sink.Batch{}, committed: time.Now(), time: event.NoTime, recordTime: event.NoTime}
		l.shards[st.Claim.Partition] = sh
		l.owe(st)
		var late []join.Candidate
		sh.Shard, late = l.core.AddShard(st.Claim.Partition, at, restoring)
		for i := range late {
			sh.noteLate(&l.s.cfg, l.s.infos[l.s.cfg.ClicksTopic].id, &late[i])
		}
		if restoring {
			sh.recall = &recall{sh: sh, from: at.RecentOffset, to: at.NextOffset}
		}
		l.s.log.Info("shard taken over", "topic", l.s.cfg.CheckoutsTopic, "partition", st.Claim.Partition, "offset", at.NextOffset, "recent_offset", at.RecentOffset)
	}
	l.committedAt = time.Now() // a takeover is a transaction: where there is nothing to write, none follows for 10 s
	l.publish()
	l.s.asks.poke()
	return nil
}

// owe takes dead letters that have landed for such that have not, where a shard comes that has not passed their clicks (invariant: a shard's
// transaction that passes a click holds its letter, unless Postgres is known to have it). They may have been in a transaction that Postgres has lost.
func (l *loop) owe(st *sink.State) {
	l.kept = slices.DeleteFunc(l.kept, func(d sink.DeadLetter) bool {
		owed := d.Offset >= at(st.Position.ClicksNext, int(d.Partition))
		if owed {
			d.Again = true
			l.dead = append(l.dead, d)
		}
		return owed
	})
	l.weighNotes()
}

// revoke lets shards go: at once when they were lost, else when what was released of them is written.
func (l *loop) revoke(m *revokedMsg) {
	if m.lost {
		l.s.p.ingest.lost.Inc()
	} else {
		l.s.p.ingest.revoked.Inc()
	}
	left := m.partitions[:0]
	for _, p := range m.partitions {
		sh := l.shards[p]
		switch {
		case sh == nil:
		case m.lost:
			l.drop(p)
			l.s.log.Warn("shard lost: what was not committed is forgotten", "topic", l.s.cfg.CheckoutsTopic, "partition", p, "offset", sh.at.NextOffset)
		default:
			sh.letting = m
			left = append(left, p)
		}
	}
	m.partitions = left
	if len(left) == 0 {
		close(m.done)
	}
}

func (l *loop) drop(p int32) {
	if sh := l.shards[p]; sh != nil {
		sh.recall.end()
	}
	l.core.DropShard(p)
	delete(l.shards, p)
	if l.checkoutsPaused[p] { // it may come back
		l.s.checkoutsClient.ResumeFetchPartitions(map[string][]int32{l.s.cfg.CheckoutsTopic: {p}})
		delete(l.checkoutsPaused, p)
	}
}

// let ends a shard's time here: its row in Postgres is let go.
func (l *loop) let(sh *shard) {
	m := sh.letting
	l.drop(sh.Partition)
	l.s.log.Info("shard let go", "topic", l.s.cfg.CheckoutsTopic, "partition", sh.Partition, "offset", sh.at.NextOffset)
	left := m.partitions[:0]
	for _, p := range m.partitions {
		if p != sh.Partition {
			left = append(left, p)
		}
	}
	m.partitions = left
	if len(left) == 0 {
		close(m.done)
	}
}
