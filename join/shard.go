package join

import (
	"slices"

	"firstclick/join/event"
	"firstclick/join/open"
)

// Shard is one checkouts partition of the group as its owner holds it: the release queue, the open
// checkouts, and how far they are.
type Shard struct {
	Partition int32

	// Corrections are for the next transaction, beside those for late clicks: see Restore and
	// Refused.
	Corrections []event.Correction

	queue   []*event.Checkout
	head    int
	fetched int64 // the next offset to be fetched
	next    int64 // the next offset to be released
	end     int64 // the newest end offset; -1: none yet
	epoch   int32

	unreadable bool // the partition's end could not be learnt the last time

	open        *open.Checkouts
	rejected    map[int64]struct{} // offsets of open checkouts that did not become rows
	cleanAt     int                // how many of them are looked through for those that are open no more
	newest      times              // of the released checkouts whose times decide
	maxReleased int64              // the event time that they have reached
	final       int64              // click columns of rows before it do not move
	dropped     int64              // open checkouts before it were dropped

	restoring bool // open checkouts of an earlier owner are still being read
	stored    event.Position
	taken     event.Position  // that the last transaction stores
	sweep     *event.Position // that may be stored once the marked checkouts are looked up; nil: none is under way
}

// AddShard takes over a checkouts partition at a stored position. restoring: checkouts in
// [OpenOffset, NextOffset) are still to be read again (see [Core.Restore]). Until
// [Core.RestoreDone] the restore points stay where they are. It returns the clicks read before the
// takeover that came too late for the shard and whose notes may have died with its last owner.
func (c *Core) AddShard(partition int32, at event.Position, restoring bool) (s *Shard, late []Candidate) {
	s = &Shard{
		Partition: partition, fetched: at.NextOffset, next: at.NextOffset, end: -1, epoch: at.LeaderEpoch,
		open:     open.New(c.seed),
		rejected: map[int64]struct{}{}, maxReleased: event.NoTime, final: at.FinalBefore, dropped: event.NoTime,
		restoring: restoring, stored: at, taken: at,
	}
	if at.FinalBefore != event.NoTime {
		s.maxReleased = at.FinalBefore
		raise(&c.lateBefore, at.FinalBefore)
	}
	for i := range c.late.list {
		if k := &c.late.list[i]; s.tooLate(k) {
			late = append(late, *k)
		}
	}
	for i := range c.far.list {
		if k := &c.far.list[i]; at.NeedsClick(k.Partition, k.Offset) {
			late = append(late, *k)
		}
	}
	c.shards = append(c.shards, s)
	slices.SortFunc(c.shards, func(a, b *Shard) int { return int(a.Partition) - int(b.Partition) })
	c.version++
	return s, late
}

// DropShard forgets a shard.
func (c *Core) DropShard(partition int32) {
	c.shards = slices.DeleteFunc(c.shards, func(s *Shard) bool { return s.Partition == partition })
}

// Shard returns an owned shard, or nil.
func (c *Core) Shard(partition int32) *Shard {
	for _, s := range c.shards {
		if s.Partition == partition {
			return s
		}
	}
	return nil
}

// Shards returns the owned shards by partition. The slice is the core's own.
func (c *Core) Shards() []*Shard { return c.shards }

// Fetched appends records to the release queue, in offset order. Their memory must stay as it is
// until they are released. Records below the shard's position, which an earlier assignment left
// behind, are dropped: the first so many.
func (s *Shard) Fetched(records []event.Checkout) (dropped int) {
	if s.head > 0 && s.head >= len(s.queue)/2 {
		n := copy(s.queue, s.queue[s.head:])
		clear(s.queue[n:])
		s.queue, s.head = s.queue[:n], 0
	}
	for i := range records {
		if records[i].Offset < s.fetched {
			dropped++
			continue
		}
		s.queue = append(s.queue, &records[i])
		s.fetched = records[i].Offset + 1
	}
	return dropped
}

// Unfetched says whether the partition is known to hold records that were not fetched yet.
func (s *Shard) Unfetched() bool { return s.fetched < s.end }

// Queued is the number of records that wait for release.
func (s *Shard) Queued() int { return len(s.queue) - s.head }

// firstQueued is the first checkout that waits, or nil.
func (s *Shard) firstQueued() *event.Checkout {
	for _, k := range s.queue[s.head:] {
		if !k.Skip {
			return k
		}
	}
	return nil
}

// Next is the offset of the next record to be released.
func (s *Shard) Next() int64 { return s.next }

// End is the newest end offset of the partition; -1: none is known yet.
func (s *Shard) End() int64 { return s.end }

// Readable says whether the newest end offset could be learnt.
func (s *Shard) Readable() bool { return !s.unreadable }

// Final is the time before which the click columns of the shard's rows do not move. NoTime: nothing
// is final yet.
func (s *Shard) Final() int64 { return s.final }

// MaxReleased is the event time that the released checkouts have reached. NoTime: none yet.
func (s *Shard) MaxReleased() int64 { return s.maxReleased }

// Open is the number of checkouts that are not final, and the bytes they take.
func (s *Shard) Open() (n int, bytes int64) { return s.open.Len(), s.open.Bytes() }

func (s *Shard) behind() bool {
	return s.Queued() > 0 || s.end < 0 || s.fetched < s.end || s.unreadable
}

// corrected is the time before which rows are final and wait for no correction either.
func (s *Shard) corrected() int64 { return min(s.final, s.open.Marked()) }

// expireBefore is the time before which the shard needs no click.
func (s *Shard) expireBefore(window int64) int64 {
	if s.final == event.NoTime {
		return event.NoTime
	}
	if s.restoring { // the checkouts of the earlier owner still need their clicks
		return s.stored.ExpireBefore
	}
	return s.corrected() - window
}

// Reject forgets a released checkout that did not become a row: its checkout_id has a row of other
// content, or Postgres refused it. No later click may move the row that stands in its place.
func (c *Core) Reject(s *Shard, offset int64) {
	s.rejected[offset] = struct{}{}
	s.Corrections = slices.DeleteFunc(s.Corrections, func(k event.Correction) bool { return k.Offset == offset })
}

// Refused takes in what became of a checkout whose first click Postgres refused. The click stays in
// the window: another checkout may have it. Invariant: a refused click hides no other. Later clicks
// are compared with the click that the row has. A click that came meanwhile, and was compared with
// the refused one, is asserted with the next transaction.
func (c *Core) Refused(s *Shard, r *event.Refusal) {
	s.open.SetClick(r)
	if r.Time < s.taken.FinalBefore { // final when the transaction was made: what came since is noted as late
		return
	}
	t, id, ok := c.win.First(r.Key, r.Time-c.window, r.Time)
	for first := (event.ClickAt{Time: t, ID: id}); ok; t, id, ok = c.win.After(r.Key, t, id, r.Time) {
		click := event.ClickAt{Time: t, ID: id}
		if r.HasClick && !click.Less(r.Took) {
			return
		}
		if !slices.Contains(r.Tried, click) {
			s.Corrections = append(s.Corrections, event.Correction{Offset: r.Offset, Key: r.Key, Time: r.Time,
				Checkout: r.ID, Click: first.ID, ClickTime: first.Time})
			return
		}
	}
}
