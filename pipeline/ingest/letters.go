package ingest

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkabatch"
	"firstclick/join/event"
)

// payloads decides which dead letters keep their record's value.
type payloads interface {
	Keep(d *event.DeadLetter, value []byte)
}

// deadLetter is that of a record that cannot be used because of err. It has a copy of the payload:
// the record's shares memory with the whole fetch.
func deadLetter(rec *kgo.Record, topicID [16]byte, err error, keep payloads) event.DeadLetter {
	d := event.DeadLetter{
		Topic: rec.Topic, TopicID: topicID, Partition: rec.Partition, Offset: rec.Offset,
		RecordTime: recordTime(rec), Reason: event.ReasonShape, Detail: err.Error(),
	}
	var bad *event.DecodeError
	if errors.As(err, &bad) {
		d.Reason, d.Detail = bad.Reason, bad.Detail
	}
	if keep != nil {
		keep.Keep(&d, rec.Value)
	}
	return d
}

// batchLetter is the dead letter of a batch that cannot be read. It has no payload, only what the
// batch is found by.
func batchLetter(rec *kgo.Record, bad *kafkabatch.Bad, topicID [16]byte) event.DeadLetter {
	return event.DeadLetter{
		Topic: rec.Topic, TopicID: topicID, Partition: rec.Partition, Offset: rec.Offset, RecordTime: recordTime(rec),
		Reason: event.ReasonUnreadable, Detail: bad.Detail(), Size: bad.Size, Sum: bad.Sum,
	}
}

// recordTime is the timestamp of a record in microseconds, or event.NoTime where the producer gave
// none (-1).
func recordTime(rec *kgo.Record) int64 {
	if ms := rec.Timestamp.UnixMilli(); ms >= 0 {
		return ms * 1000
	}
	return event.NoTime
}

// checkFuture refuses an event that is dated more than skew after its record.
func checkFuture(t int64, rec *kgo.Record, skew time.Duration) error {
	at := recordTime(rec)
	if at == event.NoTime || t <= at+skew.Microseconds() {
		return nil
	}
	detail := span(t-at) + " ahead of its record's time"
	if at < plausible.UnixMicro() {
		detail = fmt.Sprintf("%s, which cannot be right: %d milliseconds since 1970, which is %s", detail, at/1000,
			time.UnixMicro(at).UTC().Format(time.RFC3339))
		if s := time.Unix(at/1000, 0).UTC(); !s.Before(plausible) {
			detail += fmt.Sprintf(" (as seconds it would be %s: the producer stamps seconds where Kafka takes "+
				"milliseconds)", s.Format(time.RFC3339))
		}
	}
	return &event.DecodeError{Reason: event.ReasonFuture, Detail: detail}
}

// span is a number of microseconds for people. The year 9999 is further away than a time.Duration
// holds.
func span(micros int64) string {
	const day = int64(24 * time.Hour / time.Microsecond)
	if micros >= 2*day {
		return fmt.Sprintf("%d days", micros/day)
	}
	return (time.Duration(micros) * time.Microsecond).String()
}
