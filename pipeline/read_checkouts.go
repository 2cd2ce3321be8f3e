package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkabatch"
	"firstclick/internal/kafkagroup"
	"firstclick/join/decode"
	"firstclick/join/event"
	"firstclick/pipeline/sink"
)

// checkoutsMsg is what one poll brought of each partition, in offset order.
type checkoutsMsg struct {
	parts []checkoutsPart
}

type checkoutsPart struct {
	partition int32
	chunk     *chunk
}

// assignedMsg, revokedMsg and lostMsg tell the loop what the group decided. done is closed when the loop has dealt with it.
type assignedMsg struct {
	shards []sink.State
	err    error // a takeover that can't succeed: it ends the run
	done   chan error
}

type revokedMsg struct {
	partitions []int32
	lost       bool
	done       chan struct{}
}

// readCheckouts is a member of the group until ctx ends, then leaves it in good order: the revocation that comes with it lets the
// loop finish every shard. alive ends it at once.
func (s *session) readCheckouts(ctx, alive context.Context) error {
	cl := s.checkoutsClient
	readers := map[int32]*checkoutsReader{}
	for s.mayFetch(ctx, alive) {
		fetches := s.poll(ctx, cl, 0)
		if ctx.Err() == nil && !fetches.IsClientClosed() {
			fetches, err := s.settled(alive, cl, fetches, s.p.reading.next)
			if err != nil {
				cl.AllowRebalance()
				return err
			}
			s.takeCheckouts(ctx, alive, fetches, readers)
		}
		cl.AllowRebalance()
	}
	if alive.Err() != nil {
		return nil // at once: what was not committed does not count
	}
	leave, cancel := context.WithTimeout(alive, stopWithin)
	defer cancel()
	switch err := cl.LeaveGroupContext(leave); {
	case alive.Err() != nil:
	case leave.Err() != nil && len(s.p.Stats().Shards) > 0:
		return fmt.Errorf("told to stop, and what was under way did not end within %v: does Postgres wait for a synchronous standby, or for a lock? A transaction that lands later counts all the same", stopWithin)
	case err != nil:
		s.log.Warn("the group was not left in good order; its session timeout will end the membership", "cause", err)
	}
	close(s.gone) // not where reading failed: the loop would be the first to say that something is wrong, and not what
	return nil
}

