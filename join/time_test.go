package join_test

import (
	"testing"
	"time"

	"firstclick/join"
	"firstclick/join/event"
	"firstclick/join/window"
)

const minute = 60 * second

// begun is a core that has read every clicks partition, with an event of time t in each, up to its
// end at time 0 of the clock, and owns checkouts partition 0, of which nothing waits.
func begun(t int64, partitions int) (*join.Core, *window.Window, *join.Shard) {
	win := window.New(0)
	core := join.NewCore(join.Config{Window: time.Hour, Lateness: 15 * time.Minute, OutOfOrder: 15 * time.Second}, win)
	ends := make([]int64, partitions)
	for p := range ends {
		ends[p] = 1
		core.AddClicks(int32(p), 0, event.NoTime, 0)
	}
	s, _ := core.AddShard(0, event.Position{LeaderEpoch: -1, Watermark: noTime, FinalBefore: noTime,
		ExpireBefore: noTime}, false)
	core.CheckoutsEnds([]int64{0}, 0)
	core.ClicksEnds(1, ends, nil, 0)
	for p := range ends {
		core.Clicks(read(int32(p), 1, t), 0)
	}
	core.CheckoutsEnds([]int64{0}, 0)
	core.ClicksEnds(2, ends, nil, 0)
	return core, win, s
}

// read is what a read of a partition brings that ends before offset next, with a click of time t.
func read(partition int32, next, t int64) *join.ClicksRead {
	var r join.ClicksRead
	r.Reset(partition)
	r.Next = next
	if t != noTime {
		r.Add(t, next-1)
	}
	return &r
}

func TestTheWatermarkFollowsTheClockOnlyWhileTheEndsAreKnown(t *testing.T) {
	const base = 1_800_000_000 * second
	t.Run("idle", func(t *testing.T) {
		core, _, _ := begun(base, 2)
		for now := int64(0); now <= minute; now += second / 2 {
			core.CheckoutsEnds([]int64{0}, now)
			core.ClicksEnds(3, []int64{1, 1}, nil, now)
			core.Tick(now)
		}
		if got := core.Watermark(); got != base+minute {
			t.Errorf("a minute at the ends moved the watermark by %v", time.Duration(got-base)*time.Microsecond)
		}
	})
	t.Run("Kafka is away for an hour, nothing was produced", func(t *testing.T) {
		core, _, _ := begun(base, 2)
		core.Tick(hour)
		core.CheckoutsEnds([]int64{0}, hour)
		core.ClicksEnds(3, []int64{1, 1}, nil, hour)
		if got := core.Watermark(); got != base+hour {
			t.Errorf("the watermark moved by %v", time.Duration(got-base)*time.Microsecond)
		}
	})
	// Cut off from Kafka, or stopped (SIGSTOP), for an hour in which others went on producing: what
	// they produced is not late.
	t.Run("Kafka is away for an hour, clicks and checkouts were produced", func(t *testing.T) {
		core, _, s := begun(base, 2)
		for now := int64(0); now <= hour; now += minute {
			core.Tick(now)
		}
		core.Clicks(read(0, 2, base+second), hour)    // still of before
		core.Clicks(read(0, 3, base+50*minute), hour) // a partition is read faster than the ends are asked for
		core.CheckoutsEnds([]int64{100}, hour+1)
		core.ClicksEnds(3, []int64{9, 9}, nil, hour+1) // now they are known
		core.Tick(hour + 2)
		if got := core.Watermark(); got > base+second {
			t.Errorf("the watermark moved by %v, past clicks that were not read",
				time.Duration(got-base)*time.Microsecond)
		}
		if s.Final() > base {
			t.Errorf("rows up to %v after the last event are final", time.Duration(s.Final()-base)*time.Microsecond)
		}
	})
	t.Run("an answer that lay about for an hour", func(t *testing.T) {
		core, _, _ := begun(base, 2)
		core.CheckoutsEnds([]int64{0}, second)
		core.ClicksEnds(3, []int64{1, 1}, nil, second) // asked at 1 s, told after an hour
		core.Tick(hour)
		if got := core.Watermark(); got > base+second {
			t.Errorf("the watermark moved by %v", time.Duration(got-base)*time.Microsecond)
		}
	})
}

