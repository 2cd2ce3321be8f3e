package web

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAuth(t *testing.T) {
	file := filepath.Join(t.TempDir(), "auth")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ReadAuth("ada:a secret in place of its file"); err == nil || strings.Contains(err.Error(), "secret") ||
		!strings.Contains(err.Error(), "no such file") {
		t.Errorf("no file: %v", err)
	}
	write("# nobody\n\n")
	if _, err := ReadAuth(file); err == nil {
		t.Error("a file without anybody was taken")
	}
	write("b0aa-token\nada:\n")
	if _, err := ReadAuth(file); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a name without a password: %v", err)
	}
	write("# who may look\nada:pass:word\r\nb0aa-token\n")
	auth, err := ReadAuth(file)
	if err != nil {
		t.Fatal(err)
	}
	for text, warnings := range map[string]int{"ada:a long password\nthis-is-a-token\n": 0, "ada:x\n": 1,
		"y\nada:a long password\nbob:123\n": 2} {
		write(text)
		if a, err := ReadAuth(file); err != nil || len(a.Warnings) != warnings {
			t.Errorf("%q: %v, %v, want %d warnings", text, a, err, warnings)
		}
	}
	write("ada:a long password\n")
	for mode, warnings := range map[os.FileMode]int{0o600: 0, 0o400: 0, 0o440: 0, 0o640: 0, 0o666: 1, 0o644: 1,
		0o660: 1, 0o604: 1} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		if a, err := ReadAuth(file); err != nil || len(a.Warnings) != warnings ||
			strings.Contains(fmt.Sprint(a.Warnings), "a long password") {
			t.Errorf("mode %o: %v, %v, want %d warnings", mode, a.Warnings, err, warnings)
		}
	}
	inner := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	basic := func(name, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(name, password) }
	}
	bearer := func(text string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", text) }
	}
	for _, c := range []struct {
		name, path string
		with       func(*http.Request)
		want       int
	}{
		{"nobody", "/", func(*http.Request) {}, 401}, {"nobody's metrics", "/metrics", func(*http.Request) {}, 401},
		{"watchdog", "/livez", func(*http.Request) {}, 204},
		{"watchdog with more", "/livez/../", func(*http.Request) {}, 401},
		{"ada", "/", basic("ada", "pass:word"), 204}, {"ada's wrong password", "/", basic("ada", "pass"), 401},
		{"split elsewhere", "/", basic("ada:pass", "word"), 204},
		{"empty", "/", basic("", ""), 401}, {"token", "/metrics", bearer("Bearer b0aa-token"), 204},
		{"token in lower case", "/metrics", bearer("bearer b0aa-token"), 204},
		{"wrong token", "/metrics", bearer("Bearer b0aa"), 401}, {"empty token", "/metrics", bearer("Bearer "), 401},
		{"token as a password", "/", basic("x", "b0aa-token"), 204},
		{"a user as a token", "/", bearer("Bearer ada:pass:word"), 401},
		{"comment", "/", bearer("Bearer # who may look"), 401},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost"+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.with(r)
		w := &recorder{header: http.Header{}}
		server := &Server{auth: auth, mux: http.NewServeMux(), busy: make(chan struct{}, 1)}
		server.mux.Handle("/", inner)
		server.serve(w, r)
		if w.status != c.want {
			t.Errorf("%s: %d, want %d", c.name, w.status, c.want)
		}
		if c.want == 401 && !strings.HasPrefix(w.header.Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%s: a browser is not asked", c.name)
		}
	}
}

type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(b []byte) (int, error) { return len(b), nil }
func (r *recorder) WriteHeader(status int)      { r.status = status }
