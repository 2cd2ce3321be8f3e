package cdc

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"firstclick/internal/pgserver"
	"firstclick/internal/pgtest"
)

// go test ./cdc -run TestCapture -capture 15,17 records what these versions send into testdata.
var captureVersions = flag.String("capture", "", "record pgoutput of these Postgres versions, like 15,17")

// captureScript is what a capture records. captureSecret is the password in it.
var captureScript = []string{
	"INSERT INTO commerce.users VALUES (1, 'Ada', 'KEEP-OUT-1'), (2, 'Grace', 'KEEP-OUT-2'), (3, 'Zoë', 'KEEP-OUT-3')",
	"UPDATE commerce.users SET username = 'Ada L.' WHERE id = 1",
	"UPDATE commerce.users SET password = 'KEEP-OUT-4' WHERE id = 1",
	"UPDATE commerce.users SET id = -20 WHERE id = 2",
	"DELETE FROM commerce.users WHERE id = 3",
	"INSERT INTO commerce.users VALUES (4, repeat('long ', 2000), 'KEEP-OUT-5')",
	"UPDATE commerce.users SET password = 'KEEP-OUT-6' WHERE id = 4",
	"ALTER TABLE commerce.users ADD COLUMN note text",
	"UPDATE commerce.users SET note = 'KEEP-OUT-7', username = 'noted' WHERE id = 1",
	"ALTER TABLE commerce.users DROP COLUMN note",
	"BEGIN; INSERT INTO commerce.users VALUES (5, 'five', 'KEEP-OUT-8'); SAVEPOINT s; " +
		"UPDATE commerce.users SET username = 'cinq' WHERE id = 5; RELEASE s; COMMIT",
	"TRUNCATE commerce.users",
	"INSERT INTO commerce.users VALUES (2147483647, '', 'KEEP-OUT-9')",
}

const captureSecret = "KEEP-OUT"

var captureIdentities = []string{"default", "full"}

func captureFile(version, identity string) string {
	return filepath.Join("testdata", fmt.Sprintf("pgoutput-%s-%s.bin", version, identity))
}

// capture runs the script and returns its pgoutput messages.
func capture(t *testing.T, server *pgserver.Server, identity string) [][]byte {
	t.Helper()
	m := newMirror(t, server.DSN("postgres"), Config{})
	m.exec("DROP SCHEMA IF EXISTS commerce CASCADE")
	usersTableIn(m)
	m.exec("ALTER TABLE commerce.users ALTER COLUMN username TYPE text, ALTER COLUMN username SET STORAGE EXTERNAL")
	m.exec("ALTER TABLE commerce.users REPLICA IDENTITY " + identity)
	var mu sync.Mutex
	var messages [][]byte
	m.hooks.streamed = func(raw []byte) {
		if raw[0] == 'w' {
			mu.Lock()
			defer mu.Unlock()
			messages = append(messages, append([]byte(nil), raw[25:]...))
		}
	}
	m.tuning.watch = time.Hour // one stream, whatever is altered
	m.run().standing()
	for _, sql := range captureScript {
		m.exec(sql)
	}
	m.caughtUp()
	m.stop()
	return messages
}

// TestCapture: what the server sends decodes to what the script did. With -capture it is recorded.
func TestCapture(t *testing.T) {
	servers := map[string]*pgserver.Server{}
	for version := range strings.SplitSeq(*captureVersions, ",") {
		var major int
		if n, _ := fmt.Sscan(version, &major); n == 1 {
			servers[version] = pgtest.StartTemporary(t, pgserver.WithVersion(major))
		}
	}
	record := len(servers) > 0
	if !record {
		servers["here"] = listing(t)
	}
	for version, server := range servers {
		for _, identity := range captureIdentities {
			messages := capture(t, server, identity)
			if record {
				var file []byte
				for _, message := range messages {
					file = binary.BigEndian.AppendUint32(file, uint32(len(message)))
					file = append(file, message...)
				}
				if err := os.WriteFile(captureFile(version, identity), file, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			compareCapture(t, version+" "+identity, identity, messages)
		}
	}
}

// TestDecodeCaptured decodes the recorded bytes of real servers.
func TestDecodeCaptured(t *testing.T) {
	files := capturedFiles(t)
	if len(files) < len(captureIdentities) {
		t.Fatalf("only %d recordings", len(files))
	}
	for _, file := range files {
		identity := "default"
		if strings.Contains(file, "full") {
			identity = "full"
		}
		compareCapture(t, file, identity, readCapture(t, file))
	}
}

func capturedFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "pgoutput-*.bin"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func readCapture(t testing.TB, file string) [][]byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var messages [][]byte
	for len(b) > 0 {
		n := binary.BigEndian.Uint32(b)
		messages = append(messages, b[4:4+n:4+n])
		b = b[4+n:]
	}
	return messages
}

// compareCapture decodes messages and compares the changes with those of the script. Passwords may
// be in the messages under FULL, but never in the buffers after decoding.
func compareCapture(t *testing.T, name, identity string, messages [][]byte) {
	t.Helper()
	d := newDecoder()
	var got []string
	var sent, left int
	for _, message := range messages {
		sent += strings.Count(string(message), captureSecret)
		var ch change
		if err := d.decode(message, &ch); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		left += strings.Count(string(message), captureSecret)
		if s := describe(&ch); s != "" {
			got = append(got, s)
		}
	}
	if left != 0 {
		t.Errorf("%s: %d passwords left in the buffer", name, left)
	}
	if identity == "default" && sent != 0 {
		t.Errorf("%s: %d passwords in the stream", name, sent)
	}
	if identity == "full" && sent == 0 {
		t.Errorf("%s: no password in the stream: the capture proves nothing", name)
	}
	old := func(id int) string {
		if identity == "full" {
			return fmt.Sprintf(" from %d", id)
		}
		return ""
	}
	long := strings.Repeat("long ", 2000)
	unchanged := "unchanged"
	if identity == "full" {
		unchanged = fmt.Sprintf("%q", long) // the old row has it
	}
	want := []string{
		"begin", `insert 1 "Ada"`, `insert 2 "Grace"`, `insert 3 "Zoë"`, "commit",
		"begin", `update 1 "Ada L."` + old(1), "commit",
		"begin", `update 1 "Ada L."` + old(1), "commit",
		"begin", `update -20 "Grace" from 2`, "commit",
		"begin", "delete 3", "commit",
		"begin", fmt.Sprintf("insert 4 %q", long), "commit",
		"begin", "update 4 " + unchanged + old(4), "commit",
		"begin", `update 1 "noted"` + old(1), "commit",
		"begin", `insert 5 "five"`, `update 5 "cinq"` + old(5), "commit",
		"begin", "truncate", "commit",
		"begin", `insert 2147483647 ""`, "commit",
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("%s: decoded\n%s\nwant\n%s", name, g, w)
	}
}

func describe(ch *change) string {
	name := map[textState]string{textUnchanged: "unchanged", textNull: "NULL",
		textValue: fmt.Sprintf("%q", ch.name.bytes)}[ch.name.state]
	switch ch.kind {
	case kindBegin:
		return "begin"
	case kindCommit:
		return "commit"
	case kindInsert:
		return fmt.Sprintf("insert %d %s", ch.id.value, name)
	case kindUpdate:
		s := fmt.Sprintf("update %d %s", ch.id.value, name)
		if ch.hasOld {
			s += fmt.Sprintf(" from %d", ch.old.value)
		}
		return s
	case kindDelete:
		return fmt.Sprintf("delete %d", ch.old.value)
	case kindTruncate:
		return "truncate"
	}
	return ""
}