// A transaction is answered before its markers are written. A partition that had nothing to read
// for an hour is not held for long by a transaction of this moment.
func TestAnIdlePartitionIsHeldFromWhenItsEndMoves(t *testing.T) {
	const base = 1_800_000_000 * second
	core, win, s := begun(base, 1)
	now := hour
	s.Fetched([]event.Checkout{{Offset: 0, Time: base + hour, Key: event.Key{Hi: 1}, ID: event.MakeID([]byte("k")),
		Barrier: 3}})
	var row *event.Released
	release := func() {
		released, err := core.Release(s, 10, now)
		if err != nil {
			t.Fatal(err)
		}
		if len(released) > 0 {
			row = &released[0]
		}
	}
	core.CheckoutsEnds([]int64{1}, now)
	core.ClicksEnds(3, []int64{2}, []int64{1}, now) // a click is there, its marker is not
	release()
	now += 14 * second
	core.CheckoutsEnds([]int64{1}, now)
	core.ClicksEnds(4, []int64{2}, []int64{1}, now)
	release()
	if row != nil {
		t.Fatal("released at once, past a transaction that had been answered")
	}
	win.Insert(event.Key{Hi: 1}, base+hour-second, event.MakeID([]byte("c")))
	core.Clicks(read(0, 2, base+hour-second), now)
	release()
	if row == nil || !row.HasClick {
		t.Errorf("released with %+v, want the click", row)
	}

	core, _, s = begun(base, 1)
	row, now = nil, hour
	s.Fetched([]event.Checkout{{Offset: 0, Time: base + hour, Key: event.Key{Hi: 1}, ID: event.MakeID([]byte("k")),
		Barrier: 3}})
	core.CheckoutsEnds([]int64{1}, now)
	core.ClicksEnds(3, []int64{2}, []int64{1}, now)
	now += 15 * second
	core.CheckoutsEnds([]int64{1}, now)
	core.ClicksEnds(4, []int64{2}, []int64{1}, now)
	release()
	if row == nil || core.OpenTxnReleases != 1 {
		t.Error("held for 15 s, and still not released")
	}
}

// A busy partition's end runs far ahead of an open transaction within its 15 s. Checkouts are not
// held for longer for that.
func TestAPartitionHeldByATransactionIsPassedOverHoweverFarItsEndIs(t *testing.T) {
	const base = 1_800_000_000 * second
	core, _, s := begun(base, 1)
	now := hour
	s.Fetched([]event.Checkout{{Offset: 0, Time: base + hour, Key: event.Key{Hi: 1}, ID: event.MakeID([]byte("k")),
		Barrier: 3}})
	released := func() int64 {
		if _, err := core.Release(s, 10, now); err != nil {
			t.Fatal(err)
		}
		return s.Next()
	}
	core.CheckoutsEnds([]int64{1}, now)
	core.ClicksEnds(3, []int64{2}, []int64{1}, now)
	now += 14 * second
	core.CheckoutsEnds([]int64{1}, now)
	core.ClicksEnds(4, []int64{20_000}, []int64{1}, now)
	if released() != 0 {
		t.Error("released before the transaction was open for 15 s")
	}
	now += second
	core.CheckoutsEnds([]int64{1}, now)
	core.ClicksEnds(5, []int64{21_000}, []int64{1}, now)
	if released() != 1 || core.OpenTxnReleases != 1 {
		t.Error("held for 15 s, and still not released")
	}
}

// While a shard's partition can't be read, nothing of the shard is final that may yet come late for
// no fault of its own, and the clicks for it stay. Only when memory is short they go: the other
// shards work on.
func TestFinalityOfAShardThatCannotBeRead(t *testing.T) {
	const base = 1_800_000_000 * second
	core, _, s := begun(base, 1)
	ask := func(gen uint64, now int64) { core.ClicksEnds(gen, []int64{1}, nil, now) }
	core.CheckoutsEnds([]int64{0}, 0)
	ask(3, 0)
	final := s.Final()
	core.CheckoutsEnds([]int64{-1}, 0)
	if s.Readable() || s.End() != 0 {
		t.Errorf("readable: %v, end %d", s.Readable(), s.End())
	}
	for now := int64(0); now <= hour; now += second {
		ask(uint64(4+now/second), now)
	}
	if core.Watermark() <= base+30*minute || s.Final() != final {
		t.Errorf("final before %d, want %d as before; the watermark is %d", s.Final(), final, core.Watermark())
	}
	core.ShortOfMemory(true)
	core.Tick(hour)
	if want := core.Watermark() - 15*minute - 15*second; s.Final() != want {
		t.Errorf("short of memory, final before %d, want %d", s.Final(), want)
	}
	core.ShortOfMemory(false)
	core.CheckoutsEnds([]int64{5}, 2*hour)
	before := s.Final()
	ask(10_000, 2*hour)
	if !s.Readable() || s.Final() != before {
		t.Errorf("readable: %v, final before %d: there are checkouts to be read", s.Readable(), s.Final())
	}
}

