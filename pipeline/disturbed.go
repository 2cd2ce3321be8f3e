package pipeline

import (
	"sync"
	"time"
)

// sayAgain is after how long the same disturbance of a partition is worth another line.
const sayAgain = time.Minute

// disturbances remembers what was said about which partition: a poll that fails is followed by the next one at once.
type disturbances struct {
	mu   sync.Mutex
	said map[Place]disturbance
}

type disturbance struct {
	text string
	at   time.Time
}

// news says whether the partition's disturbance is another one than before, or that one a while ago.
func (d *disturbances) news(p Place, text string, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if last, ok := d.said[p]; ok && last.text == text && now.Sub(last.at) < sayAgain {
		return false
	}
	if d.said == nil {
		d.said = map[Place]disturbance{}
	}
	d.said[p] = disturbance{text, now}
	return true
}
