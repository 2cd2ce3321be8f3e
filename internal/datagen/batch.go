package datagen

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// maxBatch is how many events a batch has at most.
const maxBatch = 8192

// batch is what is produced between two waits for acknowledgement. It is used again once every
// record is acknowledged.
type batch struct {
	arena   []byte // the values
	records []record
	out     []kgo.Record   // one per record, for the client
	answers sync.WaitGroup // the records without an answer
	waiting atomic.Int64   // likewise, and one for the sender while it sends
}

func (b *batch) reset() { b.arena, b.records = b.arena[:0], b.records[:0] }

// prepare makes the client's records. The arena must not grow after it.
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
		b.out[i] = kgo.Record{
			Topic: names[r.topic], Partition: r.partition, Value: value, Timestamp: time.UnixMicro(r.clock),
		}
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
	s := &t.sum
	// Within a batch the clock never goes back. Batches are acknowledged in any order.
	first, last := time.UnixMicro(b.records[0].clock), time.UnixMicro(b.records[len(b.records)-1].clock)
	if s.Records == 0 || first.Before(s.First) {
		s.First = first
	}
	if last.After(s.Last) {
		s.Last = last
	}
	for i := range b.records {
		r := &b.records[i]
		letter := func(reason string) { s.DeadLetters[Letter{t.names[r.topic], reason}]++ }
		s.Records++
		switch r.mark.role {
		case roleEvent:
			m, click := &r.mark, r.topic == clicks
			addIf(click, &s.Clicks)
			addIf(!click, &s.Checkouts)
			addIf(m.outOfOrder, &s.OutOfOrder)
			addIf(m.late, &s.Late)
			addIf(m.ahead, &s.Future)
			addIf(m.hot, &s.HotKey)
			addIf(m.unknown, &s.UnknownUserEvents)
			addIf(m.unknown && !click && !m.refused, &s.UnknownUserCheckouts)
			addIf(m.refused && click, &s.FutureRefusedClicks)
			addIf(m.refused && !click, &s.FutureRefusedCheckouts)
			if m.refused {
				letter("future")
			}
		case roleDuplicate:
			addIf(r.topic == clicks, &s.DuplicateClicks)
			addIf(r.topic == checkouts, &s.DuplicateCheckouts)
		case roleConflict:
			s.Conflicts++
			letter("conflict")
		case rolePoison:
			k := &t.kinds[r.mark.poison]
			s.Poison[k.Kind]++
			letter(k.Reason)
		case roleTooLarge:
			s.TooLarge++
			letter("too_large")
		}
	}
}

func addIf(is bool, n *int64) {
	if is {
		*n++
	}
}
