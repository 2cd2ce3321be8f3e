package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"firstclick/internal/pgtest"
	"firstclick/internal/webtest"
)

// stage is a page on a server, with a real Postgres and an invented pipeline.
type stage struct {
	base   string
	server *Server
	page   *Page
	stop   func()
}

// begin starts a stage that listens on address. change changes the configuration.
func begin(t *testing.T, address, dsn string, change func(*PageConfig)) *stage {
	t.Helper()
	return beginServer(t, Config{Listen: address}, dsn, change)
}

// beginServer does the same with another configuration of the server.
func beginServer(t *testing.T, config Config, dsn string, change func(*PageConfig)) *stage {
	t.Helper()
	job := &webtest.Pipeline{}
	cfg := PageConfig{
		Stats: job.Stats, Latest: func() []string { return []string{"k1", webtest.HostileName} }, Database: dsn,
		Version: "test", Instance: "firstclick one",
		Settings: []Setting{{"--kafka", "localhost:9093", true}, {"--kafka-password", "set, not shown", true}},
		Explain: func(_ context.Context, id string) (any, error) {
			if id == "broken" {
				return nil, errors.New("read clicks: broker is gone")
			}
			return map[string]any{
				"checkout_id": id, "verdict": "right", "summary": "The first click of " + id + " is c1, 3 minutes " +
					"before it.", "why": []string{"c1 is the earliest"},
				"records": []any{}, "clicks": []any{}, "searched": []any{}, "elapsed_ns": 5_000_000,
			}, nil
		},
	}
	if change != nil {
		change(&cfg)
	}
	page, err := NewPage(cfg)
	if err != nil {
		t.Fatal(err)
	}
	config.Gatherer = prometheus.NewRegistry()
	server, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	server.Mount(page)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	s := &stage{base: "http://" + server.Addr().String(), server: server, page: page}
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
	t.Cleanup(s.stop)
	go func() { done <- server.Run(ctx) }()
	return s
}

// furnish inserts rows, instances and a hostile dead letter.
func furnish(t *testing.T, dsn string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	webtest.Furnish(t, conn)
}

func ask(t *testing.T, method, url string, headers map[string]string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		if name == "Host" {
			request.Host = value
		}
		request.Header.Set(name, value)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

func TestAnswers(t *testing.T) {
	dsn := pgtest.New(t)
	furnish(t, dsn)
	s := begin(t, "127.0.0.1:0", dsn, nil)
	for _, c := range []struct {
		path   string
		status int
		kind   string
		has    string
	}{
		{"/", 200, "text/html; charset=utf-8", "<title>firstclick</title>"},
		{"/page.js", 200, "text/javascript; charset=utf-8", "EventSource"},
		{"/page.css", 200, "text/css; charset=utf-8", "prefers-color-scheme"},
		{"/vendor/uplot.min.js", 200, "text/javascript; charset=utf-8", "v1.6.32"},
		{"/vendor/", 404, "text/plain; charset=utf-8", "not found"},
		{"/../page.go", 404, "", ""},
		{"/api/nothing", 404, "", ""},
		{"/api/explain?id=k1", 200, "application/json", `"summary":"The first click of k1`},
		{"/api/explain", 400, "application/json", "1 to 255 bytes"},
		{"/api/explain?id=" + strings.Repeat("a", 256), 400, "application/json", "1 to 255 bytes"},
		{"/api/explain?id=a%00b", 400, "application/json", "1 to 255 bytes"},
		{"/api/explain?id=%ff", 400, "application/json", "1 to 255 bytes"},
		{"/api/explain?id=broken", 502, "application/json", "broker is gone"},
		{"/api/dead-letters", 200, "application/json", `"reason":"too_large"`},
		{"/api/dead-letters?before=2", 200, "application/json", `[{"id":1,`},
		{"/api/dead-letters?before=x", 400, "application/json", "not an id"},
		{"/api/dead-letters/2", 200, "application/json", `"kept":false,"payload":""`},
		{"/api/dead-letters/3", 404, "application/json", "no dead letter 3"}, // another group's
		{"/api/dead-letters/1;drop", 400, "application/json", "not an id"},
		{"/api/dead-letters/99999999999999999999", 400, "application/json", "not an id"},
	} {
		answer, body := ask(t, "GET", s.base+c.path, nil)
		if answer.StatusCode != c.status || c.kind != "" && answer.Header.Get("Content-Type") != c.kind ||
			!strings.Contains(body, c.has) {
			t.Errorf(
				"%s: %d %q %.300q, want %d %q with %q",
				c.path,
				answer.StatusCode,
				answer.Header.Get("Content-Type"),
				body,
				c.status,
				c.kind,
				c.has,
			)
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
			"Cache-Control": "no-store", "Access-Control-Allow-Origin": "",
		} {
			if got := answer.Header.Get(name); got != want && !strings.HasPrefix(c.path, "/..") {
				t.Errorf("%s: %s is %q, want %q", c.path, name, got, want)
			}
		}
		policy := answer.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") ||
			strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", c.path, policy)
		}
	}
}

