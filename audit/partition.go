package audit

import (
	"context"
	"math"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// partitionReader reads one partition.
type partitionReader struct {
	*run
	mu        *sync.Mutex // over the run's report, gone, lost and invalid
	topic     topic
	log       topicLog
	partition partitionLog
	start     int64
	idColumn  column

	entriesOf *cursor // over all entries
	entry     item    // the next one of this partition
	hasEntry  bool    // there is one

	next           int64 // offset
	first          int64 // event time of the first event of the group's; endless: none so far
	gaps           gaps
	valid, pending int64
}

func (p *partitionReader) read(ctx context.Context) error {
	p.entriesOf = p.entries.open()
	defer p.entriesOf.close()
	if err := p.nextEntry(); err != nil {
		return err
	}
	p.gaps = p.gapsOf(p.topic, p.partition.partition, p.start)
	p.gaps.add(lostToRetention, 0, p.partition.logStart)
	err := p.reader.read(ctx, p.log, p.partition.partition, p.next, p.partition.end, func(rec *kgo.Record) error {
		p.skipTo(rec.Offset)
		p.next = rec.Offset + 1
		p.progress.add(1)
		return p.addRecord(rec)
	}, func(start int64) {
		p.gaps.add(lostToRetention, p.next, start)
		p.progress.add(start - p.next)
		p.next, p.partition.logStart = start, start
		p.mu.Lock()
		defer p.mu.Unlock()
		p.gone[p.topic] = true
		p.note("%s-%d: offsets below %d went away while they were being read", p.log.name, p.partition.partition, start)
	})
	if err != nil {
		return err
	}
	p.skipTo(p.partition.end)
	if err := p.entriesBelow(math.MaxInt64); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gaps.addTo(&p.lost[p.topic], p.partition.partition, p.first, &p.snap)
	if p.topic == topicClicks {
		p.report.Clicks += p.valid
		p.report.PendingClicks += p.pending
	} else {
		p.report.Checkouts += p.valid
		p.report.PendingCheckouts += p.pending
	}
	return nil
}

// skipTo goes to the offset of the next record. In a topic that is not compacted, only control and
// aborted records lie before it, which make nothing.
func (p *partitionReader) skipTo(offset int64) {
	p.progress.add(offset - p.next)
	if p.log.compacted && offset > p.next {
		p.gaps.add(lostToCompaction, p.next, offset)
	}
}

// addRecord decodes a record, compares it with its entries and sorts it.
func (p *partitionReader) addRecord(rec *kgo.Record) error {
	if err := p.entriesBelow(rec.Offset); err != nil {
		return err
	}
	k := item{kind: kindClick, partition: rec.Partition, offset: rec.Offset}
	var want string
	k.event, want = p.decode(p.topic, rec)
	pending := !p.snap.readByAll(rec.Partition, rec.Offset)
	if p.topic == topicCheckouts {
		k.kind, k.id = kindCheckout, p.idColumn.stored(k.id)
		pending = rec.Offset >= p.snap.shards[rec.Partition].next
	}
	if p.fromKafka {
		pending = rec.Timestamp.UnixMicro() > p.pendingAfter
	}
	if pending {
		k.flags |= flagPending
	}
	var dead, status string
	for p.hasEntry && p.entry.offset == rec.Offset {
		if p.entry.kind == kindLate {
			k.flags |= p.entry.flags
		} else {
			dead, status = p.entry.values[0].text, p.entry.values[1].text
		}
		if err := p.nextEntry(); err != nil {
			return err
		}
	}
	if rec.Offset < p.start { // another job wrote its row, and perhaps rows with this click
		if dead != "" {
			p.addExample(KindDeadLetterUnexplained, &k,
				"no dead letter: the group began after this record", letterText(dead))
		}
		if want != "" {
			return nil
		}
		k.flags = flagBefore
		if rec.Timestamp.UnixMilli() < 0 && p.snap.startTime != noTime && k.time >= p.snap.startTime {
			k.flags |= flagSkipped
		}
		return p.sort(&k)
	}
	if pending {
		p.pending++
	}
	if p.fromKafka && want != "" {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.invalid[want]++
		return nil
	}
	if !p.fromKafka && !p.isEvent(&k, want, dead, status) {
		return nil
	}
	if p.first == endless {
		p.first = k.time
	}
	p.valid++
	return p.sort(&k)
}

func (p *partitionReader) sort(k *item) error {
	into := p.byID
	if p.topic == topicClicks {
		into = p.byKey
	}
	into.add(k)
	return into.failed()
}

func letterText(reason string) string { return "dead letter, reason " + reason }

// isEvent compares the reason that was found (want) with that of the dead letter that is there. It
// says whether the record counts as an event, and sets the flags that the dead letter gives it.
func (p *partitionReader) isEvent(k *item, want, dead, status string) bool {
	report := func(kind Kind, want, there string) { p.addExample(kind, k, want, there) }
	isCheckout := p.topic == topicCheckouts
	resolved := func(is bool) {
		if is {
			k.flags |= flagResolved
		}
	}
	switch {
	case want == "" && dead == "":
	case want == "" && isCheckout && dead == reasonConflict: // its row decides whether the dead letter is right
		k.flags |= flagConflict
		resolved(status != "open")
	case want == "" && isCheckout && dead == reasonRefused: // likewise
		k.flags |= flagRefused
		resolved(status != "open")
	case want == "" && isCheckout && dead == reasonRefusedClick: // likewise
		k.flags |= flagRefusedClick
		resolved(status == "dropped")
	case want == "" && !isCheckout && dead == reasonRefused: // the column was widened since
		if status == "open" {
			report(KindDeadLetterUnexplained,
				"a click: the column holds its id now (then retry the dead letter)", letterText(dead))
		}
		k.flags |= flagLate // a row may have it, from a restart on
	case want == "" && dead == reasonTime: // of a version that accepted fewer ways to write a date
		k.flags |= flagOptional | flagLate
	case want == "":
		report(KindDeadLetterUnexplained, "no dead letter", letterText(dead))
	case dead == "" && (want == reasonRefused || p.unread(k)): // no row can have such a click anyway
		return false
	case dead == "":
		report(KindDeadLetterMissing, letterText(want), "none")
		return false
	case dead != want:
		report(KindDeadLetterReason, "reason "+want, "reason "+dead)
		return false
	case want == reasonFuture && status == "retried": // the event is sound, and somebody accepted it
		k.flags |= flagOptional | flagLate
	default:
		return false
	}
	return true
}

// unread says whether no shard has read the record. The first shard that reads it writes its dead
// letter.
func (p *partitionReader) unread(k *item) bool {
	if p.topic == topicCheckouts {
		return k.flags&flagPending != 0
	}
	for _, s := range p.snap.shards {
		if s.hasRead(k.partition, k.offset) {
			return false
		}
	}
	return true
}

func (p *partitionReader) addExample(kind Kind, k *item, expected, actual string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := Example{Kind: kind, Expected: expected, Actual: actual}
	e.Topic, e.Partition, e.Offset = p.log.name, k.partition, k.offset
	if p.topic == topicCheckouts {
		e.CheckoutID = k.id
	}
	p.report.add(e, p.cfg.Examples)
}
