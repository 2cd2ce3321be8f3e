package audit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"firstclick/internal/kafkabatch"
)

// describeTopics reads both topics' ends and compares them with what the group knows of them.
func (r *run) describeTopics(ctx context.Context) (err error) {
	for which, stored := range r.snap.topics {
		log, err := r.reader.describe(ctx, stored.name)
		if err != nil {
			return err
		}
		r.logs[which] = log
		if stored.id != "" && log.id != "" && stored.id != log.id {
			return errors.New(r.createdAnew(stored.name))
		}
		if log.unsure != nil {
			r.note("%s: whether it is compacted is not known (%v), and is taken for no: "+
				"rows whose records compaction took are called wrong. Grant DescribeConfigs on it", log.name, log.unsure)
		}
		for _, p := range log.partitions {
			from := stored.start(p.partition)
			r.gone[which] = r.gone[which] || p.logStart > from
			switch {
			case p.logStart > from && r.fromKafka:
				r.note("%s-%d: Kafka holds what is at offset %d and later: what needs older records cannot be judged",
					log.name, p.partition, p.logStart)
			case p.logStart > from:
				r.note("%s-%d: the group began at offset %d, Kafka holds what is at %d and later: "+
					"rows that need older records cannot be verified", log.name, p.partition, from, p.logStart)
			}
			if p.end < p.high {
				r.note("%s-%d: a transaction has been open since offset %d of %d: what follows is not read",
					log.name, p.partition, p.end, p.high)
			}
		}
	}
	return nil
}

func (r *run) createdAnew(topic string) string {
	return fmt.Sprintf("topic %s was deleted and created anew since group %s began: "+
		"its records are not those the rows were made of", topic, r.cfg.Group)
}

// decode reads the event of a record. reason is "", or the reason of the dead letter that it is.
func (r *run) decode(t topic, rec *kgo.Record) (e event, reason string) {
	e, reason = decode(t, rec.Value, r.snap.zone)
	stamp := rec.Timestamp.UnixMilli() // -1 where it has none: then there is nothing to compare with
	limit := r.snap.columns["click_id"].limit
	switch {
	case kafkabatch.Of(rec) != nil:
		reason = reasonUnreadable
	case reason != "":
	case t == topicClicks && limit > 0 && utf8.RuneCountInString(e.id) > limit:
		reason = reasonRefused // the column cannot hold its id
	case stamp >= 0 && e.time > stamp*1000+r.snap.skew:
		reason = reasonFuture
	}
	return e, reason
}

// readTopic reads a topic to its ends, compares it with what is noted about its records, and sorts
// what is valid.
func (r *run) readTopic(ctx context.Context, t topic) error {
	log := r.logs[t]
	var total int64
	for _, p := range log.partitions {
		total += max(0, p.end-p.logStart)
	}
	r.progress.phase("offsets of topic "+log.name, total)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(min(4, runtime.GOMAXPROCS(0)))
	var mu sync.Mutex
	for _, p := range log.partitions {
		group.Go(func() error {
			reader := &partitionReader{
				run: r, mu: &mu, topic: t, log: log, partition: p, start: r.snap.topics[t].start(p.partition),
				next: p.logStart, first: endless, idColumn: r.snap.columns["checkout_id"],
			}
			return reader.read(ctx)
		})
	}
	return group.Wait()
}

// partitionReader reads one partition.
type partitionReader struct {
	*run
	mu        *sync.Mutex // over the run's report, gone, lost and invalid
	topic     topic
	log       topicLog
	partition partitionLog
	start     int64
	idColumn  column

	cursor  *cursor // over all notes
	head    item    // the next one of this partition
	hasNote bool    // there is one

	next           int64 // offset
	first          int64 // event time of the first event of the group's; endless: none so far
	gaps           gaps
	valid, pending int64
}

