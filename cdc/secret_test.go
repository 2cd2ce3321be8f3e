package cdc

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"firstclick/internal/pgtest"
	"firstclick/migrations"
)

// Postgres makes the passwords of this test: upper(md5('secret')). Here only the bytes of the hash
// exist, so that a copy on the heap can only come from the server.
const secretSQL = "upper(md5('secret'))"

// secrets counts the passwords in what it reads. It copies nothing.
func secrets(t *testing.T, in io.ByteReader) (count int) {
	t.Helper()
	sum := md5.Sum([]byte("secret"))
	var matched int
	nibble := func(i int) byte { return "0123456789ABCDEF"[sum[i/2]>>(4-4*(i%2))&15] }
	for {
		c, err := in.ReadByte()
		if errors.Is(err, io.EOF) {
			return count
		} else if err != nil {
			t.Fatal(err)
		}
		if c != nibble(matched) {
			matched = 0
			if c != nibble(0) {
				continue
			}
		}
		if matched++; matched == 2*len(sum) {
			count, matched = count+1, 0
		}
	}
}

// tapped is a connection that copies the bytes it receives.
type tapped struct {
	net.Conn
	to io.Writer
}

func (c tapped) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	_, _ = c.to.Write(p[:n])
	return n, err
}

// TestPasswordStaysInPostgres: with a column list no password comes over the wire at all.
func TestPasswordStaysInPostgres(t *testing.T) {
	dsn := listing(t).DSN("postgres")
	if err := migrations.Up(t.Context(), dsn, nil); err != nil {
		t.Fatal(err)
	}
	m := newMirror(t, dsn, Config{CacheSize: 50})
	wire := &syncBuffer{}
	m.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return tapped{conn, wire}, err
	}
	m.changeSecrets()
	if !strings.Contains(wire.String(), "renamed 7") {
		t.Fatal("the tap sees no stream")
	}
	if n := secrets(t, strings.NewReader(wire.String()+m.log.String())); n != 0 {
		t.Fatalf("%d passwords on the wire or in the log", n)
	}
}

// TestPasswordUnderFull: passwords come over the wire. None stays in memory, in the cache or in the
// log.
func TestPasswordUnderFull(t *testing.T) {
	m := newMirror(t, pgtest.New(t), Config{CacheSize: 50})
	m.exec("ALTER TABLE commerce.users REPLICA IDENTITY FULL")
	streamed := 0 // written by the stream's goroutine, read after its end
	m.hooks.streamed = func(raw []byte) { streamed += secrets(t, bytes.NewReader(raw)) }
	m.changeSecrets()
	dump, err := os.Create(filepath.Join(t.TempDir(), "heap"))
	if err != nil {
		t.Fatal(err)
	}
	defer dump.Close()
	debug.WriteHeapDump(dump.Fd())
	if _, err := dump.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if n := secrets(t, bufio.NewReader(dump)); n != 0 {
		t.Errorf("%d passwords in memory", n)
	}
	if n := secrets(t, strings.NewReader(m.log.String())); n != 0 {
		t.Errorf("%d passwords in the log", n)
	}
	m.stop()
	if streamed < 100 {
		t.Errorf("%d passwords streamed: this proves nothing", streamed)
	}
}

// changeSecrets inserts, renames and deletes users, with and without a stream.
func (m *mirror) changeSecrets() {
	m.t.Helper()
	m.exec("INSERT INTO commerce.users SELECT i, 'user ' || i, " + secretSQL + " FROM generate_series(1, 100) i")
	m.run().standing()
	m.exec("UPDATE commerce.users SET username = 'renamed ' || id, password = " + secretSQL + " || id")
	m.exec("INSERT INTO commerce.users SELECT i, 'user ' || i, " + secretSQL + " FROM generate_series(101, 200) i")
	m.exec("DELETE FROM commerce.users WHERE id > 150")
	m.caughtUp()
	m.want(map[int32]string{7: "renamed 7", 101: "user 101"}, 7, 101, 151)
}
