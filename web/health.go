package web

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"strings"

	"firstclick/pipeline"
)

// Checks serves /readyz, and /healthz as another name of it: 200 while every check that is not
// advisory holds, else 503. With ?verbose the answer has every check, else only those that fail.
// Call it before Run.
func (s *Server) Checks(checks func() []pipeline.Check) {
	answer := readiness(checks)
	s.mux.Handle("GET /readyz", answer)
	s.mux.Handle("GET /healthz", answer)
}

func readiness(checks func() []pipeline.Check) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		verbose := r.URL.Query().Has("verbose")
		var text strings.Builder
		status, verdict := http.StatusOK, "ready"
		for _, c := range checks() {
			switch {
			case c.Err == nil && verbose:
				fmt.Fprintf(&text, "[+] %s ok\n", c.Name)
			case c.Err == nil:
			case c.Advisory:
				fmt.Fprintf(&text, "[!] %s: %v (advisory)\n", c.Name, c.Err)
			default:
				status, verdict = http.StatusServiceUnavailable, "not ready"
				fmt.Fprintf(&text, "[-] %s: %v\n", c.Name, c.Err)
			}
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		fmt.Fprintln(w, text.String()+verdict)
	}
}

// Profiles serves Go's profiles under /debug/pprof/. They show parts of the memory, and cost time.
// Call it before Run.
func (s *Server) Profiles() {
	s.mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	s.mux.HandleFunc("GET /debug/pprof/cmdline", http.NotFound) // the command line may hold a password
	s.mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	s.mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	s.mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}
