package engine

import (
	"slices"

	"firstclick/join/event"
	"firstclick/pipeline/sink"
)

// stored is what Postgres holds of a group: where it began, and its shards.
type stored struct {
	group  *sink.Progress
	shards []sink.State
}

// at is the offset of a partition in a list; one that was added later begins at 0.
func at(offsets []int64, p int) int64 {
	if p < len(offsets) {
		return offsets[p]
	}
	return 0
}

// allClaimed says whether every partition that the group began with was ever claimed.
func (s stored) allClaimed() bool {
	n := 0
	for i := range s.shards {
		if int(s.shards[i].Claim.Partition) < len(s.group.CheckoutsStart) {
			n++
		}
	}
	return n >= len(s.group.CheckoutsStart)
}

// clicks gives the least restore point of a clicks partition over the shards, and the least offset
// whose click may not have had its effect everywhere. While some shard was never claimed, both are
// where the group began.
func (s stored) clicks(p int) (restore, next int64) {
	first := at(s.group.ClicksStart, p)
	if !s.allClaimed() {
		return first, first
	}
	restore, next = event.Forever, event.Forever
	of := func(offsets []int64) int64 {
		if p < len(offsets) {
			return offsets[p]
		}
		return first
	}
	for i := range s.shards {
		restore = min(restore, of(s.shards[i].Position.ClicksRestore))
		next = min(next, of(s.shards[i].Position.ClicksNext))
	}
	return restore, next
}

// latestClick is a time before which every click of a partition lies that all shards have read,
// those that Kafka no longer has included.
func (s stored) latestClick(p int) int64 {
	latest := event.Forever
	for i := range s.shards {
		times := s.shards[i].Position.ClicksLatest
		if p < len(times) && times[p] < latest {
			latest = times[p] + 1 // to the microsecond; where there was no click, none is missing
		}
	}
	return latest
}

// final is the greatest time before which the rows of some shard are final.
func (s stored) final() int64 {
	final := event.NoTime
	for i := range s.shards {
		final = max(final, s.shards[i].Position.FinalBefore)
	}
	return final
}

// watermark is the least one of the shards; event.NoTime: a shard has none. A shard keeps to its
// own where that is later.
func (s stored) watermark() int64 {
	if len(s.shards) == 0 {
		return event.NoTime
	}
	w := event.Forever
	for i := range s.shards {
		w = min(w, s.shards[i].Position.Watermark)
	}
	return w
}

// fresh is where a shard begins that is not stored yet: where the group began. A partition that was
// added later begins at 0, with the clicks that the others still need.
func (s stored) fresh(p int32) event.Position {
	begin := s.group
	pos := event.Position{
		LeaderEpoch: -1, Watermark: event.NoTime, FinalBefore: event.NoTime, ExpireBefore: event.NoTime,
		ClicksNext: begin.ClicksStart, ClicksRestore: begin.ClicksStart,
	}
	for range begin.ClicksStart {
		pos.ClicksLatest = append(pos.ClicksLatest, event.NoTime)
	}
	pos.NextOffset = at(begin.CheckoutsStart, int(p))
	pos.OpenOffset = pos.NextOffset
	if int(p) >= len(begin.CheckoutsStart) {
		for i := range s.shards {
			o := &s.shards[i].Position
			if i == 0 || o.ExpireBefore < pos.ExpireBefore {
				pos.ClicksNext, pos.ClicksRestore, pos.ClicksLatest = o.ClicksNext, o.ClicksRestore, o.ClicksLatest
				pos.Watermark, pos.FinalBefore, pos.ExpireBefore = o.Watermark, o.FinalBefore, o.ExpireBefore
			}
		}
	}
	return pos
}

// lastRead gives, by clicks partition, the leader epoch of the last click that some shard has
// stored as read, or -1, and the offset after it.
func (s stored) lastRead(partitions int) (epochs []int32, next []int64) {
	epochs, next = slices.Repeat([]int32{-1}, partitions), make([]int64, partitions)
	for i := range s.shards {
		pos := &s.shards[i].Position
		for p := range min(partitions, len(pos.ClicksNext), len(pos.ClicksEpoch)) {
			if pos.ClicksEpoch[p] >= 0 && pos.ClicksNext[p] > next[p] {
				epochs[p], next[p] = pos.ClicksEpoch[p], pos.ClicksNext[p]
			}
		}
	}
	return epochs, next
}
