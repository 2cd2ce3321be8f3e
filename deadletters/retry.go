package deadletters

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkaconn"
)

const (
	maxPayload   = 1 << 20          // larger values become dead letters whatever they hold
	batchBytes   = 900 << 10        // sent together: with Kafka's overhead, below the default message.max.bytes
	pageLetters  = 1000             // looked up together, without their payloads
	deliverySoon = 30 * time.Second // for Kafka to acknowledge a record
)

// Retry says what to send again.
type Retry struct {
	Kafka  kafkaconn.Config
	Filter Filter

	// Edited is sent in place of the payload. The filter must select one letter. nil: the payload.
	Edited []byte
}

// Retries says what has been sent.
type Retries struct {
	Sent    int64   `json:"sent"`               // acknowledged by Kafka and marked
	NotKept []int64 `json:"not_kept,omitempty"` // ids not sent: their payloads are over 1 MiB or no longer in Kafka
	Unsure  int64   `json:"unsure,omitempty"`   // acknowledged, but still open: marking them failed
}

// NotKeptError says that a payload cannot be sent again.
type NotKeptError struct {
	ID, Size int64
}

func (e *NotKeptError) Error() string {
	if e.Size <= maxPayload {
		return fmt.Sprintf("the payload of dead letter %d was not kept, for too many records were bad in that hour: "+
			"firstclick dead-letters retry %d reads it from Kafka while Kafka has it, and with --edit FILE sends "+
			"another",
			e.ID, e.ID)
	}
	return fmt.Sprintf("the payload of dead letter %d was not kept: it had %d bytes, more than the 1 MiB that is; "+
		"firstclick dead-letters retry %d --edit FILE sends another", e.ID, e.Size, e.ID)
}

// pending is a letter to send.
type pending struct {
	id, size  int64
	topic     string
	partition int32
	offset    int64
	sum       []byte
	kept      bool
	null      bool // the payload is NULL: it was, or it was not kept
}

// fromKafka says that the payload was not kept and may be read again from Kafka.
func (p *pending) fromKafka() bool { return !p.kept && p.size <= maxPayload }

// Retry sends letters again and marks them, in the order of their ids. It reads a payload that was
// not kept from Kafka. If the filter names ids, a payload that is nowhere is a *NotKeptError,
// before anything is sent if it is over 1 MiB. Else the letter stays open and is counted. On an
// error, done says what has been sent.
func (s *Store) Retry(ctx context.Context, r Retry) (done Retries, err error) {
	if err := s.checkIDs(ctx, r.Filter); err != nil {
		return done, err
	}
	last, err := s.validate(ctx, r)
	if err != nil || last == 0 {
		return done, err
	}
	producer, err := newProducer(r.Kafka)
	if err != nil {
		return done, err
	}
	defer producer.Close()
	from := &refetcher{kafka: r.Kafka}
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
			n, size := 0, int64(0)
			var batch []pending
			for ; n < len(page); n++ {
				p := page[n]
				if !p.kept && !p.fromKafka() && r.Edited == nil {
					done.NotKept = append(done.NotKept, p.id)
					continue
				}
				const overhead = 64 // of a record in a batch, generously
				if size += p.size + overhead; len(batch) > 0 && size > batchBytes {
					break
				}
				batch = append(batch, p)
			}
			page = page[n:]
			if err := s.send(ctx, producer, from, batch, r, &done); err != nil {
				return done, err
			}
		}
	}
}

// validate refuses a retry that makes no sense. It returns the greatest id that the filter selects
// now; 0: none.
func (s *Store) validate(ctx context.Context, r Retry) (last int64, err error) {
	where, args := r.Filter.where()
	var n int64
	var lost, lostSize *int64 // the least id whose payload was too large to be kept
	err = s.conn.QueryRow(ctx, fmt.Sprintf(`SELECT count(*), coalesce(max(id), 0),
			min(id) FILTER (WHERE payload IS NULL AND payload_size > %d),
			max(payload_size) FILTER (WHERE payload IS NULL)
		FROM firstclick.dead_letters WHERE `, maxPayload)+where, args...).Scan(&n, &last, &lost, &lostSize)
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
		return 0, fmt.Errorf("the edited payload has %d bytes, more than 1 MiB: it would be a dead letter again",
			len(r.Edited))
	}
	return last, nil
}

