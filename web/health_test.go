package web

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"firstclick/pipeline"
)

func TestReadiness(t *testing.T) {
	good, advice, bad := pipeline.Check{
		Name: "kafka",
	}, pipeline.Check{
		Name:     "users_mirror",
		Err:      errors.New("no stream"),
		Advisory: true,
	}, pipeline.Check{
		Name: "postgres",
		Err:  errors.New("refused"),
	}
	for _, c := range []struct {
		name, query string
		checks      []pipeline.Check
		code        int
		body        string
	}{
		{"all well", "", []pipeline.Check{good}, 200, "ready\n"},
		{"all well, in words", "?verbose", []pipeline.Check{good}, 200, "[+] kafka ok\nready\n"},
		{"advice", "", []pipeline.Check{good, advice}, 200, "[!] users_mirror: no stream (advisory)\nready\n"},
		{"not well", "", []pipeline.Check{good, bad}, 503, "[-] postgres: refused\nnot ready\n"},
		{"not well, in words", "?verbose=1", []pipeline.Check{good, advice, bad}, 503,
			"[+] kafka ok\n[!] users_mirror: no stream (advisory)\n[-] postgres: refused\nnot ready\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			readiness(
				func() []pipeline.Check { return c.checks },
			)(
				w,
				httptest.NewRequest(http.MethodGet, "/readyz"+c.query, nil),
			)
			if w.Code != c.code || w.Body.String() != c.body {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body, c.code, c.body)
			}
		})
	}
}

// Profiles are served only on request, and never the command line.
func TestProfiles(t *testing.T) {
	server, err := New(Config{Listen: "127.0.0.1:0", Gatherer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	get := func(path string) int {
		w := httptest.NewRecorder()
		server.mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code
	}
	if code := get("/debug/pprof/"); code != 404 {
		t.Errorf("not asked for: %d", code)
	}
	server.Checks(func() []pipeline.Check { return nil })
	server.Profiles()
	for path, want := range map[string]int{"/debug/pprof/": 200, "/debug/pprof/heap": 200, "/debug/pprof/cmdline": 404,
		"/readyz": 200, "/healthz": 200, "/livez": 200} {
		if code := get(path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
}
