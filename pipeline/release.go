package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"firstclick/join"
	"firstclick/join/event"
	"firstclick/pipeline/sink"
)

// release moves what need not wait any longer from the queues to the batches.
func (l *loop) release() error {
	l.tellClock()
	now, share := l.s.now(), l.share()
	for _, sh := range l.shards {
		room := share - len(sh.batch.Rows) - len(sh.batch.Dead)
		if room <= 0 || sh.letting != nil || sh.Queued() == 0 {
			continue
		}
		released, err := l.core.Release(sh.Shard, room, now)
		l.addReleased(sh, released)
		var lost *join.LostClicksError
		if errors.As(err, &lost) {
			return &GapError{l.s.cfg.ClicksTopic, lost.Partition, fmt.Sprintf("the log begins at offset %d, and the checkout at %s[%d] offset %d (time %v) needs clicks from before",
				lost.Started, l.s.cfg.CheckoutsTopic, sh.Partition, lost.Checkout, time.UnixMicro(lost.Time).UTC()), l.s.cureForGap()}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// share is how many rows a shard's batch may grow to. A few shards may each fill a transaction; many fill one together, so that what lies
// in batches stays a few transactions' worth, and no shard waits for a turn that comes once in seconds.
func (l *loop) share() int {
	const least = 256
	busy := 0
	for _, sh := range l.shards {
		if sh.Queued()+len(sh.batch.Rows) > 0 {
			busy++
		}
	}
	return min(maxRows, max(4*enough/max(busy, 1), least))
}

// addReleased adds what the core released to the shard's batch.
func (l *loop) addReleased(sh *shard, released []event.Released) {
	sh.held.gone += len(released)
	b := sh.batch
	for i := range released {
		r := &released[i]
		switch {
		case r.Dead != nil:
			b.Dead = append(b.Dead, *r.Dead)
		case !r.Skip: // else a control record: only the position moves
			if b.Rows == nil {
				b.Rows = l.rows.take()
			}
			b.Rows = append(b.Rows, *r)
			if r.Final {
				b.Late = append(b.Late, l.s.lateCheckout(sh, r.Checkout))
			}
		}
	}
}

// lateCheckout is the note of a checkout that comes too late to be corrected, or is dated too far ahead.
func (s *session) lateCheckout(sh *shard, k *event.Checkout) sink.Late {
	return sink.Late{
		Topic: s.cfg.CheckoutsTopic, TopicID: sh.topicID, Partition: sh.Partition, Offset: k.Offset, Kind: sink.LateCheckout,
		EventID: k.ID.String(), User: k.User, Product: string(k.Product()), Time: k.Time,
	}
}

// job is one transaction, and the shards to let go after it.
type job struct {
	shards  []*shard
	batches []*sink.Batch
	gone    []int // records that each batch settles
	letting []bool
	dead    int // the last so many dead letters of the first batch are those of clicks
}

type jobDone struct {
	job *job
	err error
}

// enough is how many rows make a transaction large enough: more shards in it would only keep them from being written side by side. Fewer
// rows, and the index is touched all over for each.
const enough = 8_192

// handOut gives idle committers what is ready. No timer: what is there when the last transaction ended is the next one.
func (l *loop) handOut() {
	for l.idle > 0 {
		j := l.nextJob()
		if j == nil {
			return
		}
		l.idle--
		l.s.work <- j // never blocks: it has room for every committer
	}
}

func (l *loop) nextJob() *job {
	ready := l.ready()
	if len(ready) == 0 {
		return nil
	}
	j := &job{}
	corrections := maxCorrections
	for _, sh := range ready {
		j.shards = append(j.shards, sh)
		b := l.takeBatch(sh, max(corrections, maxCorrections/16))
		corrections -= len(b.Corrections)
		j.batches = append(j.batches, b)
		j.gone = append(j.gone, sh.held.gone)
		sh.held.gone = 0
		j.letting = append(j.letting, sh.letting != nil)
	}
	for i := range l.under {
		l.under[i].Again = true
	}
	l.under, l.dead = append(l.under, l.dead...), nil
	j.batches[0].Dead = append(j.batches[0].Dead, l.under...)
	j.dead = len(l.under)
	return j
}

// overdue is how long a shard may stand back behind fuller ones.
const overdue = 250 * time.Millisecond

// ready are the shards that go into the next transaction, until there is enough: those whose last turn is long ago, the longest first,
// then the fullest. By fullness alone a shard that gets a row now and then would wait for the end of two others' backlog.
func (l *loop) ready() []*shard {
	var ready []*shard
	for _, sh := range l.shards {
		if sh.inflight == nil && l.hasWork(sh) {
			ready = append(ready, sh)
		}
	}
	limit := time.Now().Add(-overdue)
	turn := func(sh *shard) int64 { return min(sh.turn.Sub(limit), 0).Nanoseconds() }
	slices.SortFunc(ready, func(a, b *shard) int {
		return cmp.Or(cmp.Compare(turn(a), turn(b)), cmp.Compare(len(b.batch.Rows), len(a.batch.Rows)))
	})
	rows := 0
	for i, sh := range ready {
		if rows >= enough {
			return ready[:i]
		}
		rows += len(sh.batch.Rows)
	}
	return ready
}

// landed takes in that a transaction held these dead letters of clicks. Of kept ones, those that are too many are forgotten: who takes over a shard
// that has not passed them reads again.
func (l *loop) landed(dead []sink.DeadLetter) {
	if len(dead) == 0 {
		return
	}
	place := func(d *sink.DeadLetter) [2]int64 { return [2]int64{int64(d.Partition), d.Offset} }
	held := make(map[[2]int64]bool, len(dead))
	for i := range dead {
		held[place(&dead[i])] = true
	}
	l.under = slices.DeleteFunc(l.under, func(d sink.DeadLetter) bool { return held[place(&d)] })
	l.weighNotes()
	l.kept = append(l.kept, dead...)
	over, n := payloads(l.kept)-l.maxHeld(), 0
	for ; n < len(l.kept) && over > 0; n++ {
		d := &l.kept[n]
		over -= weight(d)
		l.core.ForgetNotes(d.Partition, d.Offset+1)
	}
	l.kept = slices.Delete(l.kept, 0, n)
}

func (l *loop) hasWork(sh *shard) bool {
	b := sh.batch
	switch {
	case len(b.Rows)+len(b.Dead)+len(b.Late)+len(l.dead) > 0, sh.HasCorrections(), sh.letting != nil:
		return true
	case l.targets.unwritten(l, sh):
		return true
	}
	return time.Since(sh.committed) >= positionsEvery
}

// takeBatch closes the shard's batch, with so many corrections. Invariant: the position is read after everything up to it is in the batch.
func (l *loop) takeBatch(sh *shard, corrections int) *sink.Batch {
	b := sh.batch
	taken := l.core.Take(sh.Shard, corrections)
	b.Corrections = append(b.Corrections, taken.Corrections...)
	l.s.p.engine.lateClicks.WithLabelValues("corrected").Add(float64(taken.Late))
	b.Claim, b.TopicID, b.Position, b.Clicks = &sh.claim, sh.topicID, taken.Position, l.s.window
	sh.inflight, sh.turn = b, time.Now()
	sh.batch, sh.spare = sh.spare, nil
	if sh.batch == nil {
		sh.batch = &sink.Batch{}
	}
	return b
}

// takeDone takes in the end of a transaction.
func (l *loop) takeDone(m *jobDone) error {
	l.idle++
	if m.err != nil {
		return m.err
	}
	l.committedAt = time.Now()
	first := m.job.batches[0].Dead
	l.landed(first[len(first)-m.job.dead:])
	for i, sh := range m.job.shards {
		b := m.job.batches[i]
		if l.shards[sh.Partition] != sh {
			continue // lost meanwhile
		}
		sh.at, sh.committed, sh.inflight = b.Position, time.Now(), nil
		if n := len(b.Rows); n > 0 {
			sh.time, sh.recordTime = b.Rows[n-1].Time, b.Rows[n-1].RecordTime
		}
		for _, offset := range b.Rejected {
			l.core.Reject(sh.Shard, offset)
		}
		for n := range b.Refused {
			l.core.Refused(sh.Shard, &b.Refused[n])
		}
		l.recycle(b)
		sh.held.settle(m.job.gone[i], &l.s.chunks)
		sh.spare = b
		if m.job.letting[i] {
			l.let(sh)
		}
	}
	l.checkTargets()
	return nil
}

func (l *loop) recycle(b *sink.Batch) {
	l.rows.give(b.Rows, l.share())
	clear(b.Dead)
	b.Rows, b.Corrections, b.Dead, b.Late, b.Rejected, b.Refused = nil, b.Corrections[:0], b.Dead[:0], b.Late[:0], b.Rejected[:0], nil
}

// spareRows is the memory of rows that are written, for whichever shard has the next ones: with many shards most have none.
type spareRows [][]event.Released

func (s *spareRows) take() []event.Released {
	n := len(*s) - 1
	if n < 0 {
		return nil
	}
	rows := (*s)[n]
	(*s)[n], *s = nil, (*s)[:n]
	return rows
}

// give keeps rows, but not those of a time when a shard's share was much larger.
func (s *spareRows) give(rows []event.Released, share int) {
	if rows == nil || cap(rows) > 2*share {
		return
	}
	clear(rows)
	*s = append(*s, rows[:0])
}

// commit is a committer: it writes one job after another.
func (s *session) commit(ctx context.Context) error {
	for {
		var j *job
		select {
		case <-ctx.Done():
			return nil
		case j = <-s.work:
		}
		began := time.Now()
		stop := s.p.engine.committing.start()
		result, err := s.write(ctx, j)
		stop()
		if err == nil {
			s.p.latest.written(j.batches)
			s.p.engine.committed(s.cfg.CheckoutsTopic, j.batches, &result, time.Since(began))
		}
		if ctx.Err() != nil {
			return nil
		}
		select {
		case s.control <- &jobDone{job: j, err: err}:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *session) write(ctx context.Context, j *job) (sink.Result, error) {
	r, err := s.p.sink.Commit(ctx, j.batches)
	var fenced *sink.FencedError
	var rewound *sink.RewoundError
	switch {
	case errors.As(err, &fenced):
		return r, &againError{cause: err, fenced: true}
	case errors.As(err, &rewound):
		return r, &againError{cause: err}
	case err != nil:
		return r, fmt.Errorf("write to Postgres: %w", err)
	}
	for i, sh := range j.shards {
		if !j.letting[i] {
			continue
		}
		if err := s.p.sink.Release(ctx, &sh.claim); err != nil {
			s.log.Warn("shard's row not let go; the next owner will end our sessions", "topic", s.cfg.CheckoutsTopic, "partition", sh.Partition, "offset", j.batches[i].Position.NextOffset, "cause", err)
		}
	}
	return r, nil
}
