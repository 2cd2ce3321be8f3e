package pipeline

import (
	"context"
	"fmt"
	"time"

	"firstclick/internal/progress"
	"firstclick/join/event"
)

// worthShowing is the least backlog, in records, that is shown.
const worthShowing = 10_000

// showProgress writes a progress line while there is a backlog.
func (p *Pipeline) showProgress(ctx context.Context) error {
	line := progress.New(p.cfg.Progress)
	t := time.NewTicker(line.Every())
	defer t.Stop()
	defer line.End()
	st := p.Stats()
	last, at, total := st.ClicksRead+st.written(), time.Now(), int64(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-t.C:
			st := p.Stats()
			left := st.Backlog()
			done := st.ClicksRead + st.written()
			rate := float64(done-last) / now.Sub(at).Seconds()
			last, at = done, now
			if left < worthShowing {
				total = 0
				line.End()
				continue
			}
			total = max(total, left)
			line.Show(progressText(&st, left, total, rate))
		}
	}
}

func progressText(st *Stats, left, total int64, rate float64) string {
	text := fmt.Sprintf("catching up: %s of %s records left (%d %% done), %s events/s",
		progress.Grouped(left), progress.Grouped(total), 100*(total-left)/total, progress.Grouped(int64(rate)))
	if rate >= 1 {
		text += fmt.Sprintf(", about %v left", (time.Duration(float64(left)/rate) * time.Second).Round(time.Second))
	}
	oldest, restoring := event.Forever, "" // event time of the slowest of our shards
	for i := range st.Shards {
		sh := &st.Shards[i]
		if sh.MaxReleased != event.NoTime && sh.Committed < sh.End {
			oldest = min(oldest, sh.MaxReleased)
		}
		if sh.Restoring {
			restoring = ", restoring open checkouts"
		}
	}
	if oldest != event.Forever {
		text += fmt.Sprintf(", %v behind in event time", time.Since(time.UnixMicro(oldest)).Round(time.Second))
	}
	return text + restoring
}

func (st *Totals) written() int64 {
	r := &st.Result
	return r.Fresh + r.Duplicates + r.Conflicts + r.Refused
}
