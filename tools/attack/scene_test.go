//go:build attack

package attack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/childproc"
	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
	"firstclick/tools/testbed"
)

const (
	memoryLimit = 256 << 20
	mostMemory  = memoryLimit + memoryLimit/4 // resident, at its peak
	patience    = 2 * time.Minute             // for what another process does on a busy machine
)

// built is the binary that is attacked.
var built string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if built = os.Getenv("FIRSTCLICK_ATTACK_BINARY"); built != "" {
			return m.Run()
		}
		dir, err := os.MkdirTemp("", "firstclick-attack-")
		if err == nil {
			defer os.RemoveAll(dir)
			built = filepath.Join(dir, "firstclick")
			err = testbed.Build(context.Background(), built)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// scene is a firstclick at work, with all that it needs.
type scene struct {
	t       *testing.T
	brokers []string
	dsn     string
	db      *pgx.Conn
	process *childproc.Process
	log     string // the file
	base    string // http://127.0.0.1:port
	name    string // of its own rows: scenes may share a database
	props   props
	rows    int // written so far to see whether it writes
}

// props are what an attack needs otherwise than usual.
type props struct {
	brokers []string                                                                  // nil: a new fake cluster
	produce func(t testing.TB, topic string, partition int32, records ...*kgo.Record) // nil: as nobody in particular
	dsn     string                                                                    // empty: a new database
	args    []string                                                                  // of run, in addition
	env     []string
	files   int // open files that the process may have; 0: as many as we
}

// begin starts a firstclick and waits until it has written a row.
func begin(t *testing.T, p props) *scene {
	t.Helper()
	s := &scene{t: t, brokers: p.brokers, dsn: p.dsn, log: filepath.Join(t.TempDir(), "log"),
		name: fmt.Sprintf("alive-%x", rand.Uint32()), props: p}
	if s.brokers == nil {
		s.brokers = kafkatest.Fake(t, 2, "clicks", "checkouts")
	}
	if s.dsn == "" {
		s.dsn = pgtest.New(t)
	}
	var err error
	if s.db, err = pgx.Connect(t.Context(), s.dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.db.Close(context.Background()) })
	log, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() // the process has its own
	args := append([]string{built, "run", "--kafka", strings.Join(s.brokers, ","), "--listen", "127.0.0.1:0",
		"--log-format", "json",
		"--memory-limit", strconv.Itoa(memoryLimit)}, p.args...)
	if p.files > 0 {
		args = append([]string{"/bin/sh", "-c", `ulimit -n "$0" && exec "$@"`, strconv.Itoa(p.files)}, args...)
	}
	env := append([]string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.Getenv("TMPDIR"), "GODEBUG=" +
		os.Getenv("GODEBUG"), "DATABASE_URL=" + s.dsn}, p.env...)
	if s.process, err = childproc.Start(childproc.Config{Args: args, Env: env, Log: log,
		EndSignal: "KILL"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := errors.Join(s.process.Signal(syscall.SIGKILL), s.process.Wait(ctx)); err != nil {
			t.Error(err)
		}
	})
	address := regexp.MustCompile(`"msg":"serving [^"]*","address":"[^"]*:(\d+)"`)
	s.await("it listens", func() bool {
		m := address.FindStringSubmatch(s.said())
		if m != nil {
			s.base = "http://127.0.0.1:" + m[1]
		}
		return m != nil
	})
	s.writes()
	t.Logf("before the attack: peak of resident memory %d MiB", s.peak()>>20)
	return s
}

// awaitEnd waits until the process ends by itself, and gives its exit code.
func (s *scene) awaitEnd() (code int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := s.process.Wait(ctx); err != nil {
		s.t.Fatalf("%v\n%s", err, tail(s.said()))
	}
	if exit := (*exec.ExitError)(nil); errors.As(s.process.Result(), &exit) {
		return exit.ExitCode()
	}
	return 0
}

// end judges what every attack has to leave behind.
func (s *scene) end() {
	s.t.Helper()
	s.writes()
	peak := s.peak()
	s.t.Logf("after the attack: peak of resident memory %d MiB", peak>>20)
	if peak > mostMemory {
		s.t.Errorf("resident memory was %d MiB, with a limit of %d MiB", peak>>20, memoryLimit>>20)
	}
}

