package cdc

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"firstclick/internal/pgtest"
)

// walsender is the server's side of a replication connection.
type walsender struct {
	t    *testing.T
	conn net.Conn
	*pgproto3.Backend
}

// streamTo runs a stream against a walsender of the test.
func streamTo(t *testing.T, status time.Duration) (*walsender, *Mirror, chan error, context.CancelFunc) {
	t.Helper()
	ours, theirs := net.Pipe()
	config, err := pgconn.ParseConfig("postgres://localhost/x")
	if err != nil {
		t.Fatal(err)
	}
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend { return newWipingReader(r).frontend(w) }
	conn, err := pgconn.Construct(&pgconn.HijackedConn{Conn: ours, Config: config,
		ParameterStatuses: map[string]string{}})
	if err != nil {
		t.Fatal(err)
	}
	m := &Mirror{logger: slog.New(slog.DiscardHandler), tuning: defaultTuning()}
	m.tuning.status = status
	m.cache = newTestCache(t, 4)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	s := &stream{m: m, conn: conn, cache: m.cache, decoder: newDecoder()}
	go func() { done <- s.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		_ = theirs.Close()
		_ = ours.Close()
	})
	return &walsender{t, theirs, pgproto3.NewBackend(theirs, theirs)}, m, done, cancel
}

func (w *walsender) send(data []byte) {
	w.t.Helper()
	w.Send(&pgproto3.CopyData{Data: data})
	if err := w.Flush(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *walsender) wal(message []byte) {
	w.t.Helper()
	w.send(append(make([]byte, 0, 25), append(append([]byte{'w'}, make([]byte, 24)...), message...)...))
}

// confirmed waits for a status update and returns its position.
func (w *walsender) confirmed() uint64 {
	w.t.Helper()
	if err := w.conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		w.t.Fatal(err)
	}
	msg, err := w.Receive()
	if err != nil {
		w.t.Fatal(err)
	}
	data, ok := msg.(*pgproto3.CopyData)
	if !ok || len(data.Data) != 34 || data.Data[0] != 'r' {
		w.t.Fatalf("%T is no status update", msg)
	}
	return binary.BigEndian.Uint64(data.Data[9:])
}

func keepalive(end uint64, reply byte) []byte { return message('k', end, uint64(0), reply) }

// TestKeepalive: one that requests a reply gets it at once, also within a transaction, with the
// position of what is applied.
func TestKeepalive(t *testing.T) {
	w, _, done, cancel := streamTo(t, time.Hour)
	w.send(keepalive(100, 1))
	if got := w.confirmed(); got != 100 {
		t.Errorf("confirmed %d at rest", got)
	}
	w.wal(users)
	w.wal(beginMessage)
	w.send(keepalive(200, 1))
	if got := w.confirmed(); got != 100 {
		t.Errorf("confirmed %d within a transaction", got)
	}
	w.wal(message('C', byte(0), uint64(140), uint64(150), uint64(0)))
	w.send(keepalive(50, 1))
	if got := w.confirmed(); got != 150 {
		t.Errorf("confirmed %d after the commit", got)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

// TestKeepaliveWhilePreloading: keepalives are answered while the preload is stopped.
func TestKeepaliveWhilePreloading(t *testing.T) {
	m := newMirror(t, pgtest.New(t), Config{CacheSize: 10})
	m.insert(1, 5)
	proceed := make(chan struct{})
	m.hooks.preloading = func() { <-proceed }
	m.run().standing()
	m.exec("UPDATE commerce.users SET username = 'while preloading' WHERE id = 1")
	m.caughtUp()
	close(proceed)
	m.until("the others are loaded", func() bool { return m.Stats().Entries == 4 })
	m.want(map[int32]string{1: "while preloading", 2: "user 2"}, 1, 2)
	if n := m.Stats().RefusedFills; n != 1 {
		t.Errorf("%d fills refused, want the overtaken one", n)
	}
}

func TestStreamEnds(t *testing.T) {
	t.Run("silence", func(t *testing.T) {
		w, _, done, _ := streamTo(t, 10*time.Millisecond)
		go func() { _, _ = io.Copy(io.Discard, w.conn) }()
		if err := <-done; !errors.Is(err, errSilent) {
			t.Errorf("ended with %v", err)
		}
	})
	t.Run("undecodable", func(t *testing.T) {
		w, _, done, _ := streamTo(t, time.Hour)
		w.wal([]byte("?"))
		var typed *DecodeError
		if err := <-done; !errors.As(err, &typed) {
			t.Errorf("ended with %v", err)
		}
	})
	t.Run("server's error", func(t *testing.T) {
		w, _, done, _ := streamTo(t, time.Hour)
		w.Send(&pgproto3.ErrorResponse{Severity: "ERROR", Code: "58P01", Message: "no such file"})
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		var typed *pgconn.PgError
		if err := <-done; !errors.As(err, &typed) || typed.Code != "58P01" {
			t.Errorf("ended with %v", err)
		}
	})
	t.Run("copy done", func(t *testing.T) {
		w, _, done, _ := streamTo(t, time.Hour)
		w.Send(&pgproto3.CopyDone{})
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, errEnded) {
			t.Errorf("ended with %v", err)
		}
	})
}
