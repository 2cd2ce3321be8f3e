package sink

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"firstclick/internal/pgtest"
	"firstclick/join/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testGroup = "firstclick"
	checkouts = "checkouts"
	noon      = int64(1_767_268_800_000_000) // 2026-01-01 12:00:00 UTC
	second    = int64(1_000_000)
)

// fakeNames knows users by id, and counts calls.
type fakeNames struct {
	mu    sync.Mutex
	known map[int32]string
	calls int
	err   error

	edition, next string // next: after the first is outdated
	outdated      []string
}

func (f *fakeNames) Names(_ context.Context, ids []int32, names map[int32]string) (edition string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	for _, id := range ids {
		if name, ok := f.known[id]; ok {
			names[id] = name
		}
	}
	err = f.err
	f.err = nil
	return f.edition, err
}

func (f *fakeNames) Outdated(edition string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.outdated = append(f.outdated, edition)
	f.edition = f.next
}

// logged is what several sinks, each with a handler of its own, have written to one log.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// bench is a database with a sink on it and a connection beside it.
type bench struct {
	t     testing.TB
	dsn   string
	sink  *Sink
	names *fakeNames
	db    *pgx.Conn
	log   *logged
}

func newBench(t testing.TB) *bench {
	t.Helper()
	dsn := pgtest.New(t)
	b := &bench{t: t, dsn: dsn, names: &fakeNames{known: map[int32]string{1: "ann", 2: "bob"}}, log: &logged{}}
	b.db = b.connect("watcher")
	b.sink = b.open(dsn, "firstclick-a", b.names)
	return b
}

func (b *bench) open(dsn, application string, names Names) *Sink {
	b.t.Helper()
	s, err := New(Config{Database: dsn, Application: application, Logger: slog.New(slog.NewTextHandler(b.log, nil))},
		names)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(s.Close)
	return s
}

// connect opens a session of its own.
func (b *bench) connect(application string) *pgx.Conn {
	b.t.Helper()
	cfg, err := pgx.ParseConfig(b.dsn)
	if err != nil {
		b.t.Fatal(err)
	}
	cfg.RuntimeParams["application_name"] = application
	conn, err := pgx.ConnectConfig(b.t.Context(), cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = conn.Close(ctx)
		<-conn.PgConn().CleanupDone()
	})
	return conn
}

func (b *bench) exec(sql string, args ...any) {
	b.t.Helper()
	if _, err := b.db.Exec(b.t.Context(), sql, args...); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
}

// rows returns the result of a query, a line a row, columns by "|", NULL as "-".
func (b *bench) rows(sql string, args ...any) string {
	b.t.Helper()
	rows, err := b.db.Query(b.t.Context(), sql, append([]any{pgx.QueryExecModeSimpleProtocol}, args...)...)
	if err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
	defer rows.Close()
	var lines []string
	for rows.Next() {
		var cells []string
		for _, v := range rows.RawValues() {
			if v == nil {
				cells = append(cells, "-")
			} else {
				cells = append(cells, string(v))
			}
		}
		lines = append(lines, strings.Join(cells, "|"))
	}
	if err := rows.Err(); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
	return strings.Join(lines, "\n")
}

func (b *bench) expect(want, sql string, args ...any) {
	b.t.Helper()
	if got := b.rows(sql, args...); got != want {
		b.t.Fatalf("%s:\ngot\n%s\nwant\n%s", sql, got, want)
	}
}

// claim takes a shard over and returns an empty batch of it.
func (b *bench) claim(s *Sink, partition int32) *Batch {
	b.t.Helper()
	st, err := s.Claim(b.t.Context(), testGroup, checkouts, partition, State{Position: noPosition()})
	if err != nil {
		b.t.Fatal(err)
	}
	return &Batch{Claim: &st.Claim, TopicID: st.TopicID, Position: st.Position}
}

// claimed is claim, and nil where it fails.
func (b *bench) claimed(s *Sink, partition int32) *Batch {
	b.t.Helper()
	st, err := s.Claim(b.t.Context(), testGroup, checkouts, partition, State{Position: noPosition()})
	if err != nil {
		return nil
	}
	return &Batch{Claim: &st.Claim, TopicID: st.TopicID, Position: st.Position}
}

