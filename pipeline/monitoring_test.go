package pipeline_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"firstclick/internal/kafkatest"
	"firstclick/join/event"
	"firstclick/pipeline"
)

// logged counts log lines by message.
type logged struct {
	mu      sync.Mutex
	seen    map[string]int
	nowhere []string // lines about a partition that do not say of which topic, or where in it
}

func (l *logged) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (l *logged) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *logged) WithGroup(string) slog.Handler                    { return l }
func (l *logged) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[r.Message]++
	keys := map[string]bool{}
	r.Attrs(func(a slog.Attr) bool { keys[a.Key] = true; return true })
	if keys["partition"] && !(keys["topic"] && (keys["offset"] || keys["checkouts"])) { // restored ones are many
		l.nowhere = append(l.nowhere, r.Message)
	}
	return nil
}

// shown is the metric of a registry with these values of labels.
func shown(t testing.TB, registry *prometheus.Registry, name string, labels ...string) *dto.Metric {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			has := func(value string) bool {
				return slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetValue() == value })
			}
			if f.GetName() == name && !slices.ContainsFunc(labels, func(value string) bool { return !has(value) }) {
				return m
			}
		}
	}
	t.Fatalf("there is no %s of %q", name, labels)
	return nil
}

// Metrics, health and Stats show what happened. They can be read at any time, also before the
// start. No line is logged per record.
func TestMeasuresHealthAndLogs(t *testing.T) {
	const pairs, bad = 600, 5
	base := time.Now().Add(-10 * time.Minute)
	brokers := kafkatest.Fake(t, 2, "clicks", "checkouts")
	dsn, _ := prepare(t, 10)
	log := &logged{seen: map[string]int{}}
	cfg := testConfig(t, brokers, dsn)
	cfg.Logger = slog.New(log)
	early, err := pipeline.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range early.Health() {
		if c.Name == "caught_up" && c.Err == nil {
			t.Error("caught up before anything is known")
		}
	}
	registry := prometheus.NewRegistry()
	cfg.Registry = registry
	p := begin(t, cfg)
	counted := func(name string, labels ...string) float64 {
		return shown(t, registry, name, labels...).GetCounter().GetValue()
	}
	var clicks, checkouts [][]byte
	for i := range pairs {
		product := fmt.Sprintf("p%d", i)
		clicks = append(clicks, values(click("c"+product, 1, product, stamp(base, 0)))...)
		checkouts = append(checkouts, values(checkout("k"+product, 1, product, "1", stamp(base, 1)))...)
	}
	for range bad {
		clicks = append(clicks, values(`[1]`)...)
		checkouts = append(checkouts, values(`{`)...)
	}
	kafkatest.Produce(t, brokers, "clicks", 0, clicks...)
	kafkatest.Produce(t, brokers, "checkouts", 1, checkouts...)

	eventually(t, "all is counted", func() bool {
		return p.Stats().Result.Fresh == pairs && counted("firstclick_rows_total", "attributed") == pairs &&
			counted("firstclick_dead_letters_total", "clicks", string(event.ReasonShape)) == bad &&
			counted("firstclick_dead_letters_total", "checkouts", string(event.ReasonJSON)) == bad
	})
	eventually(t, "every check holds", func() bool {
		for _, c := range p.Health() {
			if c.Err != nil {
				return false
			}
		}
		return true
	})
	latency := shown(t, registry, "firstclick_latency_seconds").Histogram
	commits := shown(t, registry, "firstclick_commit_seconds").Histogram.GetSampleCount()
	rows := shown(t, registry, "firstclick_commit_rows").Histogram.GetSampleSum()
	if latency.GetSampleCount() != pairs || latency.GetSampleSum() <= 0 || commits == 0 || rows != pairs {
		t.Errorf("latency of %d rows, sum %v s; %d transactions with %v rows", latency.GetSampleCount(),
			latency.GetSampleSum(), commits, rows)
	}
	if len(latency.Bucket) == 0 || latency.GetSchema() != 3 || len(latency.PositiveSpan) == 0 {
		t.Errorf("latency with %d classic buckets and %d native spans of schema %d", len(latency.Bucket),
			len(latency.PositiveSpan), latency.GetSchema())
	}
	for topic, partition := range map[string]string{"clicks": "0", "checkouts": "1"} {
		if n := counted("firstclick_records_read_total", topic, partition); n != pairs+bad {
			t.Errorf("%s: %v records read, want %d", topic, n, pairs+bad)
		}
	}
	if n := counted("firstclick_decode_failures_total", "clicks", string(event.ReasonShape)); n != bad {
		t.Errorf("%v undecodable clicks, want %d", n, bad)
	}
	st := p.Stats()
	if st.Attempts != 1 || st.Assigned == 0 {
		t.Errorf("%d attempts, %d assignments", st.Attempts, st.Assigned)
	}
	if st.ClicksRead != pairs+bad || st.CheckoutsRead != pairs+bad || st.DelayRows != pairs || st.Delay <= 0 ||
		st.Result.DeadLetters != 2*bad {
		t.Errorf("totals %+v", st.Totals)
	}
	eventually(t, "no lag", func() bool {
		st, now := p.Stats(), time.Now()
		if len(st.Shards) != 2 || len(st.Clicks) != 2 {
			return false
		}
		for i := range st.Clicks {
			clicks, known := st.ClicksLag(i, now)
			shard, knownToo := st.ShardLag(i, now)
			if !known || !knownToo || clicks != (pipeline.Lag{}) || shard != (pipeline.Lag{}) {
				return false
			}
		}
		return st.Others == pipeline.OthersStats{}
	})
	p.end()
	log.mu.Lock()
	defer log.mu.Unlock()
	total := 0
	for message, n := range log.seen {
		total += n
		if n > 2 { // two shards
			t.Errorf("logged %d times: %s", n, message)
		}
	}
	if len(log.nowhere) > 0 {
		t.Errorf("lines that do not say where: %q", log.nowhere)
	}
	if total > 12 {
		t.Errorf("%d lines for %d records: %v", total, 2*(pairs+bad), log.seen)
	}
}

// Where there is nothing to write, no transaction follows a takeover for 10 s. The instance is
// ready before.
func TestReadyWithNothingToWrite(t *testing.T) {
	brokers := kafkatest.Fake(t, 2, "clicks", "checkouts")
	dsn, _ := prepare(t, 1)
	p := begin(t, testConfig(t, brokers, dsn))
	eventually(t, "every check that is not advisory holds", func() bool {
		for _, c := range p.Health() {
			if c.Err != nil && !c.Advisory {
				return false
			}
		}
		return true
	})
	if n := p.Stats().Transactions; n != 0 {
		t.Errorf("ready after %d transactions only", n)
	}
}