func TestPayloadIsSpelledOut(t *testing.T) {
	dsn := pgtest.New(t)
	furnish(t, dsn)
	s := begin(t, "127.0.0.1:0", dsn, nil)
	_, body := ask(t, "GET", s.base+"/api/dead-letters/1", nil)
	var l openLetter
	if err := json.Unmarshal([]byte(body), &l); err != nil {
		t.Fatal(err)
	}
	if want := "<script>document.title='owned'</script>\n\\u202eevil\\x00\\xff\\x1b[2J"; l.Payload != want {
		t.Errorf("payload %q, want %q", l.Payload, want)
	}
	if strings.Contains(body, "<script") { // encoding/json escapes it, so that an answer taken for HTML is none
		t.Errorf("markup in %q", body)
	}
}

// listen reads events until it has seen each wanted kind, and returns the first of each. Of a kind
// with state the first is the whole state.
func listen(t *testing.T, url string, wanted ...string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/api/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if kind := answer.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Fatalf("content type %q", kind)
	}
	got := map[string]string{}
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 4<<20)
	kind := ""
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			kind = name
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if len(data) > maxEvent {
				t.Errorf("an event %s of %d bytes", kind, len(data))
			}
			if got[kind] == "" {
				got[kind] = data
			}
		}
		all := true
		for _, k := range wanted {
			all = all && got[k] != ""
		}
		if all {
			return got
		}
	}
	t.Fatalf("the stream ended with %v only: %v", got, lines.Err())
	return nil
}

func TestStream(t *testing.T) {
	dsn := pgtest.New(t)
	furnish(t, dsn)
	s := begin(t, "127.0.0.1:0", dsn, func(cfg *PageConfig) {
		cfg.Verify = func(context.Context) (Verdict, error) { return Verdict{OK: true, Text: "all is well"}, nil }
	})
	got := listen(t, s.base, "hello", "history", "now", "rows", "aside", "verify")
	var h hello
	var now snapshot
	var rows shownRows
	var a aside
	for kind, into := range map[string]any{"hello": &h, "now": &now, "rows": &rows, "aside": &a} {
		if err := json.Unmarshal([]byte(got[kind]), into); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
	}
	if h.Instance != "firstclick one" || h.Group != "firstclick" || !h.Explain || !h.Verify || len(h.Settings) != 2 {
		t.Errorf("hello: %+v", h)
	}
	if now.Status.State == "" || now.Totals["rows"] == 0 || len(now.Checkouts) != 1 || now.Users["entries"] != 100.0 {
		t.Errorf("now: %+v", now)
	}
	if len(rows.Order) != 2 || rows.Order[0] != webtest.HostileName || rows.Rows["k1"].Amount == nil ||
		*rows.Rows["k1"].Amount != "12.35" {
		t.Errorf("rows: %s", got["rows"])
	}
	if len(a.Instances) != 1 || a.Instances["firstclick one"].Host != webtest.HostileName ||
		a.DeadLetters["json"] != 1 ||
		a.DeadLetters["too_large"] != 1 {
		t.Errorf("aside: %s", got["aside"])
	}
}

// While nobody looks there is no session in Postgres, and no verification.
func TestIdleCostsNothing(t *testing.T) {
	dsn := pgtest.New(t)
	furnish(t, dsn)
	var verified atomic.Int64
	job := &webtest.Pipeline{}
	s := begin(t, "127.0.0.1:0", dsn, func(cfg *PageConfig) {
		cfg.Stats = job.Stats
		cfg.Verify = func(context.Context) (Verdict, error) { verified.Add(1); return Verdict{OK: true}, nil }
	})
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(time.Minute); job.Calls() < 3; {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatal("no samples are taken")
		}
	}
	if n := s.page.pool.Stat().TotalConns(); n != 0 || verified.Load() != 0 {
		t.Errorf("%d sessions, %d verifications with no one looking", n, verified.Load())
	}
	listen(t, s.base, "aside", "verify")
	if verified.Load() == 0 {
		t.Error("no verification while somebody looks")
	}
}

// The page says that Postgres does not answer, and everything else goes on.
func TestPostgresIsDown(t *testing.T) {
	s := begin(t, "127.0.0.1:0", "postgres://nobody:hidden-password@127.0.0.1:1/none?sslmode=disable", nil)
	got := listen(t, s.base, "now", "aside")
	if !strings.Contains(got["aside"], `"error":"`) || strings.Contains(fmt.Sprint(got), "hidden-password") {
		t.Errorf("aside: %s", got["aside"])
	}
	if answer, body := ask(t, "GET", s.base+"/api/dead-letters", nil); answer.StatusCode != http.StatusBadGateway ||
		strings.Contains(body, "hidden-password") {
		t.Errorf("%d %s", answer.StatusCode, body)
	}
}
