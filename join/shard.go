package join

import "slices"

// Shard is one checkouts partition of the group as its owner holds it: the release queue, the recent checkouts, and how far
// they are.
type Shard struct {
	Partition int32

	// Reasserted are corrections of rows that an earlier owner released, for the next transaction: see Recall and Take.
	Reasserted []Correction

	queue   []Pending
	head    int
	fetched int64 // the next offset to be fetched
	next    int64 // the next offset to be released
	end     int64 // the newest end asked for; -1: none yet
	epoch   int32

	unreadable bool // the partition's end could not be learnt the last time

	recents     *Recents
	rejected    map[int64]struct{} // offsets of recent checkouts that did not become rows
	sweptAt     int                // how many of them are looked through for those that are recent no more
	newest      times              // of the checkouts released and believed
	maxReleased int64              // the event time that they have reached
	final       int64              // click columns of rows before it do not move
	expired     int64              // up to where recents were swept

	restoring bool // recent checkouts of an earlier owner are still being read
	stored    Position
	taken     Position  // that the last transaction stores
	sweep     *Position // that may be stored once the sweep of marked checkouts is done; nil: none is under way
}

// Correction moves a row to an earlier click.
type Correction struct {
	Offset    int64 // of the checkout, in the shard's partition
	Key       Key
	Time      int64 // the checkout's
	Checkout  ID
	Click     ID
	ClickTime int64
}

// Position is what a transaction stores of a shard beside its rows. Offsets are Kafka's: the next record to read.
type Position struct {
	NextOffset    int64
	RecentOffset  int64
	LeaderEpoch   int32
	ClicksNext    []int64
	ClicksRestore []int64
	ClicksEpoch   []int32
	ClicksLatest  []int64 // the greatest event time of a click below ClicksNext, far ones aside; NoTime: none
	Watermark     int64
	FinalBefore   int64
	ExpireBefore  int64
}

// clicksNext is the offset in a clicks partition below which every click has had its effect.
func (at *Position) clicksNext(p int) int64 {
	if p < len(at.ClicksNext) {
		return at.ClicksNext[p]
	}
	return 0
}

// Pending is a fetched record of the checkouts topic on its way to release.
type Pending struct {
	Offset int64
	Epoch  int32
	Time   int64
	Key    Key
	User   int32
	ID     ID
	Need   uint64 // the first ask for the clicks' ends that was begun after the fetch
	Skip   bool   // nothing to release: a control record, or one that Record says what to do with

	Record any // the owner's: carried, never looked at
}

// AddShard takes over a checkouts partition at a stored position. restoring: checkouts in [RecentOffset, NextOffset) are still
// to be read again (see [Core.Recall]); until [Core.Restored] the restore points stay where they are. late is called for each click
// read before the takeover that came too late for the shard and whose note may have died with its last owner.
func (c *Core) AddShard(partition int32, at Position, restoring bool, late LateFunc) *Shard {
	s := &Shard{
		Partition: partition, fetched: at.NextOffset, next: at.NextOffset, end: -1, epoch: at.LeaderEpoch, recents: NewRecents(c.win.seed),
		rejected: map[int64]struct{}{}, maxReleased: NoTime, final: at.FinalBefore, expired: NoTime, restoring: restoring, stored: at, taken: at,
	}
	if at.FinalBefore != NoTime {
		s.maxReleased = at.FinalBefore
		c.raiseLate(at.FinalBefore)
	}
	for i := range c.kept.list {
		if k := &c.kept.list[i]; s.tooLate(k.partition, &k.Candidate) {
			late(s, k.partition, &k.Candidate)
		}
	}
	for i := range c.farClicks {
		if k := &c.farClicks[i]; at.needs(int(k.partition), k.Offset) {
			late(s, k.partition, &k.Candidate)
		}
	}
	c.shards = append(c.shards, s)
	slices.SortFunc(c.shards, func(a, b *Shard) int { return int(a.Partition) - int(b.Partition) })
	c.version++
	return s
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

// Fetched appends records to the release queue, in offset order. Records below the shard's position, which an earlier
// assignment left behind, are dropped: the first so many of records.
func (s *Shard) Fetched(records []Pending) (dropped int) {
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
		s.queue = append(s.queue, records[i])
		s.fetched = records[i].Offset + 1
	}
	return dropped
}

// Unfetched says whether the partition is known to hold records that were not fetched yet.
func (s *Shard) Unfetched() bool { return s.fetched < s.end }

// Queued is the number of records that wait for release.
func (s *Shard) Queued() int { return len(s.queue) - s.head }

