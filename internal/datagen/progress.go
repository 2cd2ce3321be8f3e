package datagen

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/term"
)

const (
	progressTerminal = time.Second
	progressLog      = 10 * time.Second
)

// showProgress writes how far the run is until ctx ends: on a terminal one line that rewrites itself, else a line now and then.
func showProgress(ctx context.Context, w io.Writer, count int64, counts func() Summary) {
	every, before, after := progressLog, "", "\n"
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		every, before, after = progressTerminal, "\r", "\x1b[K"
		defer fmt.Fprint(w, "\n")
	}
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	last, at := int64(0), time.Now()
	for {
		select {
		case now := <-ticks.C:
			s := counts()
			events := s.Clicks + s.Checkouts
			rate := float64(events-last) / now.Sub(at).Seconds()
			last, at = events, now
			fmt.Fprint(w, before+progressLine(s, count, rate)+after)
		case <-ctx.Done():
			s := counts()
			fmt.Fprint(w, before+progressLine(s, count, float64(s.Clicks+s.Checkouts)/max(s.Elapsed.Seconds(), 1e-3))+after)
			return
		}
	}
}

func progressLine(s Summary, count int64, rate float64) string {
	events := s.Clicks + s.Checkouts
	line := "generate: " + grouped(events) + " events"
	if count > 0 {
		line += fmt.Sprintf(" (%d %%)", 100*events/count)
	}
	line += fmt.Sprintf(", %s/s, %s clicks, %s checkouts", grouped(int64(rate+0.5)), grouped(s.Clicks), grouped(s.Checkouts))
	if s.Records > 0 {
		line += ", event time " + s.Last.UTC().Format("2006-01-02 15:04:05")
	}
	for _, extra := range []struct {
		n    int64
		what string
	}{{s.Dead(), "bad"}, {s.DuplicateClicks + s.DuplicateCheckouts, "duplicate"}, {s.Late, "late"}} {
		if extra.n > 0 {
			line += ", " + grouped(extra.n) + " " + extra.what
		}
	}
	return line
}

// grouped writes 1234567 as 1,234,567.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
