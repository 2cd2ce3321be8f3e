package engine

import (
	"log/slog"
	"time"

	"firstclick/join"
	"firstclick/join/event"
	"firstclick/pipeline/chunk"
	"firstclick/pipeline/sink"
)

// shard is an owned checkouts partition and the batch that grows for it.
type shard struct {
	*join.Shard
	log     *slog.Logger
	claim   sink.Claim
	topicID [16]byte
	at      event.Position // as committed

	held      chunk.Held
	released  int // records released since the last batch was taken
	batch     *sink.Batch
	inFlight  *sink.Batch // nil: none
	spare     *sink.Batch // for the next batch
	turn      time.Time   // when its last batch was taken
	committed time.Time   // when its last transaction ended

	time, recordTime int64     // of the last row committed
	atEnd            time.Time // when everything up to the last known end was committed

	handBack *revocation // nil: it stays here
	restore  *restore    // nil: nothing to restore, or done
}

// shards are the owned ones, by partition.
type shards map[int32]*shard

// held is how many bytes of checkouts wait.
func (s shards) held() (n int64) {
	for _, sh := range s {
		n += sh.held.Bytes
	}
	return n
}

// starved says whether some shard holds nothing although its partition has records.
func (s shards) starved() bool {
	for _, sh := range s {
		if sh.held.Bytes == 0 && sh.Unfetched() {
			return true
		}
	}
	return false
}

// share is how many rows a shard's batch may grow to. Each of a few busy shards may fill a
// transaction. The batches of many busy shards hold about four transactions together, so that each
// shard's turn comes soon.
func (s shards) share() int {
	const least = 256
	busy := 0
	for _, sh := range s {
		if sh.Queued()+len(sh.batch.Rows) > 0 {
			busy++
		}
	}
	return min(maxRows, max(4*enoughRows/max(busy, 1), least))
}

// late notes an event of the shard's batch that came after the rows it could change were final.
func (sh *shard) late(l sink.Late) { sh.batch.Late = append(sh.batch.Late, l) }