// said is the process' log so far.
func (s *scene) said() string {
	text, err := os.ReadFile(s.log)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// await waits until something holds.
func (s *scene) await(what string, holds func() bool) {
	s.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !holds() {
		if s.process.Ended(0) {
			s.t.Fatalf("%s: firstclick ended with %v\n%s", what, s.process.Result(), tail(s.said()))
		}
		select {
		case <-ticker.C:
		case <-deadline:
			s.t.Fatalf("%s: not after %v\n%s", what, patience, tail(s.said()))
		}
	}
}

func tail(text string) string { return text[max(0, len(text)-3000):] }

// pause lets an attack go on for a while.
func (s *scene) pause(d time.Duration) {
	s.t.Helper()
	end := time.Now().Add(d)
	s.await("a pause", func() bool { return time.Now().After(end) })
}

// peak is the most memory that the process had resident, in bytes.
func (s *scene) peak() int64 {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.PID()))
	if err != nil {
		s.t.Fatalf("firstclick is gone: %v\n%s", err, tail(s.said()))
	}
	m := regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`).FindSubmatch(text)
	if m == nil {
		s.t.Fatalf("no VmHWM in %s", text)
	}
	kib, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return kib << 10
}

// cpu is the processor time that the process has used.
func (s *scene) cpu() time.Duration {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.process.PID()))
	if err != nil {
		s.t.Fatalf("firstclick is gone: %v\n%s", err, tail(s.said()))
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // from the state on: proc_pid_stat(5)
	const user, system, tick = 11, 12, 10 * time.Millisecond
	var sum time.Duration
	for _, i := range []int{user, system} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			s.t.Fatal(err)
		}
		sum += time.Duration(n) * tick
	}
	return sum
}

// writes sends a click and its checkout, and waits for the row.
func (s *scene) writes() {
	s.t.Helper()
	s.rows++
	checkout := s.alive(s.rows)
	now := time.Now()
	s.produce("clicks", event{"click_id": "click-" + checkout, "user_id": 7, "product_id": "alive",
		"datetime_occured": stamp(now.Add(-time.Second))})
	s.produce("checkouts", event{"checkout_id": checkout, "user_id": 7, "product_id": "alive", "total_amount": 1,
		"datetime_occured": stamp(now)})
	s.await("the next row is written", func() bool {
		return s.count(`SELECT count(*) FROM commerce.attributed_checkouts WHERE checkout_id = $1`, checkout) == 1
	})
}

// alive is the checkout_id of the n-th row that was written to see whether it writes, from 1.
func (s *scene) alive(n int) string { return fmt.Sprintf("%s-%d", s.name, n) }

func (s *scene) count(sql string, args ...any) (n int64) {
	s.t.Helper()
	if err := s.db.QueryRow(s.t.Context(), sql, args...).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *scene) exec(sql string, args ...any) {
	s.t.Helper()
	if _, err := s.db.Exec(s.t.Context(), sql, args...); err != nil {
		s.t.Fatal(err)
	}
}

// event is a click or a checkout.
type event map[string]any

// stamp is a time as events have it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000000") }

func (e event) record(t *testing.T) *kgo.Record {
	t.Helper()
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(e); err != nil {
		t.Fatal(err)
	}
	return &kgo.Record{Value: []byte(text.String())}
}

// produce sends events to the first partition of a topic, no more at once than a broker takes in a
// batch.
func (s *scene) produce(topic string, events ...event) {
	s.t.Helper()
	const most = 900 << 10
	put := func(records []*kgo.Record) {
		if s.props.produce != nil {
			s.props.produce(s.t, topic, 0, records...)
			return
		}
		kafkatest.ProduceRecords(s.t, s.brokers, topic, 0, records...)
	}
	var records []*kgo.Record
	size := 0
	for _, e := range events {
		r := e.record(s.t)
		if size += len(r.Value); size > most && len(records) > 0 {
			put(records)
			records, size = nil, len(r.Value)
		}
		records = append(records, r)
	}
	put(records)
}

// get asks for something on a connection of its own, with a host's name and headers in addition.
func (s *scene) get(path, host string, headers map[string]string) *http.Response {
	s.t.Helper()
	answer, err := s.ask(http.MethodGet, path, host, "", headers)
	if err != nil {
		s.t.Fatalf("%s: %v", path, err)
	}
	return answer
}

func (s *scene) ask(method, path, host, body string, headers map[string]string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.base+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if host != "" {
		request.Host = host
	}
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	answer, err := client.Do(request)
	if err == nil {
		s.t.Cleanup(func() { _ = answer.Body.Close() })
	}
	return answer, err
}
