package engine

import (
	"testing"

	"firstclick/join/event"
	"firstclick/pipeline/sink"
)

func passedClicks(next int64) event.Position {
	pos := notBegun()
	pos.ClicksNext = []int64{next}
	return pos
}

// A shard is taken over that has not passed a click whose dead letter was committed: Postgres may
// have lost the transaction, by a failover to a standby that lagged. The letter is written again.
// The click is read again where there were too many letters to keep.
func TestDeadLettersOfAShardThatWentBack(t *testing.T) {
	const offset, large = 5, 1 << 20
	for _, c := range []struct {
		name            string
		later           int   // large dead letters that are committed after it
		known           int64 // what all shards are known to have passed then
		next            int64 // of the shard that comes
		again, canCover bool
	}{
		{"not passed", 0, 0, offset, true, true},
		{"passed", 0, 0, offset + 1, false, true},
		{"known to be passed by all, and not", 0, offset + 1, offset, false, false},
		{"too many", 12, 0, offset, false, false},
		{"too many, and passed", 12, 0, offset + 100, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := idleEngine()
			e.Core.AddClicks(0, 0, event.NoTime, 0)
			letters := []event.DeadLetter{{Offset: offset}}
			for i := range c.later {
				letters = append(letters, event.DeadLetter{Offset: offset + 1 + int64(i), Payload: make([]byte, large)})
			}
			if err := e.takeCommitted(&commitResult{set: &commitSet{letters: letters}}); err != nil {
				t.Fatal(err)
			}
			e.takeStored([]sink.State{{Position: passedClicks(c.known)}})
			pos := passedClicks(c.next)
			if got := e.Core.CanTakeOver(pos); got != c.canCover {
				t.Errorf("can be taken over: %v, want %v", got, c.canCover)
			}
			e.letters.restore(pos.ClicksNext)
			if got := len(e.letters.waiting) > 0 && e.letters.waiting[0].Offset == offset; got != c.again {
				t.Errorf("written again: %v, want %v", got, c.again)
			}
		})
	}
}

// Another instance has taken a shard over, and this one does not know it yet. Postgres may lose
// that takeover, and then the shard is back at the position that it had here.
func TestLettersAreDroppedByWhatTheOwnerHasPassed(t *testing.T) {
	e := idleEngine()
	e.Core.AddClicks(0, 0, event.NoTime, 0)
	e.add(0, passedClicks(5))
	e.letters.waiting = []event.DeadLetter{{Offset: 4}, {Offset: 7}}
	e.takeStored([]sink.State{{Position: passedClicks(9)}})
	if w := e.letters.waiting; len(w) != 1 || w[0].Offset != 7 {
		t.Errorf("left are %+v", w)
	}
}

// Two transactions are in flight, each with all letters that were waiting or in flight when it
// began. One that is committed removes its own letters only.
func TestALetterInFlightIsThatOfItsTransaction(t *testing.T) {
	var l clickLetters
	l.inFlight = []event.DeadLetter{{Offset: 9}, {Offset: 3}} // the second came with a shard, after the first was sent
	l.committed([]event.DeadLetter{{Offset: 9}}, 1<<20)
	if len(l.inFlight) != 1 || l.inFlight[0].Offset != 3 {
		t.Errorf("%d letters are in flight: %+v", len(l.inFlight), l.inFlight)
	}
}
