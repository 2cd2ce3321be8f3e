package deadletters

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkaconn"
)

const (
	maxPayload = 1 << 20          // larger values become dead letters whatever they hold
	atATime    = 900 << 10        // bytes sent together: with what Kafka adds, less than a broker's message.max.bytes by default
	rowsAtOnce = 1000             // letters looked up together, without their payloads
	delivery   = 30 * time.Second // how long Kafka may take to acknowledge a record
)

// Retry says what to send again.
type Retry struct {
	Kafka  kafkaconn.Config
	Filter Filter

	// Edited is sent in place of the payload; the filter must mean one letter. nil: the payload as it was.
	Edited []byte
}

// Retries says what has been sent.
type Retries struct {
	Sent    int64   `json:"sent"`               // acknowledged by Kafka and marked
	NotKept []int64 `json:"not_kept,omitempty"` // ids whose payload was not kept, and is over 1 MiB or no longer in Kafka: nothing was sent
	Unsure  int64   `json:"unsure,omitempty"`   // acknowledged, but not marked as it could not be written: they stay open
}

// NotKeptError says that a payload is not there to be sent again.
type NotKeptError struct {
	ID, Size int64
}

func (e *NotKeptError) Error() string {
	if e.Size <= maxPayload {
		return fmt.Sprintf("the payload of dead letter %d was not kept, for too many records were bad in that hour: "+
			"firstclick dead-letters retry %d reads it from Kafka while Kafka has it, and with --edit FILE sends another", e.ID, e.ID)
	}
	return fmt.Sprintf("the payload of dead letter %d was not kept: it had %d bytes, more than the 1 MiB that is; "+
		"firstclick dead-letters retry %d --edit FILE sends another", e.ID, e.Size, e.ID)
}

// pending is a letter that waits for being sent.
type pending struct {
	id, size  int64
	topic     string
	partition int32
	offset    int64
	sum       []byte
	kept      bool
	null      bool
}

// again says that the payload was not kept, and may be read again from where it came from.
func (p *pending) again() bool { return !p.kept && p.size <= maxPayload }

// Retry sends letters again and marks them, in order of id. A payload that was not kept is read again from Kafka. A letter by its id whose payload is
// not there is a *NotKeptError, one over 1 MiB before anything is sent; one among many by a filter is left open and counted. When it ends with an error, what Retries says is done.
func (s *Store) Retry(ctx context.Context, r Retry) (done Retries, err error) {
	if err := s.known(ctx, r.Filter); err != nil {
		return done, err
	}
	last, err := s.last(ctx, r)
	if err != nil || last == 0 {
		return done, err
	}
	producer, err := newProducer(r.Kafka)
	if err != nil {
		return done, err
	}
	defer producer.Close()
	from := &source{kafka: r.Kafka}
	defer from.close()
	for after := int64(0); ; {
		page, err := s.page(ctx, r.Filter, after, last)
		switch {
		case err != nil:
			return done, err
		case len(page) == 0 && len(r.Filter.IDs) > 0 && len(done.NotKept) > 0:
			return done, &NotKeptError{ID: done.NotKept[0]}
		case len(page) == 0:
			return done, nil
		}
		after = page[len(page)-1].id
		for len(page) > 0 {
			var together []pending
			if together, page = take(page, r.Edited != nil, &done); len(together) == 0 {
				continue
			}
			if err := s.send(ctx, producer, from, together, r, &done); err != nil {
				return done, err
			}
		}
	}
}

// last is the greatest id that the filter means now, 0 where it means none. It refuses what cannot be meant.
func (s *Store) last(ctx context.Context, r Retry) (int64, error) {
	where, args := r.Filter.where()
	var n, last int64
	var lost *int64 // the least id whose payload was too large to be kept
	var lostSize *int64
	err := s.conn.QueryRow(ctx, fmt.Sprintf(`SELECT count(*), coalesce(max(id), 0), min(id) FILTER (WHERE payload IS NULL AND payload_size > %d),
		max(payload_size) FILTER (WHERE payload IS NULL) FROM firstclick.dead_letters WHERE `, maxPayload)+where, args...).Scan(&n, &last, &lost, &lostSize)
	switch {
	case err != nil:
		return 0, explain("look for dead letters", err)
	case r.Edited == nil && lost != nil && (len(r.Filter.IDs) > 0 || n == 1):
		return 0, &NotKeptError{ID: *lost, Size: *lostSize}
	case r.Edited == nil:
		return last, nil
	case n > 1:
		return 0, fmt.Errorf("an edited payload is for one dead letter, not for %d: name its id", n)
	case len(r.Edited) == 0:
		return 0, errors.New("the edited payload is empty: it would be a dead letter again")
	case len(r.Edited) > maxPayload:
		return 0, fmt.Errorf("the edited payload has %d bytes, more than 1 MiB: it would be a dead letter again", len(r.Edited))
	}
	return last, nil
}

