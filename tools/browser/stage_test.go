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
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"firstclick/internal/demo"
	"firstclick/internal/pgtest"
	"firstclick/pipeline"
	"firstclick/web"
)

// stage is a page on a server, over a real Postgres and the figures of a pipeline that does not
// exist.
type stage struct {
	base, address string
	stop          func()
}

// figures are those of a steady pipeline, one second further with every call.
func figures() func() pipeline.Stats {
	var calls atomic.Int64
	return func() pipeline.Stats {
		n := calls.Add(1)
		now := time.Now()
		st := pipeline.Stats{
			Started: now.Add(-time.Hour),
			Totals: pipeline.Totals{
				ClicksRead: 120 * n, CheckoutsRead: 60 * n, Transactions: 40 * n, DelayRows: 60 * n,
				Delay: time.Duration(60*n) * 6 * time.Millisecond,
			},
			Status: pipeline.Status{
				At: now, Ready: true, EndsAt: now, Watermark: now.UnixMicro(),
				Clicks: []pipeline.PartitionStats{{Next: 120 * n, End: 120 * n, MaxTime: now.UnixMicro()}},
				Shards: []pipeline.ShardStats{{
					Next: 60 * n, End: 60 * n, Committed: 60 * n, Queued: 2, Open: 900,
					MaxReleased: now.UnixMicro(), FinalBefore: now.UnixMicro(),
				}},
			},
		}
		st.Result.Fresh, st.Result.Attributed = 60*n, 50*n
		st.Window.Clicks, st.Window.Bytes = 7200, 400_000
		st.Users.Connected, st.Users.Entries, st.Users.Capacity, st.Users.Hits = true, 100, 1000, uint64(60*n)
		return st
	}
}

const hostileName = `<img src=x onerror="document.title='owned'">`

const hostilePayload = "<script>document.title='owned'</script>\n\u202eevil\x00\xff\x1b[2J"

// begin starts a server at address and its page, with what change adds.
func begin(t *testing.T, address, dsn string, change func(*web.PageConfig)) *stage {
	t.Helper()
	cfg := web.PageConfig{
		Stats: figures(), Database: dsn, Version: "test", Instance: "firstclick one",
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

// furnish puts rows, an instance and dead letters with hostile texts into a database.
func furnish(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	for _, step := range []struct {
		sql  string
		args []any
	}{
		{`INSERT INTO commerce.attributed_checkouts
				(checkout_id, user_name, click_id, product_id, total_amount, checkout_time, click_time)
			VALUES ('k1', 'Ada', 'c1', 'p', 12.35, '2026-11-23 09:00:00', '2026-11-23 08:57:00'),
				($1, $1, NULL, 'p', NULL, '2026-11-23 09:00:01', NULL)`, []any{hostileName}},
		{`INSERT INTO firstclick.instances (instance, group_id, host, pid, version, listen, shards)
			VALUES ('firstclick one', 'firstclick', $1, 7, 'v1', ':8081', '{0,1}')`, []any{hostileName}},
		{`INSERT INTO firstclick.dead_letters
				(group_id, topic, partition, "offset", reason, detail, payload, payload_size, payload_sha256)
			VALUES ('firstclick', 'clicks', 1, 42, 'json', $1, $2::bytea, length($2::bytea), '\x00'),
			('firstclick', 'clicks', 1, 43, 'too_large', '', NULL, 9000000, '\x01'),
			('another', 'clicks', 1, 44, 'json', '', 'secret of another group', 23, '\x02')`,
			[]any{hostileName, []byte(hostilePayload)}},
	} {
		if _, err := conn.Exec(t.Context(), step.sql, step.args...); err != nil {
			t.Fatal(err)
		}
	}
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