func (s *Store) page(ctx context.Context, f Filter, after, last int64) ([]pending, error) {
	where, args := f.where()
	n := len(args)
	rows, _ := s.conn.Query(ctx, fmt.Sprintf(`SELECT id, payload_size, topic, partition, "offset", payload_sha256,
			payload IS NOT NULL OR payload_size = 0 AND reason <> 'refused_click', payload IS NULL
		FROM firstclick.dead_letters WHERE %s AND id > $%d AND id <= $%d ORDER BY id LIMIT %d`,
		where, n+1, n+2, pageLetters), append(args, after, last)...)
	page, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p pending, err error) {
		err = row.Scan(&p.id, &p.size, &p.topic, &p.partition, &p.offset, &p.sum, &p.kept, &p.null)
		return p, err
	})
	return page, explain("read dead letters", err)
}

// send produces the letters and marks those that were acknowledged, also if others were not. It
// leaves letters alone that somebody else has resolved since they were looked up.
func (s *Store) send(
	ctx context.Context, producer *kgo.Client, from *refetcher, letters []pending, r Retry, done *Retries,
) error {
	these := r.Filter
	these.IDs = nil
	for _, l := range letters {
		these.IDs = append(these.IDs, l.id)
	}
	if these.IDs == nil {
		return nil
	}
	payloads, err := s.payloads(ctx, these, r.Edited)
	if err != nil {
		return explain("read payloads", err)
	}
	if r.Edited == nil {
		if err := from.read(ctx, letters, payloads); err != nil {
			return err
		}
	}
	var records []*kgo.Record
	sent := make(map[*kgo.Record]int64, len(letters))
	for _, l := range letters {
		payload, there := payloads[l.id]
		switch {
		case !there, payload == nil && !l.null: // resolved meanwhile
			continue
		case payload == nil && l.fromKafka():
			done.NotKept = append(done.NotKept, l.id)
			continue
		}
		record := &kgo.Record{Topic: l.topic, Value: payload, Timestamp: time.Now()}
		records, sent[record] = append(records, record), l.id
	}
	var failed error
	these.IDs = nil
	for _, result := range producer.ProduceSync(ctx, records...) {
		if result.Err == nil {
			these.IDs = append(these.IDs, sent[result.Record])
		} else if failed == nil {
			failed = explainSend(sent[result.Record], result.Record.Topic, result.Err)
		}
	}
	if these.IDs == nil {
		return failed
	}
	acknowledged := int64(len(these.IDs))
	if err := s.markRetried(ctx, these); err != nil {
		done.Unsure += acknowledged
		return errors.Join(failed, fmt.Errorf("%d records were sent but not marked as retried "+
			"(sending them again is harmless): %w", acknowledged, err))
	}
	done.Sent += acknowledged
	return failed
}

// payloads returns the payload of each letter that the filter selects; edited, if it is not nil.
func (s *Store) payloads(ctx context.Context, f Filter, edited []byte) (map[int64][]byte, error) {
	where, args := f.where()
	rows, _ := s.conn.Query(ctx, fmt.Sprintf(`SELECT id, coalesce($%d, payload) FROM firstclick.dead_letters WHERE %s`,
		len(args)+1, where), append(args, edited)...)
	payloads := map[int64][]byte{}
	var id int64
	var payload []byte
	_, err := pgx.ForEachRow(rows, []any{&id, &payload}, func() error {
		payloads[id] = payload
		payload = nil
		return nil
	})
	return payloads, err
}

// markRetried runs also when ctx is done: what was sent was sent.
func (s *Store) markRetried(ctx context.Context, these Filter) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	where, args := these.where()
	_, err := s.conn.Exec(ctx, `UPDATE firstclick.dead_letters SET status = 'retried', resolved_at = clock_timestamp()
		WHERE `+where, args...)
	return err
}

func newProducer(config kafkaconn.Config) (*kgo.Client, error) {
	opts, err := config.Opts()
	if err != nil {
		return nil, err
	}
	producer, err := kgo.NewClient(append(opts, kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchMaxBytes(maxPayload+64<<10), kgo.BrokerMaxWriteBytes(8<<20),
		kgo.RecordDeliveryTimeout(deliverySoon), kgo.RetryTimeout(deliverySoon), kgo.UnknownTopicRetries(2))...)
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
		return fmt.Errorf("send dead letter %d: topic %s takes no record of this size now (max.message.bytes): %w", id,
			topic, err)
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return fmt.Errorf("send dead letter %d: this user may not write to topic %s: %w", id, topic, err)
	}
	return fmt.Errorf("send dead letter %d to topic %s: %w", id, topic, err)
}
