package pipeline

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"firstclick/internal/kafkabatch"
	"firstclick/join/decode"
)

// recall reads again the checkouts [from, to) that an earlier owner of a shard released and left not final, in the background:
// new rows do not wait for it.
type recall struct {
	sh       *shard
	from, to int64
	cancel   context.CancelFunc // nil: not begun
}

func (r *recall) end() {
	if r != nil && r.cancel != nil {
		r.cancel()
	}
}

type historyMsg struct {
	sh   *shard
	read []*chunk // lent until the loop has taken it
	done bool
}

// startRecalls begins to read what was left, for each shard whose clicks have been read up to where its last owner was.
func (l *loop) startRecalls(ctx context.Context, g *errgroup.Group) {
	for _, sh := range l.shards {
		r := sh.recall
		if r == nil || r.cancel != nil || !l.core.ReadUpTo(sh.at.ClicksNext) {
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		r.cancel = cancel
		g.Go(func() error {
			defer cancel()
			err := l.s.readHistory(ctx, r)
			if ctx.Err() != nil {
				return nil
			}
			return err
		})
	}
}

func (l *loop) recallsWait() bool {
	for _, sh := range l.shards {
		if sh.recall != nil && len(sh.Corrections) > maxRecalls {
			return true
		}
	}
	return false
}

func (l *loop) takeHistory(m *historyMsg) {
	if l.shards[m.sh.Partition] != m.sh {
		return
	}
	before := len(m.sh.Corrections)
	l.tellClock()
	for _, read := range m.read {
		for _, k := range l.core.Restore(m.sh.Shard, read.records) {
			m.sh.batch.Late = append(m.sh.batch.Late, l.s.lateCheckout(m.sh, k))
		}
		l.s.chunks.give(read)
	}
	if !reasserts() {
		m.sh.Corrections = m.sh.Corrections[:before]
	}
	if m.done {
		l.core.RestoreDone(m.sh.Shard)
		m.sh.recall = nil
		n, _ := m.sh.Open()
		l.s.log.Info("recent checkouts recalled", "topic", l.s.cfg.CheckoutsTopic, "partition", m.sh.Partition, "checkouts", n)
	}
}

// readHistory reads with a client of its own. What retention deleted meanwhile of it is not missed: the rows stand.
func (s *session) readHistory(ctx context.Context, r *recall) error {
	topic, p := s.cfg.CheckoutsTopic, r.sh.Partition
	rejected, err := s.p.sink.Rejected(ctx, &r.sh.claim, r.sh.topicID, r.from, r.to)
	if err != nil {
		return fmt.Errorf("read which checkouts of partition %d were refused: %w", p, err)
	}
	start, err := s.retryStart(ctx, p)
	if err != nil {
		return err
	}
	from := max(r.from, start)
	cl, err := s.newReader("recall", kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {p: kgo.NewOffset().At(from)}}))
	if err != nil {
		return err
	}
	defer cl.Close()
	reader := &checkoutsReader{chunks: &s.chunks, hasher: s.hasher, skew: s.cfg.MaxSkew, topicID: r.sh.topicID, decoder: decode.New(s.cfg.Zone)}
	for from < r.to {
		fetches := s.poll(ctx, cl, maxRecalls/2)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		fetches, err := s.settled(ctx, cl, fetches, func(string, int32) int64 { return from })
		if err != nil {
			return err
		}
		m := &historyMsg{sh: r.sh}
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			if len(f.Records) == 0 {
				return
			}
			from = kafkabatch.Next(f.Records[len(f.Records)-1])
			reader.read(p, f.Records, 0)
			read := reader.out.chunk
			for i := range read.records {
				k := &read.records[i]
				k.Skip = k.Skip || rejected[k.Offset]
			}
			m.read = append(m.read, read)
		})
		if err := s.tellHistory(ctx, m); err != nil {
			return err
		}
	}
	return s.tellHistory(ctx, &historyMsg{sh: r.sh, done: true})
}

func (s *session) tellHistory(ctx context.Context, m *historyMsg) error {
	select {
	case s.history <- m:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retryStart asks where a checkouts partition begins until Kafka answers.
func (s *session) retryStart(ctx context.Context, p int32) (int64, error) {
	for {
		starts, err := askOffsets(ctx, s.clicksClient, map[string]int32{s.cfg.CheckoutsTopic: p + 1}, atStart, false)
		if start := starts[s.cfg.CheckoutsTopic][p]; start != unknownOffset {
			return start, nil
		}
		s.log.Debug("can't learn where a checkouts partition begins", "topic", s.cfg.CheckoutsTopic, "partition", p, "cause", err)
		if err := pause(ctx, idleAsk); err != nil {
			return 0, err
		}
	}
}
