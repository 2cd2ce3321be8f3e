package engine

import (
	"firstclick/join"
	"firstclick/join/event"
	"firstclick/pipeline/sink"
)

// pauser stops and resumes the fetches of a partition.
type pauser interface {
	Pause(topic string, p int32)
	Resume(topic string, p int32)
}

// backpressure bounds the memory of what is read: lag grows then, and not memory.
type backpressure struct {
	kafka     pauser
	group     *sink.Progress
	limit     int64          // of the process, bytes; 0: none
	clicks    map[int32]bool // paused partitions
	checkouts map[int32]bool
}

// most is how many bytes of checkouts, of all shards together, may wait for their release and their
// transaction; and how many bytes of dead letters of clicks. Decoded, queued and made rows of, they
// take about six times as much, so a 48th of the memory limit is an eighth of it.
func (b *backpressure) most() int64 {
	const most, least = 10 << 20, 256 << 10 // below least, large records would go one by one
	if b.limit > 0 {
		return max(min(most, b.limit/48), least)
	}
	return most
}

// full says that no more checkouts are to be polled. While some shard is starved, the others are
// paused before that, and what is polled for the starved one finds room.
func (b *backpressure) full(shards shards) bool {
	most := b.most()
	if shards.starved() {
		most *= 2
	}
	held := shards.held()
	return held > 0 && held >= most
}

// pauseCheckouts pauses the shards that hold more than their share while another one is starved.
// Invariant: no shard is paused that holds nothing.
func (b *backpressure) pauseCheckouts(shards shards) {
	share := b.most() / int64(max(2*len(shards), 1))
	over := shards.held() >= b.most() && shards.starved()
	for p, sh := range shards {
		held := sh.held.Bytes
		switch paused := b.checkouts[p]; {
		case over && held > share && !paused:
			b.kafka.Pause(b.group.CheckoutsTopic, p)
			b.checkouts[p] = true
		case paused && held <= share && (!over || held == 0):
			b.resumeCheckouts(p)
		}
	}
}

func (b *backpressure) resumeCheckouts(p int32) {
	if b.checkouts[p] {
		b.kafka.Resume(b.group.CheckoutsTopic, p)
		delete(b.checkouts, p)
	}
}

// pauseClicks pauses, while the window is over its budget, the partition that is furthest ahead in
// event time, but none that is needed. It says whether the window is over its budget.
func (b *backpressure) pauseClicks(windowBytes int64, states []join.ClicksState, needed []bool) (over bool) {
	budget := b.limit / 2
	for p := range b.clicks {
		if needed[p] || windowBytes <= budget/10*9 {
			b.kafka.Resume(b.group.ClicksTopic, p)
			delete(b.clicks, p)
		}
	}
	if budget == 0 || windowBytes <= budget {
		return false
	}
	furthest, ahead := int32(-1), event.NoTime
	for p, st := range states {
		if !needed[p] && !b.clicks[int32(p)] && st.MaxTime > ahead {
			furthest, ahead = int32(p), st.MaxTime
		}
	}
	if furthest >= 0 {
		b.kafka.Pause(b.group.ClicksTopic, furthest)
		b.clicks[furthest] = true
	}
	return true
}
