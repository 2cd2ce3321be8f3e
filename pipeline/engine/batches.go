package engine

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"firstclick/join"
	"firstclick/join/event"
	"firstclick/pipeline/ending"
	"firstclick/pipeline/sink"
)

// release moves the checkouts that need not wait any longer from the queues into the batches.
func (e *Engine) release() error {
	e.setClock()
	now, share := e.Clock.Now(), e.shards.share()
	for _, sh := range e.shards {
		room := share - len(sh.batch.Rows) - len(sh.batch.Dead)
		if room <= 0 || sh.handBack != nil || sh.Queued() == 0 {
			continue
		}
		released, err := e.Core.Release(sh.Shard, room, now)
		var lost *join.LostClicksError
		if errors.As(err, &lost) {
			return ending.Gapf(e.Group.ClicksTopic, lost.Partition, "the log begins at offset %d, "+
				"and the checkout at %s[%d] offset %d (time %v) needs clicks from before",
				lost.Started, e.Group.CheckoutsTopic, sh.Partition, lost.Checkout, time.UnixMicro(lost.Time).UTC())
		}
		if err != nil {
			return err
		}
		sh.released += len(released)
		for i := range released {
			r := &released[i]
			switch {
			case r.Dead != nil:
				sh.batch.Dead = append(sh.batch.Dead, *r.Dead)
			case r.Skip: // a control record: only the position moves
			default:
				if n := len(e.rows); sh.batch.Rows == nil && n > 0 {
					sh.batch.Rows, e.rows[n-1], e.rows = e.rows[n-1], nil, e.rows[:n-1]
				}
				sh.batch.Rows = append(sh.batch.Rows, *r)
				if r.Final {
					sh.late(e.lateCheckout(sh, r.Checkout))
				}
			}
		}
	}
	return nil
}

// lateCheckout notes a checkout that came too late to be corrected, or is dated too far ahead.
func (e *Engine) lateCheckout(sh *shard, k *event.Checkout) sink.Late {
	return sink.Late{
		Topic: e.Group.CheckoutsTopic, TopicID: sh.topicID, Partition: sh.Partition, Offset: k.Offset,
		Kind: sink.LateCheckout, EventID: k.ID.String(), User: k.User, Product: string(k.Product()), Time: k.Time,
	}
}

// enoughRows make a transaction large enough. With more shards in it, fewer transactions would run
// side by side; with fewer rows, each row costs more reads of the index.
const enoughRows = 8_192

// commitSet is one transaction: the batches of some shards.
type commitSet struct {
	shards   []*shard
	batches  []*sink.Batch
	released []int              // by batch: records whose memory is free afterwards
	handBack []bool             // by batch: the shard's claim is released afterwards
	letters  []event.DeadLetter // of clicks, in the first batch
}

// commitResult is how a transaction ended.
type commitResult struct {
	set *commitSet
	err error
}

// commitReady gives idle committers what is ready. There is no timer: what has come when a
// transaction ends is the next one.
func (e *Engine) commitReady() {
	for e.idle > 0 {
		ready := e.ready()
		if len(ready) == 0 {
			return
		}
		set := &commitSet{}
		corrections := maxCorrections
		for _, sh := range ready {
			b := sh.batch
			// Invariant: the position is read after everything up to it is in the batch.
			taken := e.Core.Take(sh.Shard, max(corrections, maxCorrections/16))
			b.Corrections = append(b.Corrections, taken.Corrections...)
			corrections -= len(b.Corrections)
			e.Metrics.lateClicks.WithLabelValues("corrected").Add(float64(taken.Late))
			b.Claim, b.TopicID, b.Position, b.Clicks = &sh.claim, sh.topicID, taken.Position, e.Window
			set.shards = append(set.shards, sh)
			set.batches = append(set.batches, b)
			set.released = append(set.released, sh.released)
			set.handBack = append(set.handBack, sh.handBack != nil)
			sh.inFlight, sh.turn, sh.released = b, time.Now(), 0
			sh.batch, sh.spare = cmp.Or(sh.spare, &sink.Batch{}), nil
		}
		set.letters = slices.Clone(e.letters.take())
		set.batches[0].Dead = append(set.batches[0].Dead, set.letters...)
		e.idle--
		e.work <- set // does not block: it has room for every committer
	}
}

// overdue is how long a shard may wait behind fuller ones.
const overdue = 250 * time.Millisecond

// ready are the shards of the next transaction, until there are enough rows: those whose last turn
// is long ago, the longest first, then the fullest. By fullness alone a shard that gets a row now
// and then would wait for the end of two others' backlog.
func (e *Engine) ready() []*shard {
	var ready []*shard
	for _, sh := range e.shards {
		if sh.inFlight != nil {
			continue
		}
		b := sh.batch
		// A run until caught up does not wait until the position is due. While a shard is restored,
		// no position of clicks is stored.
		unwritten := e.UntilCaughtUp && !sh.Restoring() && !e.targets.reached(int(sh.Partition), &sh.at) &&
			sh.Next() >= at(e.targets.checkouts, int(sh.Partition)) && e.Core.ReadUpTo(e.targets.clicks)
		if len(b.Rows)+len(b.Dead)+len(b.Late)+len(e.letters.waiting) > 0 || sh.HasCorrections() || unwritten ||
			sh.handBack != nil || time.Since(sh.committed) >= positionsEvery {
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
		if rows >= enoughRows {
			return ready[:i]
		}
		rows += len(sh.batch.Rows)
	}
	return ready
}

// takeCommitted takes in the end of a transaction.
func (e *Engine) takeCommitted(m *commitResult) error {
	e.idle++
	if m.err != nil {
		return m.err
	}
	e.status.committedAt = time.Now()
	for _, d := range e.letters.committed(m.set.letters, e.pressure.most()) {
		e.Core.ForgetNotes(d.Partition, d.Offset+1)
	}
	for i, sh := range m.set.shards {
		b := m.set.batches[i]
		if e.shards[sh.Partition] != sh {
			continue // lost meanwhile
		}
		sh.at, sh.committed, sh.inFlight = b.Position, time.Now(), nil
		if n := len(b.Rows); n > 0 {
			sh.time, sh.recordTime = b.Rows[n-1].Time, b.Rows[n-1].RecordTime
		}
		for _, offset := range b.Rejected {
			e.Core.Reject(sh.Shard, offset)
		}
		for n := range b.Refused {
			e.Core.Refused(sh.Shard, &b.Refused[n])
		}
		if b.Rows != nil && cap(b.Rows) <= 2*e.shards.share() { // not those of a time with a much larger share
			clear(b.Rows)
			e.rows = append(e.rows, b.Rows[:0])
		}
		clear(b.Dead)
		*b = sink.Batch{Corrections: b.Corrections[:0], Dead: b.Dead[:0], Late: b.Late[:0], Rejected: b.Rejected[:0]}
		sh.held.Drop(m.set.released[i], e.Chunks)
		sh.spare = b
		if m.set.handBack[i] {
			e.drop(sh.Partition)
			sh.log.Info("shard handed back", "offset", sh.at.NextOffset)
			r := sh.handBack
			r.partitions = slices.DeleteFunc(r.partitions, func(p int32) bool { return p == sh.Partition })
			if len(r.partitions) == 0 {
				close(r.done)
			}
		}
	}
	e.checkTargets()
	return nil
}
