package audit

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"firstclick/internal/kafkabatch"
)

// What is known about a record besides its content.
const (
	flagLate         = 1 << iota // recorded in firstclick.late, not repaired: may or may not have had its effect
	flagPending                  // at or above the stored positions: likewise
	flagConflict                 // a dead letter for having other content than its row
	flagRefused                  // a dead letter because Postgres refused the row
	flagResolved                 // that dead letter was retried or dropped
	flagUnasked                  // need not have had an effect: a dead letter that somebody retried
	flagJudged                   // its row was found different already
	flagSeveral                  // other records may have written the row too
	flagRow                      // there is a row
	flagRowInvalid               // whose click_id and click_time are not both NULL or both set
	flagBefore                   // below the group's start: not demanded, and no answer to it is
	flagEarly                    // of flagLate: noted before it can have come too late
	flagAhead                    // of flagLate: noted because it was dated far ahead of the clock; a restart may have forgotten it
	flagRefusedClick             // a dead letter because Postgres refused its row's first click
	flagSkipped                  // before the group's start for want of a timestamp: its event time is not
)

// click is a click in its sort: by user, product, time, id, that is by what decides who wins.
type click struct {
	event
	partition int32
	offset    int64
	flags     int32
}

func (c click) append(b []byte) []byte {
	b = appendText(appendInt64(appendText(appendInt32(b, c.user), c.product), c.time), c.id)
	return appendInt32(appendInt64(appendInt32(b, c.partition), c.offset), c.flags)
}

func parseClick(item []byte) (c click) {
	f := fields(item)
	c.user, c.product, c.time, c.id = f.int32(), f.text(), f.int64(), f.text()
	c.partition, c.offset, c.flags = f.int32(), f.int64(), f.int32()
	return c
}

// checkout is a checkout in its sort: by id, then by place.
type checkout struct {
	event
	partition int32
	offset    int64
	flags     int32
}

func (k checkout) append(b []byte) []byte {
	b = appendInt64(appendInt32(appendText(b, k.id), k.partition), k.offset)
	b = appendInt64(appendInt32(appendInt32(b, k.flags), k.user), k.time)
	b = appendText(b, k.product)
	for _, o := range [...]optional{k.payment, k.amount, k.shipping, k.billing, k.agent, k.ip} {
		b = appendOptional(b, o)
	}
	return b
}

func parseCheckout(item []byte) (k checkout) {
	f := fields(item)
	k.id, k.partition, k.offset = f.text(), f.int32(), f.int64()
	k.flags, k.user, k.time = f.int32(), f.int32(), f.int64()
	k.product = f.text()
	for _, o := range []*optional{&k.payment, &k.amount, &k.shipping, &k.billing, &k.agent, &k.ip} {
		*o = f.optional()
	}
	return k
}

func (a *audit) readCheckouts(ctx context.Context) error {
	idColumn := a.snap.columns["checkout_id"]
	return a.readTopic(ctx, a.checkouts, topicCheckouts, a.snap.checkoutsStart, a.checkoutSort, func(buf []byte, r *record) []byte {
		k := checkout{event: r.event, partition: r.partition, offset: r.offset, flags: r.flags}
		k.id = idColumn.stored(k.id)
		return k.append(buf)
	})
}

func (a *audit) readClicks(ctx context.Context) error {
	return a.readTopic(ctx, a.clicks, topicClicks, a.snap.clicksStart, a.clickSort, func(buf []byte, r *record) []byte {
		return click{event: r.event, partition: r.partition, offset: r.offset, flags: r.flags}.append(buf)
	})
}

// record is a decoded record with its marks.
type record struct {
	event
	partition int32
	offset    int64
	flags     int32
}

// tally is what one partition adds to the report.
type tally struct {
	valid, pending int64
}

