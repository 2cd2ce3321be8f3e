package datagen

import (
	"context"
	"fmt"
	"io"
	"time"

	"firstclick/internal/progress"
)

// showProgress writes the progress of the run until ctx ends.
func showProgress(ctx context.Context, w io.Writer, count int64, counts func() Summary) {
	line := progress.New(w)
	defer line.End()
	ticks := time.NewTicker(line.Every())
	defer ticks.Stop()
	last, at := int64(0), time.Now()
	for {
		select {
		case now := <-ticks.C:
			s := counts()
			events := s.Clicks + s.Checkouts
			rate := float64(events-last) / now.Sub(at).Seconds()
			last, at = events, now
			line.Show(progressLine(s, count, rate))
		case <-ctx.Done():
			s := counts()
			line.Show(progressLine(s, count, float64(s.Clicks+s.Checkouts)/max(s.Elapsed.Seconds(), 1e-3)))
			return
		}
	}
}

func progressLine(s Summary, count int64, rate float64) string {
	events := s.Clicks + s.Checkouts
	line := "generate: " + progress.Grouped(events) + " events"
	if count > 0 {
		line += fmt.Sprintf(" (%d %%)", 100*events/count)
	}
	line += fmt.Sprintf(", %s/s, %s clicks, %s checkouts",
		progress.Grouped(int64(rate+0.5)), progress.Grouped(s.Clicks), progress.Grouped(s.Checkouts))
	if s.Records > 0 {
		line += ", event time " + s.Last.UTC().Format("2006-01-02 15:04:05")
	}
	for _, extra := range []struct {
		n    int64
		what string
	}{{s.Dead(), "bad"}, {s.DuplicateClicks + s.DuplicateCheckouts, "duplicate"}, {s.Late, "late"}} {
		if extra.n > 0 {
			line += ", " + progress.Grouped(extra.n) + " " + extra.what
		}
	}
	return line
}
