//go:build browser

package browser

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"firstclick/internal/demo"
	"firstclick/internal/pgtest"
	"firstclick/internal/webtest"
	"firstclick/web"
)

// stage is a page on a server, over a real Postgres and the figures of a pipeline that does not
// exist.
type stage struct {
	base, address string
	stop          func()
}

// begin starts a server at address and its page, with what change adds.
func begin(t *testing.T, address, dsn string, change func(*web.PageConfig)) *stage {
	t.Helper()
	cfg := web.PageConfig{
		Stats: new(webtest.Pipeline).Stats, Database: dsn, Version: "test", Instance: "firstclick one",
		Settings: []web.Setting{{Name: "--kafka", Value: "localhost:9093", Given: true},
			{Name: "--kafka-password", Value: "set, not shown", Given: true}},
		Explain: func(_ context.Context, id string) (any, error) {
			return map[string]any{
				"checkout_id": id, "verdict": "right", "why": []string{"c1 is the earliest"},
				"summary": "The first click of " + id + " is c1, 3 minutes before it.",
				"records": []any{}, "clicks": []any{}, "searched": []any{}, "elapsed_ns": 5_000_000,
			}, nil
		},
	}
	change(&cfg)
	page, err := web.NewPage(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server, err := web.New(web.Config{Listen: address, Gatherer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	server.Mount(page)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	s := &stage{base: "http://" + server.Addr().String(), address: server.Addr().String()}
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
	t.Cleanup(s.stop)
	go func() { done <- server.Run(ctx) }()
	return s
}

// startDemo runs the demo in this process until stop is called, which returns what it ended with.
// It returns the page's host and port once the first row is there.
func startDemo(t *testing.T) (page string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	reader, writer := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := demo.Run(ctx, demo.Config{Dir: pgtest.Dir(t), Listen: "127.0.0.1:0", Out: writer,
			NewLogger: func(io.Writer) *slog.Logger {
				return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
			}})
		if err != nil {
			fmt.Fprintln(writer, err)
		}
		writer.Close()
		done <- err
	}()
	stopped := false
	stop = func() error {
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if !stopped {
			_ = stop()
		}
	})
	var said strings.Builder
	for lines := bufio.NewScanner(reader); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		if m := regexp.MustCompile(`Page +http://(localhost:\d+)`).FindStringSubmatch(lines.Text()); m != nil {
			page = m[1]
		}
		if strings.HasPrefix(lines.Text(), "first row ") {
			go func() { _, _ = io.Copy(io.Discard, reader) }() // the demo must not block; ends with it
			return page, stop
		}
	}
	t.Fatalf("the demo ended before its first row: %s", said.String())
	return "", nil
}
