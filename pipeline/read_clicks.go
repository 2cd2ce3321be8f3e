package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkabatch"
	"firstclick/join"
	"firstclick/join/decode"
	"firstclick/join/event"
	"firstclick/join/window"
	"firstclick/pipeline/sink"
)

// clicksMsg is what one poll brought. The clicks themselves are in the window already.
type clicksMsg struct {
	reads []*join.ClicksRead
	dead  []sink.DeadLetter
}

// readClicks reads the clicks partitions of one client until ctx ends.
func (s *session) readClicks(ctx context.Context, cl *kgo.Client) error {
	readers := map[int32]*clicksReader{}
	for {
		fetches := s.poll(ctx, cl, 0)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return nil
		}
		fetches, err := s.settled(ctx, cl, fetches, s.p.reading.next)
		if err != nil {
			return err
		}
		for piece := range pieces(fetches, clicksAtOnce) {
			m := s.insertClicks(piece, readers)
			if len(m.reads) == 0 {
				continue
			}
			select {
			case s.clicks <- m:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// insertClicks decodes and inserts the partitions of a poll.
func (s *session) insertClicks(fetches kgo.Fetches, readers map[int32]*clicksReader) *clicksMsg {
	used := readPoll(fetches, readers, func(p int32) *clicksReader {
		return &clicksReader{s: s, partition: p, decoder: decode.New(s.cfg.Zone), batch: s.window.NewBatch()}
	}, func(r *clicksReader, f kgo.FetchTopicPartition) { r.read(f.Records) })
	m := &clicksMsg{}
	for _, r := range used {
		s.p.ingest.polled(s.cfg.ClicksTopic, r.partition, r.records, r.bytes, r.last)
		s.p.reading.moved(s.cfg.ClicksTopic, r.partition, r.out.Next, r.last)
		m.reads = append(m.reads, r.out)
		m.dead = append(m.dead, r.dead...)
	}
	return m
}

// clicksReader decodes one partition.
type clicksReader struct {
	s         *session
	partition int32
	decoder   *decode.Decoder
	out       *join.ClicksRead
	dead      []sink.DeadLetter
	records   int64
	bytes     int64
	last      int64 // timestamp of the last record
	batch     *window.Batch
	batched   []arrival // what is in the batch
	products  []byte    // theirs
}

// arrival is a click that goes into the window with its batch.
type arrival struct {
	join.Candidate
	product int // its length; Candidate.Product is made of those that are candidates
}

func (r *clicksReader) read(records []*kgo.Record) {
	r.out, r.dead, r.records, r.bytes = &join.ClicksRead{}, nil, 0, 0
	r.out.Reset(r.partition)
	r.out.SetLimits(r.s.core.LimitsAt(wall().UnixMicro(), r.s.now()))
	r.last = recordTime(records[len(records)-1])
	var c decode.Click
	for _, rec := range records {
		r.out.Next, r.out.Epoch = kafkabatch.Next(rec), rec.LeaderEpoch
		if bad := kafkabatch.Of(rec); bad != nil {
			r.buryBatch(rec, bad)
		} else if !rec.Attrs.IsControl() {
			r.records++
			r.bytes += int64(len(rec.Value))
			r.take(rec, &c)
		}
		rec.Recycle()
	}
	r.decoder.LetGo()
	r.insert()
}

// take decodes a click into the batch.
func (r *clicksReader) take(rec *kgo.Record, c *decode.Click) {
	err := r.decoder.Click(rec.Value, c)
	if err == nil {
		err = checkFuture(c.Time, rec, r.s.cfg.MaxSkew)
	}
	if err == nil {
		err = r.s.p.sink.Click(c.ID)
	}
	if err != nil {
		r.bury(rec, err)
		return
	}
	if r.batch.Full() {
		r.insert()
	}
	key := r.s.hasher.Key(c.User, c.Product)
	r.batch.Add(key, c.Time, c.ID)
	r.out.Add(c.Time, rec.Offset)
	r.batched = append(r.batched, arrival{join.Candidate{Key: key, Time: c.Time, ID: c.ID, Offset: rec.Offset, User: c.User}, len(c.Product)})
	r.products = append(r.products, c.Product...)
}

// insert inserts the batch, and hands in those of its clicks that may change what was released or come too late.
func (r *clicksReader) insert() {
	r.batch.Flush()
	// After the insertion: see join.Core.Frontier.
	frontier, late := r.s.core.Frontier(), r.s.core.LateBefore()
	products := r.products
	for n := range r.batched {
		c := &r.batched[n]
		product := products[:c.product]
		products = products[c.product:]
		if r.out.IsCandidate(c.Time, frontier, late, r.fresh(c.Offset)) {
			c.Product = string(product)
			r.out.Candidates = append(r.out.Candidates, c.Candidate)
		}
	}
	clear(r.batched)
	r.batched, r.products = r.batched[:0], r.products[:0]
}

// fresh says whether some shard may not have stored the effect of the click at this offset before the restart.
func (r *clicksReader) fresh(offset int64) bool {
	return int(r.partition) >= len(r.s.freshFrom) || offset >= r.s.freshFrom[r.partition]
}

func (r *clicksReader) bury(rec *kgo.Record, err error) {
	if !r.fresh(rec.Offset) {
		return // stored before the restart
	}
	d := deadLetter(rec, r.s.infos[rec.Topic].id, err, r.s.p.sink.Payloads())
	r.dead = append(r.dead, d)
	r.s.p.ingest.undecoded(d.Topic, d.Reason)
}

func (r *clicksReader) buryBatch(rec *kgo.Record, bad *kafkabatch.Bad) {
	if bad.Aborted || !r.fresh(rec.Offset) {
		return
	}
	d := unreadable(rec, bad, r.s.infos[rec.Topic].id)
	r.dead = append(r.dead, d)
	r.s.p.ingest.undecoded(d.Topic, d.Reason)
}

// deadLetter keeps its own copy of the payload, if any: the record's shares memory with the whole fetch.
func deadLetter(rec *kgo.Record, topicID [16]byte, err error, payloads *sink.Payloads) sink.DeadLetter {
	d := sink.DeadLetter{
		Topic: rec.Topic, TopicID: topicID, Partition: rec.Partition, Offset: rec.Offset,
		RecordTime: recordTime(rec), Reason: event.ReasonShape, Detail: err.Error(),
	}
	var bad *event.DecodeError
	if errors.As(err, &bad) {
		d.Reason, d.Detail = bad.Reason, bad.Detail
	}
	payloads.Keep(&d, rec.Value)
	return d
}

func recordTime(rec *kgo.Record) int64 {
	if ms := rec.Timestamp.UnixMilli(); ms >= 0 {
		return ms * 1000
	}
	return event.NoTime // -1: the producer gave none
}

// checkFuture turns away an event dated more than skew ahead of its record.
func checkFuture(t int64, rec *kgo.Record, skew time.Duration) error {
	at := recordTime(rec)
	if at == event.NoTime || t <= at+skew.Microseconds() {
		return nil
	}
	detail := howFarAhead(t-at) + " ahead of its record's time"
	if at < nonsense.UnixMicro() {
		detail = fmt.Sprintf("%s, and that is nonsense: %d milliseconds since 1970, which is %s", detail, at/1000, time.UnixMicro(at).UTC().Format(time.RFC3339))
		if s := time.Unix(at/1000, 0).UTC(); !s.Before(nonsense) {
			detail += fmt.Sprintf(" (as seconds it would be %s: the producer stamps seconds where Kafka takes milliseconds)", s.Format(time.RFC3339))
		}
	}
	return &event.DecodeError{Reason: event.ReasonFuture, Detail: detail}
}

// nonsense is before which no record of anybody's was written: Kafka is younger.
var nonsense = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// howFarAhead is a span of microseconds in words: of the year 9999, more than a time.Duration holds.
func howFarAhead(micros int64) string {
	const day = int64(24 * time.Hour / time.Microsecond)
	if micros >= 2*day {
		return fmt.Sprintf("%d days", micros/day)
	}
	return (time.Duration(micros) * time.Microsecond).String()
}

// settled are the fetches of a poll that is worth going on with: what is wrong with them is told, or returned.
func (s *session) settled(ctx context.Context, cl *kgo.Client, fetches kgo.Fetches, next func(topic string, p int32) int64) (kgo.Fetches, error) {
	if err := s.fetchErrors(ctx, fetches); err != nil {
		return nil, err
	}
	return s.passUnreadable(ctx, cl, fetches, next)
}

// fetchErrors turns a poll's errors into a gap, a fatal error, or nothing where the client goes on by itself.
func (s *session) fetchErrors(ctx context.Context, fetches kgo.Fetches) error {
	var found error
	fetches.EachError(func(topic string, partition int32, err error) {
		var lost *kgo.ErrDataLoss
		var group *kgo.ErrGroupSession
		switch {
		case found != nil:
		case errors.As(err, &lost):
			found = &GapError{topic, partition, fmt.Sprintf("the log was truncated: reading stood at offset %d, the log goes on at %d", lost.ConsumedTo, lost.ResetTo), s.cureForGap()}
		case errors.Is(err, kerr.OffsetOutOfRange):
			found = s.outOfRange(ctx, topic, partition)
		case errors.As(err, &group) && !errors.Is(err, kerr.GroupAuthorizationFailed):
			found = s.groupError(err)
		case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, kgo.ErrClientClosed):
		case errors.Is(err, kafkabatch.ErrFull), kafkabatch.Undecodable(err): // fetched again; passed over
		case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.GroupAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
			found = fmt.Errorf("read %s[%d]: %w: grant Read and Describe on both topics and Read on group %q", topic, partition, err, s.cfg.Group)
		default:
			if s.disturbed.news(Place{topic, partition}, err.Error(), time.Now()) {
				s.log.Warn("reading is disturbed", "topic", topic, "partition", partition, "offset", s.p.reading.next(topic, partition), "cause", err)
			}
		}
	})
	return found
}

// outOfRange is what it means that a partition does not hold the offset to be read next. Clicks that are read again may go: the next session
// finds out who needs them.
func (s *session) outOfRange(ctx context.Context, topic string, partition int32) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	next := s.p.reading.next(topic, partition)
	starts, err := askOffsets(ctx, s.clicksClient, map[string]int32{topic: partition + 1}, atStart, false)
	switch start := starts[topic][partition]; {
	case start == unknownOffset: // invariant: only what is known to be gone is a gap
		return &againError{cause: err}
	case next < 0 || next >= start:
		return &GapError{topic, partition, "the offset to be read next is not there: retention deleted it, or the log was truncated", s.cureForGap()}
	case topic == s.cfg.ClicksTopic && int(partition) < len(s.freshFrom) && next < s.freshFrom[partition]: // invariant: a gap is of what was never read
		return &againError{cause: fmt.Errorf("retention deleted clicks of partition %d while they were read again", partition)}
	}
	return &GapError{topic, partition, neverRead(next, starts[topic][partition]), s.cureForGap()}
}

// neverRead says that the records from an offset up to the log's start are missing.
func neverRead(next, start int64) string {
	return fmt.Sprintf("offsets %d to %d were never read and are gone: retention deleted them, or the topic was truncated", next, start-1)
}

func isGap(err error) bool {
	var gap *GapError
	return errors.As(err, &gap)
}
