package web

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"firstclick/internal/pgtest"
)

// runServer serves until the test ends.
func runServer(t *testing.T, config Config) *Server {
	t.Helper()
	config.Listen, config.Gatherer = "127.0.0.1:0", prometheus.NewRegistry()
	s, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	runThis(t, s)
	return s
}

func runThis(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// dial opens a connection and sends a text, which may be less than a request.
func dial(t *testing.T, s *Server, send string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, send); err != nil && send != "" {
		t.Fatal(err)
	}
	return c
}

// Any number of waiting connections, idle, with half a header or without a body: the next probe and
// the next scrape are answered.
func TestWaitingConnectionsKeepNobodyOut(t *testing.T) {
	s := runServer(t, Config{})
	for name, send := range map[string]string{
		"idle":              "",
		"half a header":     "GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("a", 8<<10),
		"no body":           "POST /api/actions/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n",
		"a scrape's answer": "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
	} {
		for range 2 * maxConnections {
			dial(t, s, send)
		}
		for _, path := range []string{"/livez", "/metrics"} {
			if answer, body := ask(t, "GET", "http://"+s.Addr().String()+path,
				nil); answer.StatusCode != http.StatusOK {
				t.Errorf("%s: %s: %d %s", name, path, answer.StatusCode, body)
			}
		}
		s.gate.mu.Lock()
		if s.gate.open > maxConnections {
			t.Errorf("%s: %d connections are open", name, s.gate.open)
		}
		s.gate.mu.Unlock()
	}
}