// readTopic reads a topic to its ends, judges dead letters on the way and sorts what is valid.
func (a *audit) readTopic(ctx context.Context, t topicLog, which byte, starts []int64, into *sorter, encode func([]byte, *record) []byte) error {
	var total int64
	for _, p := range t.partitions {
		total += max(0, p.end-p.logStart)
	}
	a.progress.phase("offsets of topic "+t.name, total)
	var mu sync.Mutex // over the sorter, the report and gone
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(min(4, runtime.GOMAXPROCS(0)))
	for _, p := range t.partitions {
		group.Go(func() error {
			w := &partitionWork{audit: a, mu: &mu, topic: t, which: which, into: into, encode: encode, log: p, start: startOf(starts, p.partition)}
			return w.run(ctx)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return into.Finish()
}

// partitionWork reads one partition.
type partitionWork struct {
	audit  *audit
	mu     *sync.Mutex
	topic  topicLog
	which  byte
	start  int64
	log    partitionLog
	into   *sorter
	encode func([]byte, *record) []byte

	marks  *cursor
	mark   mark  // the next one of this partition
	marked bool  // there is one
	last   int64 // the next offset to come
	first  int64 // event time of the first event of the group's; endless: none so far
	gaps   gaps
	buf    []byte
	tally  tally
}

func (w *partitionWork) run(ctx context.Context) (err error) {
	if w.marks, err = w.audit.snap.marks.Open(); err != nil {
		return err
	}
	defer w.marks.Close()
	if err := w.nextMark(); err != nil {
		return err
	}
	w.gaps, w.first = w.audit.gapsOf(w.which, w.log.partition, w.start), endless
	w.gaps.add(lostToRetention, 0, w.log.logStart)
	w.last = w.log.logStart
	err = w.audit.reader.read(ctx, w.topic, w.log.partition, w.last, w.log.end, func(r *kgo.Record) error {
		w.upTo(r.Offset)
		w.last = r.Offset + 1
		w.audit.progress.add(1)
		return w.take(r)
	}, w.lost)
	if err != nil {
		return err
	}
	w.upTo(w.log.end)
	if err := w.marksBelow(1<<63 - 1); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.audit.snap
	w.gaps.into(&w.audit.lost[w.which], w.log.partition, w.first, s.begun, s.skew, (s.lateness + s.outOfOrder).Microseconds())
	if w.which == topicClicks {
		w.audit.report.Clicks += w.tally.valid
		w.audit.report.PendingClicks += w.tally.pending
	} else {
		w.audit.report.Checkouts += w.tally.valid
		w.audit.report.PendingCheckouts += w.tally.pending
	}
	return nil
}

// upTo takes in that nothing was read between the last record and the offset. In a topic that is not compacted, control and aborted
// records lie there, which make nothing.
func (w *partitionWork) upTo(offset int64) {
	w.audit.progress.add(offset - w.last)
	if w.topic.compacted && offset > w.last {
		w.gaps.add(lostToCompaction, w.last, offset)
	}
}

// lost notes that retention took records while they were being read.
func (w *partitionWork) lost(start int64) {
	w.gaps.add(lostToRetention, w.last, start)
	w.audit.progress.add(start - w.last)
	w.last, w.log.logStart = start, start
	w.mu.Lock()
	defer w.mu.Unlock()
	w.audit.gone[w.which] = true
	w.audit.note("%s-%d: offsets below %d went away while they were being read", w.topic.name, w.log.partition, start)
}

// pendingAt says whether the record need not have had its effect yet: a checkout for its shard, a click for every shard.
func (w *partitionWork) pendingAt(offset int64, stamp time.Time) bool {
	s := &w.audit.snap
	if w.audit.alone.on {
		return stamp.UnixMicro() > w.audit.alone.pendingAfter
	}
	if w.which == topicClicks {
		return int(w.log.partition) >= len(s.clicksNext) || offset >= s.clicksNext[w.log.partition]
	}
	return offset >= s.shards[w.log.partition].next
}

// unread says whether no shard has read the record, so that it need not be a dead letter: the first that does writes it.
func (w *partitionWork) unread(offset int64) bool {
	if most := w.audit.snap.clicksMost; w.which == topicClicks {
		return int(w.log.partition) >= len(most) || offset >= most[w.log.partition]
	}
	return offset >= w.audit.snap.shards[w.log.partition].next
}

// take decodes a record, holds it against its marks and sorts it in.
func (w *partitionWork) take(r *kgo.Record) error {
	if err := w.marksBelow(r.Offset); err != nil {
		return err
	}
	decode := w.audit.snap.click
	if w.which == topicCheckouts {
		decode = decodeCheckout
	}
	rec := record{partition: w.log.partition, offset: r.Offset}
	var want string
	rec.event, want = decode(r.Value, w.audit.snap.zone)
	// A record without a timestamp has -1; there is nothing to compare with.
	stamp := r.Timestamp.UnixMilli()
	if kafkabatch.Of(r) != nil {
		want = reasonUnreadable
	} else if want == "" && stamp >= 0 && rec.time > stamp*1000+w.audit.snap.skew {
		want = reasonFuture
	}
	if w.pendingAt(r.Offset, r.Timestamp) {
		rec.flags |= flagPending
	}
	var dead, status string
	for w.marked && w.mark.offset == r.Offset {
		if w.mark.kind == markLate {
			rec.flags |= noteFlags(w.mark.early)
		} else {
			dead, status = w.mark.reason, w.mark.status
		}
		if err := w.nextMark(); err != nil {
			return err
		}
	}
	if r.Offset < w.start {
		return w.takeBefore(&rec, want, dead, stamp)
	}
	if rec.flags&flagPending != 0 {
		w.tally.pending++
	}
	if !w.judge(&rec, want, dead, status) {
		return nil
	}
	if w.first == endless {
		w.first = rec.time
	}
	w.tally.valid++
	return w.sort(&rec)
}

// takeBefore takes a record below the group's start. Rows of it are another job's, and so may be rows that have a click from there.
func (w *partitionWork) takeBefore(rec *record, want, dead string, stamp int64) error {
	if dead != "" {
		w.report(KindDeadLetterUnexplained, rec, "no dead letter: the group began behind this record", "dead letter, reason "+dead)
	}
	if want != "" {
		return nil
	}
	rec.flags = flagBefore
	if s := &w.audit.snap; stamp < 0 && s.startTime != noTime && rec.time >= s.startTime {
		rec.flags |= flagSkipped
	}
	return w.sort(rec)
}

func (w *partitionWork) sort(rec *record) error {
	w.buf = w.encode(w.buf[:0], rec)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.into.Add(w.buf)
}

// judge compares the reason found here (want) with the dead letter that is there, and says whether the record counts as an event.
func (w *partitionWork) judge(rec *record, want, dead, status string) bool {
	if w.audit.alone.on {
		w.audit.alone.refuse(want, w.mu)
		return want == ""
	}
	switch {
	case want == "" && dead == "":
		return true
	case want == "" && w.which == topicCheckouts && (dead == reasonConflict || dead == reasonRefused):
		rec.flags |= map[string]int32{reasonConflict: flagConflict, reasonRefused: flagRefused}[dead]
		if status != "open" {
			rec.flags |= flagResolved
		}
		return true // its row decides whether the dead letter is right
	case want == "" && w.which == topicCheckouts && dead == reasonRefusedClick:
		rec.flags |= flagRefusedClick
		if status == "dropped" {
			rec.flags |= flagResolved
		}
		return true // likewise
	case want == "" && w.which == topicClicks && dead == reasonRefused: // the column was widened since
		if status == "open" {
			w.report(KindDeadLetterUnexplained, rec, "a click: the column holds its id now (then retry the dead letter)", "dead letter, reason "+dead)
		}
		rec.flags |= flagLate // it may be a row's, from a restart on
		return true
	case want == "" && dead == reasonTime: // of a version that took fewer ways to write a date
		rec.flags |= flagUnasked | flagLate
		return true
	case want == "":
		w.report(KindDeadLetterUnexplained, rec, "no dead letter", "dead letter, reason "+dead)
		return true
	case dead == "" && (w.unread(rec.offset) || want == reasonRefused): // no row holds such a click, with or without its letter
		return false
	case dead == "":
		w.report(KindDeadLetterMissing, rec, "dead letter, reason "+want, "none")
		return false
	case dead != want:
		w.report(KindDeadLetterReason, rec, "reason "+want, "reason "+dead)
		return false
	case want == reasonFuture && status == "retried": // the event is sound, and somebody let it in
		rec.flags |= flagUnasked | flagLate
		return true
	default:
		return false
	}
}

func (w *partitionWork) report(kind Kind, rec *record, expected, actual string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := Example{Kind: kind, Expected: expected, Actual: actual, Topic: w.topic.name, Partition: rec.partition, Offset: rec.offset}
	if w.which == topicCheckouts {
		e.CheckoutID = rec.id
	}
	w.audit.report.add(e, w.audit.cfg.Examples)
}

// nextMark goes to the next mark of this partition, leaving out those of an earlier topic of the same name.
func (w *partitionWork) nextMark() error {
	w.marked = false
	for {
		item, ok, err := w.marks.Next()
		if err != nil || !ok {
			return err
		}
		m := parseMark(item)
		if m.topic != w.which || m.partition != w.log.partition || (m.topicID != [16]byte{} && m.topicID != w.topic.id) {
			continue
		}
		w.mark, w.marked = m, true
		return nil
	}
}

// marksBelow deals with marks for offsets at which no record was read.
func (w *partitionWork) marksBelow(offset int64) error {
	for w.marked && w.mark.offset < offset {
		why := lostToRetention
		if w.mark.offset >= w.log.logStart {
			why = lostToCompaction
		}
		gone := why == lostToRetention || w.topic.compacted
		rec := record{event: w.mark.late, partition: w.log.partition, offset: w.mark.offset}
		switch {
		case w.mark.kind == markDead && !gone:
			w.report(KindDeadLetterUnexplained, &rec, "no dead letter: there is no such record", "dead letter, reason "+w.mark.reason)
		case w.mark.kind == markDead:
			w.gaps.known(why, w.mark.offset)
		case w.mark.kind == markLate && w.which == topicClicks && gone:
			rec.flags = noteFlags(w.mark.early) // Kafka has dropped it, but firstclick.late holds all that matters about it
			w.gaps.known(why, w.mark.offset)
			if err := w.sort(&rec); err != nil {
				return err
			}
		case w.mark.kind == markLate && gone && w.mark.early&noteAhead != 0:
			w.gaps.known(why, w.mark.offset)
			w.mu.Lock()
			w.audit.lost[w.which].note(w.mark.late.id, w.mark.late.time, why)
			w.mu.Unlock()
		}
		if err := w.nextMark(); err != nil {
			return err
		}
	}
	return nil
}
