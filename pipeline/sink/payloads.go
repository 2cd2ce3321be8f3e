package sink

import (
	"bytes"
	"crypto/sha256"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"firstclick/join/event"
)

// Payloads bounds how much of bad records is kept with their dead letters, by reason and hour: a
// flood of bad records may fill neither our memory nor the table. Of the others size, hash and
// place are kept. By its place a record can be read again while Kafka has it. A nil Payloads keeps
// nothing.
type Payloads struct {
	clock Clock
	log   *slog.Logger
	most  int64 // bytes

	mu      sync.Mutex
	hour    int64
	kept    map[event.Reason]int64 // bytes, in this hour
	leftOut *prometheus.CounterVec // payloads by reason
}

// Keep gives a dead letter, whose reason is set, a copy of the record's value. If that is over 1
// MiB or over the bound, the dead letter gets its size and hash at once: many values must not fill
// our memory.
func (p *Payloads) Keep(d *DeadLetter, value []byte) {
	d.Payload, d.Size = nil, 0
	if len(value) <= maxPayload && p.room(d.Reason, len(value)) {
		d.Payload = bytes.Clone(value)
		return
	}
	d.Size, d.Sum = int64(len(value)), sha256.Sum256(value)
}

// room takes room for a payload, if there is any.
func (p *Payloads) room(reason event.Reason, size int) bool {
	switch {
	case size == 0:
		return true
	case p == nil:
		return false
	}
	const hour = 3600
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.clock.Now().Unix() / hour; now != p.hour {
		p.hour = now
		clear(p.kept)
	}
	before := p.kept[reason]
	if before+int64(size) <= p.most {
		p.kept[reason] = before + int64(size)
		return true
	}
	p.leftOut.WithLabelValues(string(reason)).Inc()
	if before <= p.most { // from now on not even a smaller one, so that what is kept is what came first
		p.kept[reason] = p.most + 1
		const message = "so many records are bad that until the next hour their payloads are not kept: " +
			"only place, size and hash"
		p.log.Warn(message, "reason", string(reason), "kept_bytes", before)
	}
	return false
}