// takeCheckouts hands over what a poll brought, each piece when the loop has room for it.
func (s *session) takeCheckouts(ctx, alive context.Context, fetches kgo.Fetches, readers map[int32]*checkoutsReader) {
	need, first := s.asks.need(), true // after the fetch: promise 2
	for piece := range pieces(fetches, checkoutsAtOnce) {
		if !first && !s.mayFetch(ctx, alive) {
			return
		}
		first = false
		m := s.decodeCheckouts(piece, readers, need)
		if len(m.parts) == 0 {
			continue
		}
		s.asks.poke()
		select {
		case s.checkouts <- m:
		case <-alive.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// stopWithin is how long transactions under way and the group may take to end in good order. What is closed after that takes a few seconds more:
// 30 s in all is what supervisors wait.
const stopWithin = 20 * time.Second

// mayFetch waits until the loop has room for another read; false: the reading ends. While it waits nothing is polled: what the client has
// fetched stays with it, and the group may rebalance. Pausing the partitions instead would throw away what was fetched of them, and resuming
// them would wait for the fetch that was begun without them.
func (s *session) mayFetch(ctx, alive context.Context) bool {
	select {
	case s.permits <- struct{}{}:
		return ctx.Err() == nil
	case <-ctx.Done():
	case <-alive.Done():
	}
	return false
}

// joinGroup makes the client of the group. Its offsets come from Postgres: see takeOver.
func (s *session) joinGroup(alive context.Context) (*kgo.Client, error) {
	balancer, err := kafkagroup.Balancer(s.member(alive))
	if err != nil {
		return nil, err
	}
	tell := func(partitions map[string][]int32, lost bool) {
		m := &revokedMsg{partitions: partitions[s.cfg.CheckoutsTopic], lost: lost, done: make(chan struct{})}
		if len(m.partitions) == 0 {
			return
		}
		select {
		case s.control <- m:
		case <-alive.Done():
			return
		}
		select {
		case <-m.done:
		case <-alive.Done():
		}
	}
	opts := []kgo.Opt{
		kgo.ConsumerGroup(s.cfg.Group), kgo.ConsumeTopics(s.cfg.CheckoutsTopic),
		kgo.SessionTimeout(s.timeout(alive)), kgo.HeartbeatInterval(time.Second), kgo.RebalanceTimeout(30 * time.Second),
		kgo.Balancers(balancer), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(s.joined), // also so that polls wait for it
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { tell(p, false) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { tell(p, true) }),
		kgo.AdjustFetchOffsetsFn(s.takeOver(alive)),
	}
	if s.cfg.Static != "" {
		opts = append(opts, kgo.InstanceID(s.cfg.Static))
	}
	return s.newReader("checkouts", opts...)
}

// takeOver claims the assigned partitions in Postgres and puts the offsets that stand there in place of Kafka's.
func (s *session) takeOver(alive context.Context) func(context.Context, map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	return func(ctx context.Context, topics map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
		m := &assignedMsg{done: make(chan error, 1)}
		for p := range topics[s.cfg.CheckoutsTopic] {
			st, err := s.claim(ctx, p)
			if err != nil && ctx.Err() == nil { // what passes was tried again by the sink: this does not
				m.shards, m.err = nil, fmt.Errorf("take over checkouts partition %d: %w", p, err)
				break
			}
			if err != nil {
				return nil, err
			}
			topics[s.cfg.CheckoutsTopic][p] = place(st.Position.NextOffset, st.Position.LeaderEpoch)
			s.p.reading.begin(s.cfg.CheckoutsTopic, p, st.Position.NextOffset)
			m.shards = append(m.shards, st)
		}
		if len(m.shards) == 0 && m.err == nil {
			return topics, nil
		}
		select {
		case s.control <- m:
		case <-alive.Done():
			return nil, alive.Err()
		}
		select {
		case err := <-m.done:
			return topics, err
		case <-alive.Done():
			return nil, alive.Err()
		}
	}
}

func (s *session) claim(ctx context.Context, p int32) (sink.State, error) {
	fresh, err := s.freshShard(ctx, p)
	if err != nil {
		return sink.State{}, err
	}
	st, err := s.p.sink.Claim(ctx, s.cfg.Group, s.cfg.CheckoutsTopic, p, fresh)
	if err == nil && max(st.Position.Watermark, st.Position.FinalBefore) > wall().Add(s.cfg.MaxSkew).UnixMicro() {
		if healed, err := s.heal(ctx); healed || err != nil { // an instance of a version that believes every time had it until now
			return st, &againError{cause: errors.Join(fmt.Errorf("the times of checkouts partition %d lie ahead of every clock", p), err)}
		}
	}
	return st, err
}

// freshShard is where a shard begins that is not stored yet: where the group began; a partition that was added later begins at 0, and
// with the clicks that its siblings still need.
func (s *session) freshShard(ctx context.Context, p int32) (sink.State, error) {
	pos := event.Position{
		LeaderEpoch: -1, Watermark: event.NoTime, FinalBefore: event.NoTime, ExpireBefore: event.NoTime,
		ClicksNext: s.progress.ClicksStart, ClicksRestore: s.progress.ClicksStart,
	}
	for range s.progress.ClicksStart {
		pos.ClicksLatest = append(pos.ClicksLatest, event.NoTime)
	}
	pos.NextOffset = at(s.progress.CheckoutsStart, int(p))
	pos.RecentOffset = pos.NextOffset
	if int(p) >= len(s.progress.CheckoutsStart) {
		shards, err := s.p.sink.Shards(ctx, s.cfg.Group, s.cfg.CheckoutsTopic)
		if err != nil {
			return sink.State{}, err
		}
		for i := range shards {
			o := &shards[i].Position
			if i == 0 || o.ExpireBefore < pos.ExpireBefore {
				pos.ClicksNext, pos.ClicksRestore, pos.ClicksLatest = o.ClicksNext, o.ClicksRestore, o.ClicksLatest
				pos.Watermark, pos.FinalBefore, pos.ExpireBefore = o.Watermark, o.FinalBefore, o.ExpireBefore
			}
		}
	}
	return sink.State{TopicID: s.infos[s.cfg.CheckoutsTopic].id, Position: pos}, nil
}

func (s *session) decodeCheckouts(fetches kgo.Fetches, readers map[int32]*checkoutsReader, need uint64) *checkoutsMsg {
	used := readPoll(fetches, readers, func(int32) *checkoutsReader {
		return &checkoutsReader{metrics: s.p.ingest, payloads: s.p.sink.Payloads(), chunks: &s.chunks, hasher: s.hasher, skew: s.cfg.MaxSkew, topicID: s.infos[s.cfg.CheckoutsTopic].id, decoder: decode.New(s.cfg.Zone)}
	}, func(r *checkoutsReader, f kgo.FetchTopicPartition) { r.read(f.Partition, f.Records, need) })
	m := &checkoutsMsg{}
	for _, r := range used {
		n, size := len(r.out.chunk.records), r.out.chunk.bytes
		s.p.ingest.polled(s.cfg.CheckoutsTopic, r.out.partition, int64(n), size, r.last)
		s.p.reading.moved(s.cfg.CheckoutsTopic, r.out.partition, r.out.chunk.records[n-1].Offset+1, r.last)
		m.parts = append(m.parts, r.out)
	}
	return m
}

// checkoutsReader decodes one partition.
type checkoutsReader struct {
	metrics  *ingestMetrics // nil: read again, counted before
	payloads *sink.Payloads // likewise
	chunks   *chunks
	hasher   event.Hasher
	skew     time.Duration
	topicID  [16]byte
	decoder  *decode.Decoder
	out      checkoutsPart
	last     int64 // timestamp of the last record
}

// read decodes the records into a chunk.
func (r *checkoutsReader) read(partition int32, records []*kgo.Record, barrier uint64) {
	size := 0
	for _, rec := range records {
		if len(rec.Value) <= event.MaxRecord { // of a larger one nothing is kept
			size += len(rec.Value)
		}
	}
	r.last = recordTime(records[len(records)-1])
	k := r.chunks.take(len(records), size)
	r.out = checkoutsPart{partition: partition, chunk: k}
	for i, rec := range records {
		p := &k.records[i]
		p.Offset, p.Epoch, p.Barrier = kafkabatch.Next(rec)-1, rec.LeaderEpoch, barrier
		if bad := kafkabatch.Of(rec); bad != nil {
			p.Skip = true
			if !bad.Aborted {
				r.bury(p, unreadable(rec, bad, r.topicID))
			}
		} else if rec.Attrs.IsControl() {
			p.Skip = true
		} else {
			k.slab = r.decode(rec, p, k.slab)
		}
		rec.Recycle()
	}
	r.decoder.LetGo()
}

// bury has a dead letter released in the record's turn.
func (r *checkoutsReader) bury(p *event.Checkout, d event.DeadLetter) {
	p.Skip, p.Dead = true, &d
	r.metrics.undecoded(d.Topic, d.Reason)
}

// decode returns slab with what the checkout keeps appended.
func (r *checkoutsReader) decode(rec *kgo.Record, p *event.Checkout, slab []byte) []byte {
	kept, err := r.decoder.Checkout(rec.Value, p, slab)
	if err == nil {
		err = checkFuture(p.Time, rec, r.skew)
	}
	if err != nil {
		r.bury(p, deadLetter(rec, r.topicID, err, r.payloads))
		return slab
	}
	p.RecordTime, p.Key = recordTime(rec), r.hasher.Key(p.User, p.Product())
	return kept
}
