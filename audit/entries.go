package audit

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// readEntries sorts the entries: what firstclick has recorded about records. They are dead letters,
// and late events that are not repaired.
func (r *run) readEntries(ctx context.Context, tx pgx.Tx) error {
	s := &r.snap
	s.dead = map[string]int64{}
	n := item{kind: kindDeadLetter, event: event{values: make([]optional, 3)}}
	var isCheckout bool
	var id pgtype.UUID
	var reason, status string
	add := func() {
		n.topic = topicClicks
		if isCheckout {
			n.topic = topicCheckouts
		}
		n.values[0], n.values[1], n.values[2] = some(reason), some(status), some(topicID(id.Bytes))
		r.entries.add(&n)
	}
	dest := []any{&isCheckout, &id, &n.partition, &n.offset, &reason, &status}
	err := each(ctx, tx, "read dead letters", dest, func() error {
		s.dead[reason]++
		add()
		return nil
	}, `SELECT topic <> $2, topic_id, partition, "offset", reason, status
		FROM firstclick.dead_letters WHERE group_id = $1 AND topic IN ($2, $3)`,
		r.cfg.Group, s.topics[topicClicks].name, s.topics[topicCheckouts].name)
	if err != nil {
		return err
	}
	n.kind, reason, status = kindLate, "", ""
	var happened, recorded time.Time
	dest = []any{&isCheckout, &id, &n.partition, &n.offset, &n.id, &n.user, &n.product, &happened, &recorded}
	return each(ctx, tx, "read late events", dest, func() error {
		s.late++
		n.time = happened.UnixMicro()
		if n.flags = s.lateFlags(happened, recorded); n.flags&flagEarly != 0 {
			s.notLate++
		}
		add()
		return nil
	}, `SELECT kind <> 'click', topic_id, partition, "offset", event_id, user_id, product_id, event_time, recorded_at
		FROM firstclick.late WHERE group_id = $1 AND topic IN ($2, $3) AND repaired_at IS NULL`,
		r.cfg.Group, s.topics[topicClicks].name, s.topics[topicCheckouts].name)
}

// clockSlack is how far, in microseconds, the clock of a stored time may be from that of an event's
// time: skew, and a minute between Postgres' clock and the instances'.
func (s *snapshot) clockSlack() int64 { return s.skew + time.Minute.Microseconds() }

// tooEarly says that an event was recorded as too late before it can have been. By a clock that is
// at most skew ahead, rows are final no sooner than lateness and out-of-order allowance after their
// time. An entry from before that comes from a watermark that ran ahead, and explains nothing.
//
// An event dated further ahead than skew and a window is recorded at once: no restart reads it
// again. The clock that found this may itself have been behind by skew, and is believed.
func (s *snapshot) tooEarly(event, recorded time.Time) bool {
	ahead, slack := event.Sub(recorded), time.Duration(s.clockSlack())*time.Microsecond
	return ahead+s.lateness+s.outOfOrder > slack && ahead < s.window+time.Duration(s.skew)*time.Microsecond-slack
}

// lateFlags are those of an event in firstclick.late.
func (s *snapshot) lateFlags(event, recorded time.Time) int32 {
	flags := int32(flagLate)
	if s.tooEarly(event, recorded) {
		flags |= flagEarly
	}
	if event.After(recorded) {
		flags |= flagAhead
	}
	return flags
}

// nextEntry goes to the next entry of this partition. It skips those of an earlier topic of the
// same name.
func (p *partitionReader) nextEntry() error {
	p.hasEntry = false
	for {
		encoded, ok, err := p.entriesOf.next()
		if err != nil || !ok {
			return err
		}
		byPlace.parse(encoded, &p.entry)
		id := p.entry.values[2].text
		if p.entry.topic == p.topic && p.entry.partition == p.partition.partition && (id == "" || id == p.log.id) {
			p.hasEntry = true
			return nil
		}
	}
}

// entriesBelow handles entries of offsets at which no record was read.
func (p *partitionReader) entriesBelow(offset int64) error {
	for p.hasEntry && p.entry.offset < offset {
		why := lostToRetention
		if p.entry.offset >= p.partition.logStart {
			why = lostToCompaction
		}
		n := p.entry
		switch gone := why == lostToRetention || p.log.compacted; {
		case n.kind == kindDeadLetter && !gone:
			p.addExample(KindDeadLetterUnexplained, &n,
				"no dead letter: there is no such record", letterText(n.values[0].text))
		case n.kind == kindDeadLetter:
			p.gaps.known(why, n.offset)
		case gone && p.topic == topicClicks: // firstclick.late holds all that matters about it
			p.gaps.known(why, n.offset)
			n.kind, n.values = kindClick, nil
			if err := p.sort(&n); err != nil {
				return err
			}
		case gone && n.flags&flagAhead != 0:
			p.gaps.known(why, n.offset)
			p.mu.Lock()
			p.lost[p.topic].ahead[n.id] = lostAhead{n.time, why}
			p.mu.Unlock()
		}
		if err := p.nextEntry(); err != nil {
			return err
		}
	}
	return nil
}
