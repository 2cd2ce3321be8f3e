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
func (s *session) showProgress(ctx context.Context) error {
	line := progress.New(s.cfg.Progress)
	t := time.NewTicker(line.Every())
	defer t.Stop()
	defer line.End()
	st := s.p.Stats()
	last, at, total := st.ClicksRead+st.written(), time.Now(), int64(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-t.C:
			st := s.p.Stats()
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
	if behind, ok := st.behind(); ok {
		text += fmt.Sprintf(", %v behind in event time", behind.Round(time.Second))
	}
	for i := range st.Shards {
		if st.Shards[i].Restoring {
			return text + ", recalling recent checkouts"
		}
	}
	return text
}

// Backlog is how many clicks are not read and how many checkouts of our shards are not committed.
func (st *Stats) Backlog() (n int64) {
	for _, p := range st.Clicks {
		n += max(p.End-p.Next, 0)
	}
	for i := range st.Shards {
		n += max(st.Shards[i].End-st.Shards[i].Committed, 0)
	}
	return n
}

func (st *Totals) written() int64 {
	r := &st.Result
	return r.Fresh + r.Duplicates + r.Conflicts + r.Refused
}

// behind is how far the slowest of our shards is behind the clock in event time.
func (st *Stats) behind() (time.Duration, bool) {
	least := event.Forever
	for i := range st.Shards {
		if t := st.Shards[i].MaxReleased; t != event.NoTime && st.Shards[i].Committed < st.Shards[i].End {
			least = min(least, t)
		}
	}
	if least == event.Forever {
		return 0, false
	}
	return time.Since(time.UnixMicro(least)), true
}