// HeadTime is the event time of the first checkout that waits. ok is false while none does.
func (s *Shard) HeadTime() (t int64, ok bool) {
	for i := s.head; i < len(s.queue); i++ {
		if !s.queue[i].Skip {
			return s.queue[i].Time, true
		}
	}
	return 0, false
}

// Next is the offset of the next record to be released.
func (s *Shard) Next() int64 { return s.next }

// End is the newest end of the partition asked for; -1 while none was.
func (s *Shard) End() int64 { return s.end }

// Readable says whether the newest end could be learnt.
func (s *Shard) Readable() bool { return !s.unreadable }

// Final is the time before which the click columns of the shard's rows do not move. NoTime: nothing is final yet.
func (s *Shard) Final() int64 { return s.final }

// MaxReleased is the event time that the released checkouts have reached. NoTime: none yet.
func (s *Shard) MaxReleased() int64 { return s.maxReleased }

// Recents is the number of checkouts that are not final, and the bytes they take.
func (s *Shard) Recents() (n int, bytes int64) { return s.recents.Len(), s.recents.Bytes() }

func (s *Shard) behind() bool {
	return s.Queued() > 0 || s.end < 0 || s.fetched < s.end || s.unreadable
}

func (s *Shard) expireBefore(window int64) int64 {
	if s.final == NoTime {
		return NoTime
	}
	if s.restoring { // what the checkouts of the earlier owner need stays
		return s.stored.ExpireBefore
	}
	return s.settled() - window
}

// settled is the time before which rows are final and wait for no correction either.
func (s *Shard) settled() int64 { return min(s.final, s.recents.Marked()) }

// Recall takes in checkouts that an earlier owner released, as read again from Kafka, and re-asserts the best click of each: a
// correction may have died between two shards' transactions. The clicks up to the stored position must have been read
// (see [Core.ReadUpTo]). far are the offsets of those that are dated so far ahead of our clock that no correction waits for them: to be noted.
func (c *Core) Recall(s *Shard, records []Pending) (far []int64) {
	for i := range records {
		k := &records[i]
		if k.Skip || k.Offset >= s.stored.NextOffset || k.Time < s.final {
			continue
		}
		if k.Time > c.clock.far {
			far = append(far, k.Offset)
			continue
		}
		c.raiseFrontier(k.Time)
		r := Recent{Time: k.Time, Offset: k.Offset, ID: k.ID}
		r.ClickTime, r.Click, r.HasClick = c.win.First(k.Key, k.Time-c.window, k.Time)
		s.recents.Add(k.Key, r)
		if r.HasClick {
			s.Reasserted = append(s.Reasserted, Correction{Offset: k.Offset, Key: k.Key, Time: k.Time, Checkout: k.ID, Click: r.Click, ClickTime: r.ClickTime})
		}
	}
	return far
}

// Restored says that all recent checkouts of the earlier owner have been recalled: the restore points may move on, with the
// transaction that holds their corrections or a later one.
func (c *Core) Restored(s *Shard) {
	s.restoring = false
	c.settle(s)
}

// Reject forgets a released checkout that did not become a row: its checkout_id has a row of other content, or Postgres refused
// it. No later click may move the row that stands in its place.
func (c *Core) Reject(s *Shard, offset int64) {
	s.rejected[offset] = struct{}{}
	s.Reasserted = slices.DeleteFunc(s.Reasserted, func(k Correction) bool { return k.Offset == offset })
}

// Restoring says whether recent checkouts of an earlier owner are still being read.
func (s *Shard) Restoring() bool { return s.restoring }

// ReadUpTo says whether every clicks partition has been read up to the given positions.
func (c *Core) ReadUpTo(positions []int64) bool {
	for p, want := range positions {
		if p >= len(c.parts) || c.parts[p].next < want {
			return false
		}
	}
	return true
}

// Covers says whether a shard stored at this position can be taken over with what was read so far: whether the window reaches back
// far enough, and every click that its last owner may have died with, too late for the shard's rows, was seen to be too late here.
func (c *Core) Covers(at Position) bool {
	if floor := c.win.Stats().Floor; floor != NoTime && (at.ExpireBefore == NoTime || at.ExpireBefore < floor) {
		return false
	}
	for p, want := range at.ClicksRestore {
		if p < len(c.parts) && c.parts[p].started > want && !c.parts[p].lost {
			return false
		}
	}
	for p := range c.parts { // invariant: what is forgotten is not asked for, also where Postgres failed over and lost that it was stored
		if c.parts[p].forgotten > at.clicksNext(p) {
			return false
		}
	}
	for p := range c.parts {
		if f := c.parts[p].farForgotten; f > 0 && at.needs(p, f-1) {
			return false
		}
	}
	return !c.owes(at)
}
