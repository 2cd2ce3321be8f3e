package engine

import (
	"slices"

	"firstclick/join/event"
	"firstclick/pipeline/chunk"
)

// clickLetters are the dead letters of clicks. Any shard's transaction may write them.
//
// Invariant: a shard's transaction that passes a click holds its dead letter, unless Postgres is
// known to have it. So each transaction holds all letters that are waiting or in flight, for
// another one in flight may fail; and committed ones are retained until every shard is known to
// have passed their clicks, for Postgres may lose a transaction that it had confirmed.
type clickLetters struct {
	waiting  []event.DeadLetter // for the next transaction
	inFlight []event.DeadLetter // in transactions that have not ended
	retained []event.DeadLetter // committed
	bytes    int64              // of those waiting and in flight
}

func (l *clickLetters) add(dead []event.DeadLetter) {
	l.waiting = append(l.waiting, dead...)
	l.bytes += lettersSize(dead)
}

func (l *clickLetters) len() int { return len(l.waiting) + len(l.inFlight) }

// take gives the letters for a transaction.
func (l *clickLetters) take() []event.DeadLetter {
	for i := range l.inFlight {
		l.inFlight[i].Again = true
	}
	l.inFlight, l.waiting = append(l.inFlight, l.waiting...), nil
	return l.inFlight
}

// committed takes in that a transaction with these letters was committed. It gives those that are
// retained no longer, past a number of bytes: a shard that has not passed them reads them again.
func (l *clickLetters) committed(dead []event.DeadLetter, most int64) (forgotten []event.DeadLetter) {
	if len(dead) == 0 {
		return nil
	}
	type place struct {
		partition int32
		offset    int64
	}
	done := make(map[place]bool, len(dead))
	for i := range dead {
		done[place{dead[i].Partition, dead[i].Offset}] = true
	}
	l.inFlight = slices.DeleteFunc(l.inFlight, func(d event.DeadLetter) bool {
		return done[place{d.Partition, d.Offset}]
	})
	l.retained = append(l.retained, dead...)
	n := 0
	for over := lettersSize(l.retained) - most; n < len(l.retained) && over > 0; n++ {
		over -= letterSize(&l.retained[n])
	}
	forgotten = slices.Clone(l.retained[:n])
	l.retained = slices.Delete(l.retained, 0, n)
	l.count()
	return forgotten
}

// restore lets retained letters be written again that a shard with these stored offsets has not
// passed: Postgres may have lost their transaction.
func (l *clickLetters) restore(clicksNext []int64) {
	l.retained = slices.DeleteFunc(l.retained, func(d event.DeadLetter) bool {
		missing := d.Offset >= at(clicksNext, int(d.Partition))
		if missing {
			d.Again = true
			l.waiting = append(l.waiting, d)
		}
		return missing
	})
	l.count()
}

// passed drops the letters of clicks that every shard has passed. Those waiting are dropped too: an
// instance without shards cannot write them.
func (l *clickLetters) passed(next []int64) {
	passed := func(d event.DeadLetter) bool { return int(d.Partition) < len(next) && d.Offset < next[d.Partition] }
	l.waiting = slices.DeleteFunc(l.waiting, passed)
	l.retained = slices.DeleteFunc(l.retained, passed)
	l.count()
}

func (l *clickLetters) count() { l.bytes = lettersSize(l.waiting) + lettersSize(l.inFlight) }

// lettersSize is what dead letters take, in bytes.
func lettersSize(dead []event.DeadLetter) (n int64) {
	for i := range dead {
		n += letterSize(&dead[i])
	}
	return n
}

func letterSize(d *event.DeadLetter) int64 { return max(int64(len(d.Payload)), chunk.LeastRecord) }
