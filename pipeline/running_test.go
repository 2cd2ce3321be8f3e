package pipeline_test

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"firstclick/pipeline"
)

// patience is how long a test waits for something that takes a moment on an idle machine.
const patience = 2 * time.Minute

// eventually polls until is returns true.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); !is(); {
		select {
		case <-t.Context().Done():
			t.Fatalf("waited for: %s: the test ended", what)
		case <-ticker.C:
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for: %s", patience, what)
		}
	}
}

// working is a pipeline that runs in this process.
type working struct {
	*pipeline.Pipeline
	t     testing.TB
	stop  context.CancelFunc
	ended chan error
	over  bool
}

// begin runs a pipeline, at the latest until the test ends.
func begin(t testing.TB, cfg pipeline.Config) *working {
	t.Helper()
	cfg.UntilCaughtUp = false
	p, err := pipeline.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	w := &working{Pipeline: p, t: t, stop: stop, ended: make(chan error, 1)}
	go func() { w.ended <- p.Run(ctx) }()
	t.Cleanup(w.end)
	return w
}

// end stops the pipeline in good order.
func (w *working) end() {
	w.t.Helper()
	if w.over {
		return
	}
	w.over = true
	w.stop()
	select {
	case err := <-w.ended:
		if err != nil {
			w.t.Errorf("run: %v", err)
		}
	case <-time.After(patience):
		w.t.Errorf("the pipeline does not end")
	}
}

// caughtUp says whether Postgres holds everything up to the last known ends.
func (w *working) caughtUp() bool {
	st := w.Stats()
	if len(st.Shards) == 0 || len(st.Clicks) == 0 {
		return false
	}
	for _, c := range st.Clicks {
		if c.Next < c.End {
			return false
		}
	}
	for _, s := range st.Shards {
		if s.Committed < s.End || s.Queued > 0 || s.Restoring { // no position of clicks is stored while restoring
			return false
		}
	}
	return true
}

// heard keeps what was logged.
type heard struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (h *heard) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(b)
}

func (h *heard) has(text string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return bytes.Contains(h.text.Bytes(), []byte(text))
}