func (s *Store) page(ctx context.Context, f Filter, after, last int64) ([]pending, error) {
	where, args := f.where()
	args = append(args, after, last)
	rows, err := s.conn.Query(ctx, fmt.Sprintf(`SELECT id, payload_size, topic, partition, "offset", payload_sha256,
			payload IS NOT NULL OR payload_size = 0 AND reason <> 'refused_click', payload IS NULL
		FROM firstclick.dead_letters WHERE %s AND id > $%d AND id <= $%d ORDER BY id LIMIT %d`, where, len(args)-1, len(args), rowsAtOnce), args...)
	if err != nil {
		return nil, explain("read dead letters", err)
	}
	page, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p pending, err error) {
		err = row.Scan(&p.id, &p.size, &p.topic, &p.partition, &p.offset, &p.sum, &p.kept, &p.null)
		return p, err
	})
	if err != nil {
		return nil, explain("read dead letters", err)
	}
	return page, nil
}

// take cuts off what fits together: one batch of a producer must not become larger than a broker takes.
func take(page []pending, edited bool, done *Retries) (together, rest []pending) {
	size := int64(0)
	for i, p := range page {
		if !p.kept && !p.again() && !edited {
			done.NotKept = append(done.NotKept, p.id)
			continue
		}
		const overhead = 64 // of a record in a batch, generously
		if size += p.size + overhead; len(together) > 0 && size > atATime {
			return together, page[i:]
		}
		together = append(together, p)
	}
	return together, nil
}

// send produces the letters, and marks those that were acknowledged: also when others were not.
func (s *Store) send(ctx context.Context, producer *kgo.Client, from *source, letters []pending, r Retry, done *Retries) error {
	ids := make([]int64, len(letters))
	for i, l := range letters {
		ids[i] = l.id
	}
	these := r.Filter
	these.IDs = ids
	// Asked again, as others resolve letters too: what they have done meanwhile is left alone.
	where, args := these.where()
	rows, err := s.conn.Query(ctx, `SELECT id, CASE WHEN $`+strconv.Itoa(len(args)+1)+` THEN NULL ELSE payload END FROM firstclick.dead_letters WHERE `+where,
		append(args, r.Edited != nil)...)
	if err != nil {
		return explain("read payloads", err)
	}
	payloads := map[int64][]byte{}
	var id int64
	var payload []byte
	if _, err := pgx.ForEachRow(rows, []any{&id, &payload}, func() error {
		payloads[id] = payload
		payload = nil
		return nil
	}); err != nil {
		return explain("read payloads", err)
	}
	if r.Edited == nil {
		if err := from.read(ctx, letters, payloads); err != nil {
			return err
		}
	}
	records := make([]*kgo.Record, 0, len(letters))
	sent := make(map[*kgo.Record]int64, len(letters))
	for _, l := range letters {
		payload, there := payloads[l.id]
		if r.Edited != nil {
			payload = r.Edited
		}
		switch {
		case !there, payload == nil && !l.null: // somebody has resolved it meanwhile
			continue
		case payload == nil && l.again():
			done.NotKept = append(done.NotKept, l.id)
			continue
		}
		record := &kgo.Record{Topic: l.topic, Value: payload, Timestamp: time.Now()}
		records, sent[record] = append(records, record), l.id
	}
	var failed error
	acknowledged := make([]int64, 0, len(records))
	for _, result := range producer.ProduceSync(ctx, records...) {
		if result.Err == nil {
			acknowledged = append(acknowledged, sent[result.Record])
		} else if failed == nil {
			failed = explainSend(sent[result.Record], result.Record.Topic, result.Err)
		}
	}
	these.IDs = acknowledged
	if err := s.mark(ctx, these); err != nil {
		done.Unsure += int64(len(acknowledged))
		return errors.Join(failed, fmt.Errorf("%d records were sent but not marked as retried (sending them again is harmless): %w", len(acknowledged), err))
	}
	done.Sent += int64(len(acknowledged))
	return failed
}

// mark is done also when the run was told to stop: what was sent was sent.
func (s *Store) mark(ctx context.Context, these Filter) error {
	if len(these.IDs) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	where, args := these.where()
	_, err := s.conn.Exec(ctx, `UPDATE firstclick.dead_letters SET status = 'retried', resolved_at = clock_timestamp() WHERE `+where, args...)
	return err
}

func newProducer(config kafkaconn.Config) (*kgo.Client, error) {
	opts, err := config.Opts()
	if err != nil {
		return nil, err
	}
	producer, err := kgo.NewClient(append(opts,
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerBatchMaxBytes(maxPayload+64<<10), kgo.BrokerMaxWriteBytes(8<<20),
		kgo.RecordDeliveryTimeout(delivery), kgo.RetryTimeout(delivery), kgo.UnknownTopicRetries(2))...)
	if err != nil {
		return nil, fmt.Errorf("make a Kafka client: %w", err)
	}
	return producer, nil
}

func explainSend(id int64, topic string, err error) error {
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("send dead letter %d: there is no topic %s any more", id, topic)
	case errors.Is(err, kerr.MessageTooLarge):
		return fmt.Errorf("send dead letter %d: topic %s takes no record of this size now (max.message.bytes): %w", id, topic, err)
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return fmt.Errorf("send dead letter %d: this user may not write to topic %s: %w", id, topic, err)
	}
	return fmt.Errorf("send dead letter %d to topic %s: %w", id, topic, err)
}
