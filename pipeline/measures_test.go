package pipeline_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"firstclick/internal/kafkatest"
	"firstclick/join"
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
	if keys["partition"] && !(keys["topic"] && (keys["offset"] || keys["checkouts"])) { // recalled ones are many
		l.nowhere = append(l.nowhere, r.Message)
	}
	return nil
}

// What monitoring is told is what happened; it may ask at any time, also before the start; and no line is logged per record.
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
	p := begin(t, cfg)
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
		m := p.Measures()
		return m.Result.Fresh == pairs && m.DeadLetters[pipeline.Cause{Topic: "clicks", Reason: join.ReasonShape}] == bad &&
			m.DeadLetters[pipeline.Cause{Topic: "checkouts", Reason: join.ReasonJSON}] == bad
	})
	eventually(t, "every check holds", func() bool {
		for _, c := range p.Health() {
			if c.Err != nil {
				return false
			}
		}
		return true
	})
	m := p.Measures()
	if m.Latency.Count != pairs || m.Latency.Sum <= 0 || m.Commit.Count == 0 || m.BatchRows.Sum != pairs {
		t.Errorf("latency of %d rows, sum %v s; %d transactions with %v rows", m.Latency.Count, m.Latency.Sum, m.Commit.Count, m.BatchRows.Sum)
	}
	for place, want := range map[pipeline.Place]int64{{Topic: "clicks", Partition: 0}: pairs + bad, {Topic: "checkouts", Partition: 1}: pairs + bad} {
		if got := m.Read[place]; got.Records != want || got.Next != want {
			t.Errorf("%v: %d records read up to offset %d, want %d", place, got.Records, got.Next, want)
		}
	}
	if n := m.Undecodable[pipeline.Cause{Topic: "clicks", Reason: join.ReasonShape}]; n != bad {
		t.Errorf("%d undecodable clicks, want %d", n, bad)
	}
	if m.Sessions != 1 || m.Assigned == 0 {
		t.Errorf("%d sessions, %d assignments", m.Sessions, m.Assigned)
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

// Where there is nothing to write no transaction follows the takeover for 10 s. An instance need not wait for one to be ready.
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
