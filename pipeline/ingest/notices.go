package ingest

import (
	"sync"
	"time"
)

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
