package ingest

import (
	"sync"
	"time"

	"firstclick/join/event"
)

// Place is a partition of a topic.
type Place struct {
	Topic     string
	Partition int32
}

// reading remembers how far each partition is read, over all attempts. Safe for concurrent use.
type reading struct {
	mu sync.Mutex
	at map[Place]readUpTo
}

type readUpTo struct {
	next       int64 // offset of the next record to read
	recordTime int64 // timestamp of the newest record read, microseconds; event.NoTime: none
}

// begin notes the offset at which reading of a partition begins.
func (r *reading) begin(topic string, partition int32, next int64) {
	_, recordTime := r.upTo(topic, partition)
	r.moved(topic, partition, next, recordTime)
}

// moved notes what a poll brought of a partition.
func (r *reading) moved(topic string, partition int32, next, recordTime int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at == nil {
		r.at = map[Place]readUpTo{}
	}
	r.at[Place{topic, partition}] = readUpTo{next, recordTime}
}

// upTo returns how far a partition is read; next is -1 before reading begins.
func (r *reading) upTo(topic string, partition int32) (next, recordTime int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.at[Place{topic, partition}]; ok {
		return at.next, at.recordTime
	}
	return -1, event.NoTime
}

func (r *reading) next(topic string, partition int32) int64 {
	next, _ := r.upTo(topic, partition)
	return next
}

// repeatAfter is after how long the same trouble of a partition is logged again.
const repeatAfter = time.Minute

// notices keeps the log short: a poll that fails is followed by the next one at once.
type notices struct {
	mu     sync.Mutex
	logged map[Place]notice
}

type notice struct {
	text string
	at   time.Time
}

// due says whether a partition's trouble is another one than before, or was logged a while ago.
func (n *notices) due(p Place, text string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if last, ok := n.logged[p]; ok && last.text == text && now.Sub(last.at) < repeatAfter {
		return false
	}
	if n.logged == nil {
		n.logged = map[Place]notice{}
	}
	n.logged[p] = notice{text, now}
	return true
}
