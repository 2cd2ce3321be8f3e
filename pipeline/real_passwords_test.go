//go:build realkafka && linux

package pipeline_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
)

// tap is a proxy between the program and Postgres that searches both directions for words.
type tap struct {
	dsn   string // by way of the tap
	words [][]byte
	seen  []atomic.Bool // by word
	wait  sync.WaitGroup
}

func newTap(t testing.TB, dsn string, words ...string) *tap {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	server := u.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u.Host = listener.Addr().String()
	p := &tap{dsn: u.String(), seen: make([]atomic.Bool, len(words))}
	for _, w := range words {
		p.words = append(p.words, []byte(w))
	}
	p.wait.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // closed
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close() // the program sees that Postgres is away
				continue
			}
			p.wait.Go(func() { p.pass(upstream, client) })
			p.wait.Go(func() { p.pass(client, upstream) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		p.wait.Wait() // the program has been killed by then, so its connections are gone
	})
	return p
}

func (p *tap) pass(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	// until one side closes
	_, _ = io.Copy(to, io.TeeReader(from, &searcher{words: p.words, found: func(i int) { p.seen[i].Store(true) }}))
}

// searcher finds words in what is written to it, also across the borders of writes.
type searcher struct {
	words [][]byte
	found func(word int)
	tail  []byte
}

func (s *searcher) Write(b []byte) (int, error) {
	text := append(s.tail, b...)
	longest := 0
	for i, w := range s.words {
		if bytes.Contains(text, w) {
			s.found(i)
		}
		longest = max(longest, len(w)-1)
	}
	s.tail = append([]byte(nil), text[max(0, len(text)-longest):]...)
	return len(b), nil
}

// inMemory says which words are in the memory of a process.
// https://man7.org/linux/man-pages/man5/proc_pid_maps.5.html
func inMemory(t testing.TB, pid int, words ...string) []bool {
	t.Helper()
	found := make([]bool, len(words))
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	var all [][]byte
	for _, w := range words {
		all = append(all, []byte(w))
	}
	read := int64(0)
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		var from, to int64
		var rights string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &rights); err != nil || rights[0] != 'r' ||
			strings.Contains(lines.Text(), "[v") {
			continue // [vvar], [vdso] and [vsyscall] are the kernel's
		}
		n, err := io.Copy(&searcher{words: all, found: func(i int) { found[i] = true }},
			io.NewSectionReader(memory, from, to-from))
		if err != nil && !errors.Is(err, syscall.EIO) {
			t.Fatalf("read %s: %v", lines.Text(), err)
		}
		read += n
	}
	t.Logf("searched %d MiB of memory", read>>20)
	return found
}

// shop runs the program on users whose passwords hold a word that can be found, and changes users
// and passwords while it runs. It returns when the rows and dead letters are there.
func shop(t *testing.T, identity, secret, name string) (*world, *tap, *program) {
	// The kernel saves the registers of a thread that it interrupts in the middle of a copy: about
	// 100 bytes on the signal stack, until the next signal.
	t.Setenv("GODEBUG", "asyncpreemptoff=1")
	w := newWorld(t, pgtest.New(t), 1, 1)
	exec(t, w.conn, `ALTER TABLE commerce.users REPLICA IDENTITY `+identity)
	exec(t, w.conn, `INSERT INTO commerce.users SELECT i, $1 || i, $2 || i
		FROM generate_series(1, 2000) i`, name, secret)
	line := newTap(t, w.dsn, secret, name)
	direct := w.dsn
	w.dsn = line.dsn
	p := w.start(binary(t), "--log-level", "debug", "--users-cache", "1500")
	w.dsn = direct
	connected := func() bool { p.alive(); return bytes.Contains(p.said(0), []byte("shard taken over")) }
	eventually(t, "the shard", connected)
	buy := func(round, from, to int) {
		var vs []string
		for u := from; u <= to; u++ {
			vs = append(vs, checkout(fmt.Sprintf("k%d-%d", round, u), u, "p", "1", "2026-01-01 00:00:00"))
			if u%100 == 0 {
				vs = append(vs, fmt.Sprintf(`{"checkout_id": "bad%d", "user_id": %d`, u, u))
			}
		}
		kafkatest.Produce(t, w.brokers, w.checkouts, 0, values(vs...)...)
	}
	buy(1, 1, 2000)
	eventually(t, "the slot", func() bool {
		return count(t, w.conn, `SELECT count(*) FROM pg_replication_slots WHERE active
			AND database = current_database()`) == 1
	})
	exec(t, w.conn, `INSERT INTO commerce.users SELECT i, $1 || i, $2 || i
		FROM generate_series(2001, 2100) i`, name, secret)
	exec(t, w.conn, `UPDATE commerce.users SET password = $1 || 'new' || id`, secret)
	exec(t, w.conn, `UPDATE commerce.users SET username = $1 || 'renamed' || id WHERE id <= 500`, name)
	exec(t, w.conn, `UPDATE commerce.users SET id = id + 10000 WHERE id > 1990`)
	exec(t, w.conn, `DELETE FROM commerce.users WHERE id BETWEEN 501 AND 600`)
	buy(2, 1, 2100)
	eventually(t, "the rows", func() bool {
		p.alive()
		return countRows(t, w.conn, `true`) == 4100
	})
	eventually(t, "the dead letters", func() bool { return countLetters(t, w.conn, `true`) == 41 })
	// The mirror has applied the last change: the newest name is known.
	exec(t, w.conn, `INSERT INTO commerce.users VALUES (50, $1 || 'last', $2 || 'last') ON CONFLICT (id) DO UPDATE
		SET username = excluded.username, password = excluded.password`, name, secret)
	round := 2
	eventually(t, "the last name", func() bool {
		round++
		buy(round, 50, 50)
		return countRows(t, w.conn, `user_name = $1 || 'last'`, name) > 0
	})
	return w, line, p
}