func (p *partitionReader) read(ctx context.Context) (err error) {
	if p.cursor, err = p.notes.open(); err != nil {
		return err
	}
	defer p.cursor.close()
	if err := p.nextNote(); err != nil {
		return err
	}
	p.gaps = p.gapsOf(p.topic, p.partition.partition, p.start)
	p.gaps.add(lostToRetention, 0, p.partition.logStart)
	err = p.reader.read(ctx, p.log, p.partition.partition, p.next, p.partition.end, func(rec *kgo.Record) error {
		p.skipTo(rec.Offset)
		p.next = rec.Offset + 1
		p.progress.add(1)
		return p.record(rec)
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
	if err := p.notesBelow(math.MaxInt64); err != nil {
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

// skipTo goes to an offset below which no more records are. In a topic that is not compacted, only
// control and aborted records lie between, which make nothing.
func (p *partitionReader) skipTo(offset int64) {
	p.progress.add(offset - p.next)
	if p.log.compacted && offset > p.next {
		p.gaps.add(lostToCompaction, p.next, offset)
	}
}

// record decodes a record, compares it with its notes and sorts it.
func (p *partitionReader) record(rec *kgo.Record) error {
	if err := p.notesBelow(rec.Offset); err != nil {
		return err
	}
	k := item{kind: kindClick, partition: rec.Partition, offset: rec.Offset}
	var want string
	k.event, want = p.decode(p.topic, rec)
	// pending: it need not have had its effect yet. unread: no shard has read it; the first that does
	// writes its dead letter.
	var pending, unread bool
	switch {
	case p.topic == topicCheckouts:
		k.kind, k.id = kindCheckout, p.idColumn.stored(k.id)
		unread = rec.Offset >= p.snap.shards[rec.Partition].next
		pending = unread
	default:
		pending = !p.snap.readByAll(rec.Partition, rec.Offset)
		unread = !p.snap.readByAny(rec.Partition, rec.Offset)
	}
	if p.fromKafka {
		pending = rec.Timestamp.UnixMicro() > p.pendingAfter
	}
	if pending {
		k.flags |= flagPending
	}
	var dead, status string
	for p.hasNote && p.head.offset == rec.Offset {
		if p.head.kind == kindLate {
			k.flags |= p.head.flags
		} else {
			dead, status = p.head.values[0].text, p.head.values[1].text
		}
		if err := p.nextNote(); err != nil {
			return err
		}
	}
	if rec.Offset < p.start { // rows of it are another job's, and so may be rows that have such a click
		if dead != "" {
			p.addExample(KindDeadLetterUnexplained, &k, "no dead letter: the group began behind this record", letter(dead))
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
	if !p.fromKafka && !p.isEvent(&k, want, dead, status, unread) {
		return nil
	}
	if p.first == endless {
		p.first = k.time
	}
	p.valid++
	return p.sort(&k)
}

func (p *partitionReader) sort(k *item) error {
	if p.topic == topicClicks {
		return p.byKey.add(k)
	}
	return p.byID.add(k)
}

func letter(reason string) string { return "dead letter, reason " + reason }

// isEvent compares the reason that was found (want) with that of the dead letter that is there. It says
// whether the record counts as an event, and sets the flags that the dead letter gives it.
func (p *partitionReader) isEvent(k *item, want, dead, status string, unread bool) bool {
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
			report(KindDeadLetterUnexplained, "a click: the column holds its id now (then retry the dead letter)", letter(dead))
		}
		k.flags |= flagLate // a row may have it, from a restart on
	case want == "" && dead == reasonTime: // of a version that accepted fewer ways to write a date
		k.flags |= flagOptional | flagLate
	case want == "":
		report(KindDeadLetterUnexplained, "no dead letter", letter(dead))
	case dead == "" && (unread || want == reasonRefused): // no row holds such a click, with or without its letter
		return false
	case dead == "":
		report(KindDeadLetterMissing, letter(want), "none")
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

func (p *partitionReader) addExample(kind Kind, k *item, expected, actual string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := Example{Kind: kind, Expected: expected, Actual: actual, Topic: p.log.name, Partition: k.partition, Offset: k.offset}
	if p.topic == topicCheckouts {
		e.CheckoutID = k.id
	}
	p.report.add(e, p.cfg.Examples)
}

// nextNote goes to the next note of this partition. It passes over those of an earlier topic of the
// same name.
func (p *partitionReader) nextNote() error {
	p.hasNote = false
	for {
		encoded, ok, err := p.cursor.next()
		if err != nil || !ok {
			return err
		}
		n := &p.head
		byPlace.parse(encoded, n)
		if id := n.values[2].text; n.topic == p.topic && n.partition == p.partition.partition && (id == "" || id == p.log.id) {
			p.hasNote = true
			return nil
		}
	}
}

// notesBelow handles notes of offsets at which no record was read.
func (p *partitionReader) notesBelow(offset int64) error {
	for p.hasNote && p.head.offset < offset {
		why := lostToRetention
		if p.head.offset >= p.partition.logStart {
			why = lostToCompaction
		}
		n := p.head
		switch gone := why == lostToRetention || p.log.compacted; {
		case n.kind == kindDeadLetter && !gone:
			p.addExample(KindDeadLetterUnexplained, &n, "no dead letter: there is no such record", letter(n.values[0].text))
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
		if err := p.nextNote(); err != nil {
			return err
		}
	}
	return nil
}