// as is the database's connection string for a role whose password is its name.
func (b *bench) as(role string) string {
	b.t.Helper()
	u, err := url.Parse(b.dsn)
	if err != nil {
		b.t.Fatal(err)
	}
	u.User = url.UserPassword(role, role)
	return u.String()
}

func noPosition() event.Position {
	return event.Position{LeaderEpoch: -1, Watermark: event.NoTime, FinalBefore: event.NoTime,
		ExpireBefore: event.NoTime}
}

func (b *bench) commit(s *Sink, batches ...*Batch) Result {
	b.t.Helper()
	res, err := s.Commit(b.t.Context(), batches)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, batch := range batches {
		batch.Rows, batch.Corrections, batch.Dead, batch.Late = nil, nil, nil, nil
	}
	return res
}

// commits commits a batch of which this becomes.
func (b *bench) commits(s *Sink, batch *Batch, want Result) {
	b.t.Helper()
	if got := b.commit(s, batch); got != want {
		b.t.Fatalf("got %+v, want %+v\n%s", got, want, b.log)
	}
}

// awaitLocked waits until so many sessions of an application wait for a lock.
func (b *bench) awaitLocked(n int, application string) {
	b.t.Helper()
	b.await(fmt.Sprintf(`SELECT count(*) = %d FROM pg_stat_activity
		WHERE application_name = '%s' AND wait_event_type = 'Lock' AND datname = current_database()`, n, application))
}

// idOf is the id of a text.
func idOf(text string) event.ID { return event.MakeID([]byte(text)) }

// landing is how a commit that runs aside ended.
type landing struct {
	res Result
	err error
}

// aside commits beside the test. The channel gives the one end.
func aside(ctx context.Context, s *Sink, batch *Batch) <-chan landing {
	ended := make(chan landing, 1)
	go func() {
		res, err := s.Commit(ctx, []*Batch{batch})
		ended <- landing{res, err}
	}()
	return ended
}

// held runs a statement in a transaction of another session, which stays open.
func (b *bench) held(sql string) pgx.Tx {
	b.t.Helper()
	tx, err := b.connect("another").Begin(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := tx.Exec(b.t.Context(), sql); err != nil {
		b.t.Fatal(err)
	}
	return tx
}

// bought is what a checkout says, for row.
type bought struct {
	User                                                       int32
	ID, Product, Payment, Amount, Shipping, Billing, Agent, IP *string
	Time                                                       int64
}

func checkout(id string) *bought {
	return &bought{
		ID: &id, User: 1, Product: text("p-1"), Payment: text("card"), Amount: text("12.50"),
		Shipping: text("1 Road\nTown"), Agent: text("agent"), IP: text("10.0.0.1"), Time: noon,
	}
}

func text(s string) *string { return &s }

func row(offset int64, k *bought) event.Released {
	return rowOf(offset, k, fmt.Appendf(nil, "payload of %s at %d", *k.ID, offset))
}

// rowOf is row with the value of its record.
func rowOf(offset int64, k *bought, memory []byte) event.Released {
	c := &event.Checkout{Offset: offset, Time: k.Time, User: k.User, ID: idOf(*k.ID), RecordTime: noon}
	payload := len(memory)
	for column, v := range []*string{k.ID, k.Product, k.Payment, k.Amount, k.Shipping, k.Billing, k.Agent, k.IP} {
		if v != nil {
			c.Set(column, event.Span{From: uint32(len(memory)), To: uint32(len(memory) + len(*v))})
			memory = append(memory, *v...)
		}
	}
	c.Keep(memory, payload)
	return event.Released{Checkout: c}
}

func clicked(r event.Released, click string, t int64) event.Released {
	r.HasClick, r.Click, r.ClickTime = true, idOf(click), t
	return r
}

// uuid is a canonical UUID that is ordered as n is.
func uuid(n int) string { return fmt.Sprintf("%08x-0000-4000-8000-000000000000", n) }
