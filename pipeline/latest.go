package pipeline

import (
	"sync"

	"firstclick/join"
)

// latestKept is how many of the last rows are remembered by their id.
const latestKept = 16

// latest remembers the ids of the last rows written: for a page that shows them, as the table has no index by time. Safe for
// concurrent use.
type latest struct {
	mu  sync.Mutex
	ids [latestKept]join.ID
	n   int // ever noted
}

func (l *latest) note(j *job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range j.batches {
		for i := max(0, len(b.Rows)-latestKept); i < len(b.Rows); i++ {
			l.ids[l.n%latestKept] = b.Rows[i].ID
			l.n++
		}
	}
}

// Instance is the application_name of our sessions, the given one or the one that was made up.
func (p *Pipeline) Instance() string { return p.cfg.Instance }

// Latest returns the checkout_ids of the last rows that this instance has written, the newest last, at most 16.
func (p *Pipeline) Latest() []string {
	l := &p.latest
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for i := max(0, l.n-latestKept); i < l.n; i++ {
		out = append(out, l.ids[i%latestKept].String())
	}
	return out
}
