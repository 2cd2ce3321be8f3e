package pipeline

import (
	"slices"
	"sync"

	"firstclick/join/event"
	"firstclick/pipeline/sink"
)

// latestKept is how many of the last rows are remembered by their id.
const latestKept = 16

// latest remembers the ids of the last rows written, the newest last. The page shows these rows,
// and the table has no index by time. Safe for concurrent use.
type latest struct {
	mu  sync.Mutex
	ids []event.ID
}

func (l *latest) written(batches []*sink.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range batches {
		for i := max(0, len(b.Rows)-latestKept); i < len(b.Rows); i++ {
			l.ids = append(l.ids, b.Rows[i].ID)
		}
	}
	l.ids = slices.Delete(l.ids, 0, max(0, len(l.ids)-latestKept))
}

// Latest returns the checkout_ids of the last rows that this instance has written: at most 16, the
// newest last.
func (p *Pipeline) Latest() (ids []string) {
	p.latest.mu.Lock()
	defer p.latest.mu.Unlock()
	for i := range p.latest.ids {
		ids = append(ids, p.latest.ids[i].String())
	}
	return ids
}
