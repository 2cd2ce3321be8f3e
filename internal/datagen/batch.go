package datagen

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// maxBatch is the most events that are drawn before they are handed on.
const maxBatch = 8192

// batch is what is produced between two waits for acknowledgement. It is used again when the last record is acknowledged.
type batch struct {
	arena   []byte // the values
	records []record
	out     []kgo.Record // what the client is given: one per record, in its place
	clicks  sync.WaitGroup
	waiting atomic.Int64 // records without an answer, and one for the sender while it is at it
}

func (b *batch) reset() {
	b.arena, b.records = b.arena[:0], b.records[:0]
}

// prepare makes the client's records. The arena must not grow any more.
func (b *batch) prepare(names [topics]string) {
	if cap(b.out) < len(b.records) {
		b.out = make([]kgo.Record, len(b.records), cap(b.records))
	}
	b.out = b.out[:len(b.records)]
	for i := range b.records {
		r := &b.records[i]
		var value []byte
		if r.from >= 0 {
			value = b.arena[r.from:r.to:r.to]
		}
		b.out[i] = kgo.Record{Topic: names[r.topic], Partition: r.partition, Value: value, Timestamp: time.UnixMicro(r.clock)}
	}
	b.waiting.Store(int64(len(b.records)) + 1)
}

// tally collects the counts of acknowledged batches.
type tally struct {
	names [topics]string
	kinds []Poison
	sum   Summary
}

func newTally(cfg Config) *tally {
	return &tally{
		names: [topics]string{cfg.ClicksTopic, cfg.CheckoutsTopic},
		kinds: Poisons(),
		sum:   Summary{Poison: map[string]int64{}, DeadLetters: map[Letter]int64{}},
	}
}

func (t *tally) add(b *batch) {
	for i := range b.records {
		t.record(&b.records[i])
	}
}

func (t *tally) record(r *record) {
	s, m := &t.sum, &r.mark
	at := time.UnixMicro(r.clock)
	if s.Records == 0 || at.Before(s.First) {
		s.First = at
	}
	if at.After(s.Last) {
		s.Last = at
	}
	s.Records++
	switch m.role {
	case roleEvent:
		t.event(r.topic, m)
	case roleDuplicate:
		pick(r.topic, &s.DuplicateClicks, &s.DuplicateCheckouts)
	case roleConflict:
		s.Conflicts++
		t.letter(r.topic, "conflict")
	case rolePoison:
		k := &t.kinds[m.poison]
		s.Poison[k.Kind]++
		t.letter(r.topic, k.Reason)
	case roleTooLarge:
		s.TooLarge++
		t.letter(r.topic, "too_large")
	}
}

func (t *tally) event(to topic, m *mark) {
	s := &t.sum
	pick(to, &s.Clicks, &s.Checkouts)
	when := func(is bool, n *int64) {
		if is {
			*n++
		}
	}
	when(m.outOfOrder, &s.OutOfOrder)
	when(m.late, &s.Late)
	when(m.ahead, &s.Future)
	when(m.hot, &s.HotKey)
	when(m.unknown, &s.UnknownUserEvents)
	when(m.unknown && to == checkouts && !m.refused, &s.UnknownUserCheckouts)
	if m.refused {
		pick(to, &s.FutureRefusedClicks, &s.FutureRefusedCheckouts)
		t.letter(to, "future")
	}
}

func (t *tally) letter(to topic, reason string) { t.sum.DeadLetters[Letter{t.names[to], reason}]++ }

func pick(t topic, click, checkout *int64) {
	if t == clicks {
		*click++
		return
	}
	*checkout++
}