// The ends of the checkouts are asked for aside. After a stop of the process those of the clicks
// may be known again, and theirs not: checkouts of meanwhile may be waiting.
func TestNothingIsFinalByOldEndsOfTheCheckouts(t *testing.T) {
	const base = 1_800_000_000 * second
	core, _, s := begun(base, 1)
	core.CheckoutsEnds([]int64{0}, 0)
	core.ClicksEnds(3, []int64{1}, nil, 0)
	before := s.Final()
	core.ClicksEnds(4, []int64{1}, nil, hour)
	core.ClicksEnds(5, []int64{1}, nil, hour+second)
	if core.Watermark() <= base || s.Final() != before {
		t.Errorf("final before %d, as it was before the stop: %v; the watermark is %d", s.Final(),
			s.Final() == before, core.Watermark())
	}
	core.CheckoutsEnds([]int64{0}, hour+second)
	core.Tick(hour + second)
	if want := core.Watermark() - 15*minute - 15*second; s.Final() != want {
		t.Errorf("final before %d, want %d", s.Final(), want)
	}
}

// Our clock is hours behind while a backlog is read, as that of a machine whose zone is taken for
// UTC. The backlog agrees with it; what comes then does not, and is not far ahead for that: a
// checkout is corrected, a click is read again.
func TestAClockBehindAgreesWithABacklogAndIsNotBelievedAfterIt(t *testing.T) {
	const live = 1_800_000_000 * second
	for _, apart := range []int64{second / 100, second, 15 * second} { // between clicks
		win := window.New(0)
		core := join.NewCore(join.Config{Window: time.Hour, Lateness: 15 * time.Minute, OutOfOrder: 15 * time.Second,
			MaxFutureSkew: 5 * time.Minute}, win)
		core.AddClicks(0, 0, event.NoTime, 0)
		s, _ := core.AddShard(0, event.Position{LeaderEpoch: -1, Watermark: noTime, FinalBefore: noTime,
			ExpireBefore: noTime}, false)
		wall, offset := live-2*hour, int64(0)
		core.SetClock(wall, 0)
		noted := 0
		for at := live - 12*hour; at < live; { // a day's clicks, by reads of as many as come within a minute
			var r join.ClicksRead
			r.Reset(0)
			r.SetLimits(core.LimitsAt(wall, 0))
			for end := at + max(minute, apart); at < end; at += apart {
				r.Add(at, offset)
				if r.IsCandidate(at, core.Frontier(), core.LateBefore(), true) {
					r.Candidates = append(r.Candidates, join.Candidate{Key: event.Key{Hi: uint64(offset)}, Time: at,
						ID: event.MakeID([]byte("c")), Offset: offset})
				}
				offset++
				r.Next = offset
			}
			late, _ := core.Clicks(&r, 0)
			noted += len(late)
		}
		if noted > 0 {
			t.Errorf("a click every %v: %d of %d are noted as far ahead", time.Duration(apart)*time.Microsecond,
				noted, offset)
		}
		s.Fetched([]event.Checkout{{Offset: 0, Time: live - second, Key: event.Key{Hi: 1 << 60},
			ID: event.MakeID([]byte("k")), Barrier: 1}})
		core.ClicksEnds(1, []int64{offset}, nil, 0)
		if released, err := core.Release(s, 10, 0); len(released) != 1 || err != nil || released[0].Final {
			t.Errorf("a click every %v: released %+v, %v; want the checkout, and not as far ahead",
				time.Duration(apart)*time.Microsecond, released, err)
		}
	}
}