// The connection that has waited longest is closed first, of the client with the most. A connection
// with a running handler stays.
func TestWhoMakesRoom(t *testing.T) {
	g := &gate{}
	at := func(from string) *conn {
		c := &conn{gate: g, from: from}
		g.waiting = append(g.waiting, c)
		return c
	}
	neighbour, busy, first, second := at("n"), at("crowd"), at("crowd"), at("crowd")
	r, err := http.NewRequestWithContext(context.WithValue(t.Context(), connKey{}, busy), http.MethodGet, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	done := serving(r)
	if g.leaving() != first {
		t.Error("not the oldest of the crowd")
	}
	done()
	g.stopWaiting(first)
	g.stopWaiting(second)
	if g.leaving() != neighbour {
		t.Error("not the oldest of those with one each")
	}
	g.stopWaiting(neighbour)
	if g.leaving() != busy {
		t.Error("one whose request has ended waits for the next")
	}
	g.stopWaiting(busy)
	if g.leaving() != nil {
		t.Error("somebody makes room where nobody waits")
	}
}

func TestLongHeader(t *testing.T) {
	s := runServer(t, Config{})
	c := dial(t, s, "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ")
	go func() {
		_, _ = io.WriteString(c, strings.Repeat("a",
			2*maxHeader)+"\r\n\r\n")
	}() // cut off where it is too long
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || !strings.Contains(line, "431") {
		t.Errorf("%q, %v", line, err)
	}
}

// Too many requests are refused at once, but not health and metrics.
func TestTooManyRequests(t *testing.T) {
	started, release := make(chan struct{}, maxRequests), make(chan struct{})
	s, err := New(Config{Listen: "127.0.0.1:0", Gatherer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	s.mux.HandleFunc("GET /slow", func(http.ResponseWriter, *http.Request) {
		started <- struct{}{}
		<-release
	})
	runThis(t, s)
	defer close(release)
	for range maxRequests {
		dial(t, s, "GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
		<-started
	}
	for path, want := range map[string]int{"/slow": 503, "/livez": 200, "/metrics": 200} {
		if answer, body := ask(t, "GET", "http://"+s.Addr().String()+path, nil); answer.StatusCode != want {
			t.Errorf("%s: %d %s, want %d", path, answer.StatusCode, body, want)
		}
	}
}

// Log lines of net/http go to our log.
func TestAcceptErrorsAreLogged(t *testing.T) {
	var out bytes.Buffer
	s, err := New(
		Config{
			Listen:   "127.0.0.1:0",
			Gatherer: prometheus.NewRegistry(),
			Logger:   slog.New(slog.NewJSONHandler(&out, nil)),
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	accepted := 0
	broken := acceptFunc(func() (net.Conn, error) {
		if accepted++; accepted == 1 {
			return nil, temporary{}
		}
		return nil, net.ErrClosed
	})
	if err := s.server.Serve(broken); !errors.Is(err, net.ErrClosed) {
		t.Errorf("served until %v", err)
	}
	if text := out.String(); !strings.Contains(
		text,
		`"level":"WARN","msg":"the HTTP server","cause":"http: Accept error: too many open files`,
	) {
		t.Errorf("log: %s", text)
	}
}

type acceptFunc func() (net.Conn, error)

func (f acceptFunc) Accept() (net.Conn, error) { return f() }
func (acceptFunc) Close() error                { return nil }
func (acceptFunc) Addr() net.Addr              { return &net.TCPAddr{} }

type temporary struct{}

func (temporary) Error() string   { return "too many open files" }
func (temporary) Timeout() bool   { return false }
func (temporary) Temporary() bool { return true }

// Without authentication only requests to our names or to an address are answered, for every path
// and every --listen.
func TestOnlyOurNames(t *testing.T) {
	var log bytes.Buffer
	config := Config{Hosts: []string{"firstclick", "Page.example."}, Logger: slog.New(slog.NewJSONHandler(&log, nil))}
	for _, listen := range []string{"127.0.0.1:0", ":0"} {
		config.Listen = listen
		s := beginServer(t, config, pgtest.New(t), nil)
		s.server.Checks(nil)
		s.server.Profiles()
		base := fmt.Sprintf("http://127.0.0.1:%d", s.server.Addr().Port)
		for host, want := range map[string]int{
			"localhost:8081": 200, "LOCALHOST": 200, "127.0.0.1": 200, "[::1]:8081": 200, "10.0.0.7": 200,
			"[fe80::1%25eth0]:1": 200, "firstclick:8081": 200, "page.EXAMPLE": 200, "firstclick.": 200,
			"evil.example:8081": 421, "localhost.evil.example": 421, "evil.localhost": 421,
			"127.0.0.1.evil.example": 421, "2130706433": 421, "0x7f.1": 421, "xfirstclick": 421,
		} {
			for _, path := range []string{"/", "/metrics", "/livez", "/debug/pprof/", "/api/dead-letters"} {
				if answer, body := ask(t, "GET", base+path,
					map[string]string{"Host": host}); answer.StatusCode != want {
					t.Errorf("%s: %s at %s: %d %.200s, want %d", listen, path, host, answer.StatusCode, body, want)
				}
			}
		}
		s.stop()
	}
	if n := strings.Count(log.String(), "refused a request by a name"); n != 2 { // once a minute, of each server
		t.Errorf("%d lines about refused names: %s", n, log.String())
	}
}

// With authentication every name is accepted: a website that has rebound its own name has no
// password.
func TestNamesBehindAuthentication(t *testing.T) {
	s, err := New(Config{Listen: "127.0.0.1:0", Gatherer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	s.Guard(&Auth{})
	runThis(t, s)
	for path, want := range map[string]int{"/": 401, "/metrics": 401, "/livez": 200} {
		if answer, _ := ask(t, "GET", "http://"+s.Addr().String()+path,
			map[string]string{"Host": "page.example"}); answer.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, answer.StatusCode, want)
		}
	}
}

// Costly requests of another site's page are refused.
func TestCostsOnlyForUs(t *testing.T) {
	explained := 0
	s := begin(t, "127.0.0.1:0", pgtest.New(t), func(cfg *PageConfig) {
		cfg.Explain = func(context.Context, string) (any, error) { explained++; return struct{}{}, nil }
	})
	s.server.Profiles()
	const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	wanted := 0
	for _, c := range []struct {
		name    string
		headers map[string]string
		want    int
	}{
		{"no browser", nil, 200},
		{"the address bar", map[string]string{"Sec-Fetch-Site": "none", "User-Agent": firefox}, 200},
		{"our page", map[string]string{"Sec-Fetch-Site": "same-origin", "User-Agent": firefox}, 200},
		{"our page over http", map[string]string{pageHeader: "page", "User-Agent": firefox}, 200},
		{"our origin", map[string]string{"Origin": s.base, "User-Agent": firefox}, 200},
		{"another site", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"the same site", map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{"another site with our header", map[string]string{"Sec-Fetch-Site": "cross-site", pageHeader: "page"}, 403},
		{"another origin", map[string]string{"Origin": "https://evil.example"}, 403},
		{"origin null", map[string]string{"Origin": "null"}, 403},
		{"another port", map[string]string{"Origin": "http://127.0.0.1:1"}, 403},
		{"a picture over http", map[string]string{"User-Agent": firefox}, 403},
	} {
		if answer, body := ask(t, "GET", s.base+"/api/explain?id=k1", c.headers); answer.StatusCode != c.want {
			t.Errorf("%s: %d %s, want %d", c.name, answer.StatusCode, body, c.want)
		}
		if c.want == 200 {
			wanted++
		}
		if answer, _ := ask(t, "GET", s.base+"/api/dead-letters", c.headers); answer.StatusCode != c.want {
			t.Errorf("%s: dead letters: %d, want %d", c.name, answer.StatusCode, c.want)
		}
		if answer, _ := ask(t, "GET", s.base+"/debug/pprof/symbol", c.headers); answer.StatusCode != c.want {
			t.Errorf("%s: profile: %d, want %d", c.name, answer.StatusCode, c.want)
		}
	}
	if explained != wanted {
		t.Errorf("explained %d times, want %d", explained, wanted)
	}
	if answer, _ := ask(t, "GET", s.base+"/", map[string]string{"Sec-Fetch-Site": "cross-site",
		"User-Agent": firefox}); answer.StatusCode != http.StatusOK {
		t.Errorf("a link to the page: %d", answer.StatusCode)
	}
}

// A stream outlasts the read timeout of requests. A stream that is not read ends.
func TestStreamThatIsNotRead(t *testing.T) {
	s := begin(t, "127.0.0.1:0", pgtest.New(t), nil)
	c := dial(t, s.server, "GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if tcp, ok := c.(*net.TCPConn); !ok || tcp.SetReadBuffer(4<<10) != nil {
		t.Fatal("no small buffer")
	}
	awaitStreams := func(n int) {
		t.Helper()
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		deadline := time.After(2 * time.Minute)
		for {
			s.page.hub.mu.Lock()
			have := len(s.page.hub.streams)
			s.page.hub.mu.Unlock()
			if have == n {
				return
			}
			if n == 0 {
				s.page.hub.send("action", strings.Repeat("x", maxEvent/2))
			}
			select {
			case <-ticker.C:
			case <-deadline:
				t.Fatalf("%d streams, want %d", have, n)
			}
		}
	}
	awaitStreams(1)
	awaitStreams(0)
}
