//go:build attack

package attack

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"firstclick/internal/pgtest"
)

// Whoever can read the memory of the process, or a core dump, finds no user's password there, also
// where Postgres sends whole rows.
func TestNoPasswordsInMemory(t *testing.T) {
	// The kernel saves the registers of a thread that is interrupted in mid copy: some 100 bytes on
	// its signal stack, until the next signal.
	t.Setenv("GODEBUG", "asyncpreemptoff=1")
	dsn := pgtest.New(t)
	marker := fmt.Sprintf("hunter%016x", rand.Uint64())
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, sql := range []string{
		`INSERT INTO commerce.users (id, username, password) SELECT i, 'user' || i, '` + marker +
			`' || i FROM generate_series(1, 200) i`,
		`ALTER TABLE commerce.users REPLICA IDENTITY FULL`,
		`CREATE PUBLICATION firstclick_users FOR TABLE ONLY commerce.users WITH (publish = 'insert, update, delete, ` +
			`truncate')`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	s := begin(t, props{dsn: dsn})
	renamed := 0
	s.await("a change is mirrored", func() bool {
		renamed++
		s.exec(`UPDATE commerce.users SET username = 'renamed ' || $1::text, password = $2 || 'new' || $1::text`,
			strconv.Itoa(renamed), marker)
		id := fmt.Sprintf("named-%d", renamed)
		s.produce("checkouts", event{"checkout_id": id, "user_id": 5, "product_id": "p", "total_amount": 1,
			"datetime_occured": stamp(time.Now())})
		s.await("its row", func() bool {
			return s.count(`SELECT count(*) FROM commerce.attributed_checkouts WHERE checkout_id = $1`, id) == 1
		})
		answer := s.get("/metrics", "", nil)
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(`(?m)^firstclick_users_applied_changes_total\S* (\S+)$`).FindSubmatch(text)
		if m == nil {
			t.Fatal("no metric of changes")
		}
		applied, err := strconv.ParseFloat(string(m[1]), 64)
		return err == nil && applied >= 1000
	})
	found, looked := s.inMemory([]byte(marker))
	t.Logf("%d passwords in %d MiB of memory, after %d changes of 200 users", found, looked>>20, renamed)
	if found > 0 {
		t.Errorf("%d passwords are in memory", found)
	}
	if names, _ := s.inMemory([]byte("renamed ")); names == 0 {
		t.Error("not even names are found: this is not the memory")
	}
	s.end()
}

// inMemory counts how often a text stands in the memory that the process may write to.
func (s *scene) inMemory(text []byte) (found int, looked int64) {
	s.t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", s.process.PID()))
	if err != nil {
		s.t.Fatal(err)
	}
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", s.process.PID()))
	if err != nil {
		s.t.Fatal(err)
	}
	defer memory.Close()
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var rights string
		if n, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &rights); n != 3 || err != nil ||
			!strings.HasPrefix(rights, "rw") {
			continue
		}
		const piece = 1 << 20
		buffer := make([]byte, piece+len(text)) // a text may lie across two pieces
		for at := from; at < to; at += piece {
			// what is reserved and not there cannot be read
			n, _ := memory.ReadAt(buffer[:min(int64(len(buffer)), to-at)], at)
			found += bytes.Count(buffer[:n], text)
			looked += int64(n)
		}
	}
	return found, looked
}