// written fails the test if the secret is in the log or in a table that firstclick writes.
func written(t *testing.T, w *world, p *program, secret string) {
	t.Helper()
	log := p.said(0)
	if bytes.Contains(log, []byte(secret)) {
		t.Errorf("a password is in the log")
	}
	if !bytes.Contains(log, []byte(`"level":"DEBUG"`)) && !bytes.Contains(log, []byte(`"level":"INFO"`)) {
		t.Errorf("the log holds nothing")
	}
	for _, table := range []string{"commerce.attributed_checkouts", "firstclick.offsets", "firstclick.progress",
		"firstclick.late", "firstclick.unknown_users", "firstclick.instances", "firstclick.dead_letters"} {
		if n := count(t, w.conn, `SELECT count(*) FROM `+table+` x
			WHERE position($1::text in x::text) > 0`, secret); n != 0 {
			t.Errorf("%d rows of %s hold a password", n, table)
		}
	}
	if n := countLetters(t, w.conn, `position($1::text::bytea in payload) > 0`, secret); n != 0 {
		t.Errorf("the payloads of %d dead letters hold a password", n)
	}
}

func word(t testing.TB, kind string) string {
	t.Helper()
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	return kind + hex.EncodeToString(b[:])
}

func TestPasswordsStayInPostgres(t *testing.T) {
	t.Run("default identity", func(t *testing.T) {
		secret, name := word(t, "password-"), word(t, "name-")
		w, line, p := shop(t, "DEFAULT", secret, name)
		if line.seen[0].Load() {
			t.Errorf("a password has passed the connections to Postgres")
		}
		if err := p.Pause(); err != nil { // memory holds still
			t.Fatal(err)
		}
		found := inMemory(t, p.PID(), secret, name)
		if found[0] {
			t.Errorf("a password is in memory")
		}
		if !found[1] || !line.seen[1].Load() {
			t.Errorf("names are neither in memory nor on the line: the search proves nothing")
		}
		written(t, w, p, secret)
	})
	// Every change holds the whole row here, so passwords reach the socket, but go no further.
	t.Run("full identity", func(t *testing.T) {
		secret, name := word(t, "password-"), word(t, "name-")
		w, line, p := shop(t, "FULL", secret, name)
		if !line.seen[0].Load() || !line.seen[1].Load() {
			t.Errorf("no password on the line: the tap proves nothing")
		}
		if err := p.Pause(); err != nil { // memory holds still
			t.Fatal(err)
		}
		if found := inMemory(t, p.PID(), secret, name); found[0] || !found[1] {
			t.Errorf("in memory: a password %v, a name %v", found[0], found[1])
		}
		written(t, w, p, secret)
	})
}
