package cdc

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"firstclick/internal/pgsession"
	"firstclick/internal/pgtest"
)

// killable is the network of a process that can be killed: its connections end without a goodbye,
// and it opens no others.
type killable struct {
	mu    sync.Mutex
	dead  bool
	conns []net.Conn
}

func (k *killable) dial(ctx context.Context, network, address string) (net.Conn, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dead {
		return nil, errors.New("killed")
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err == nil {
		k.conns = append(k.conns, conn)
	}
	return conn, err
}

func (k *killable) kill() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dead = true
	for _, conn := range k.conns {
		_ = conn.Close() // as the kernel does
	}
}

// However often instances are killed while a writing transaction is open, there is at most one
// slot, and it goes by itself.
func TestKilledWhileATransactionIsOpen(t *testing.T) {
	dsn := pgtest.New(t)
	writer, err := pgsession.Connect(t.Context(), dsn, "writer")
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close(context.Background())
	watcher, err := pgsession.Connect(t.Context(), dsn, "watcher")
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Close(context.Background())
	tx, err := writer.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "INSERT INTO commerce.users VALUES (1, 'a', 'x')"); err != nil {
		t.Fatal(err)
	}
	slots := func() (n int) {
		if err := watcher.QueryRow(t.Context(),
			"SELECT count(*) FROM pg_replication_slots WHERE database = current_database()").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i := range 20 {
		m := newMirror(t, dsn, Config{})
		network := &killable{}
		m.dial = network.dial
		m.tuning.slotWait = 10 * time.Second
		m.run()
		if i == 0 {
			m.until("a slot waits", func() bool { return slots() > 0 })
		} else {
			m.until("it has met the slot that waits, or waits itself",
				func() bool { return m.Stats().Reconnects > 0 || slots() > 0 })
		}
		network.kill()
		m.stop()
		if n := slots(); n > 1 {
			t.Fatalf("%d slots stand after %d kills", n, i+1)
		}
	}
	m := newMirror(t, dsn, Config{})
	m.until("the slot of the dead is gone", func() bool { return slots() == 0 })
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.run().standing()
}
