package pipeline

import (
	"testing"

	"firstclick/join/event"
	"firstclick/pipeline/sink"
)

// A shard comes that has not passed a click whose dead letter has landed: Postgres may have lost the transaction, to a standby that lagged. The letter
// is written again, or the click read again where there were too many to keep.
func TestDeadLettersOfAShardThatWentBack(t *testing.T) {
	const offset, large = 5, 1 << 20
	stands := func(next int64) *sink.State {
		return &sink.State{Position: event.Position{ClicksNext: []int64{next}, Watermark: event.NoTime, FinalBefore: event.NoTime, ExpireBefore: event.NoTime}}
	}
	for _, c := range []struct {
		name         string
		later        int   // large dead letters that land after it
		known        int64 // what all shards are known to have passed then
		next         int64 // of the shard that comes
		owed, covers bool
	}{
		{"not passed", 0, 0, offset, true, true},
		{"passed", 0, 0, offset + 1, false, true},
		{"known to be passed by all, and not", 0, offset + 1, offset, false, false},
		{"too many", 12, 0, offset, false, false},
		{"too many, and passed", 12, 0, offset + 100, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := idleLoop(t)
			l.core.AddClicks(0, 0, event.NoTime, 0)
			letters := []sink.DeadLetter{{Offset: offset}}
			for i := range c.later {
				letters = append(letters, sink.DeadLetter{Offset: offset + 1 + int64(i), Payload: make([]byte, large)})
			}
			l.landed(letters)
			l.takeShards(&shardsMsg{[]sink.State{*stands(c.known)}})
			st := stands(c.next)
			if got := l.core.CanTakeOver(st.Position); got != c.covers {
				t.Errorf("covered: %v, want %v", got, c.covers)
			}
			l.owe(st)
			if got := len(l.dead) > 0 && l.dead[0].Offset == offset; got != c.owed {
				t.Errorf("owed: %v, want %v", got, c.owed)
			}
		})
	}
}

// Another instance has taken a shard over, which this one does not know yet. Postgres may lose that, and the shard be this one's as it left it.
func TestLettersAreForgottenByWhatTheOwnerHasPassed(t *testing.T) {
	l := idleLoop(t)
	l.core.AddClicks(0, 0, event.NoTime, 0)
	theirs := event.Position{ClicksNext: []int64{9}, Watermark: event.NoTime, FinalBefore: event.NoTime, ExpireBefore: event.NoTime}
	mine := theirs
	mine.ClicksNext = []int64{5}
	s, _ := l.core.AddShard(0, mine, false)
	l.shards[0] = &shard{Shard: s, at: mine}
	l.dead = []sink.DeadLetter{{Offset: 4}, {Offset: 7}}
	l.takeShards(&shardsMsg{[]sink.State{{Position: theirs}}})
	if len(l.dead) != 1 || l.dead[0].Offset != 7 {
		t.Errorf("left are %+v", l.dead)
	}
}

// Two transactions are under way, each with all letters that are. One that has landed takes those that it held, and no other.
func TestALetterUnderWayIsThatOfItsTransaction(t *testing.T) {
	l := idleLoop(t)
	l.core.AddClicks(0, 0, event.NoTime, 0)
	l.under = []sink.DeadLetter{{Offset: 9}, {Offset: 3}} // the second came when a shard did, after the first was on its way
	l.landed([]sink.DeadLetter{{Offset: 9}})
	if len(l.under) != 1 || l.under[0].Offset != 3 {
		t.Errorf("%d letters are under way: %+v", len(l.under), l.under)
	}
}
