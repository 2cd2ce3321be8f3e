package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Limits of what a client may use. Only an action's request has a body: an id.
const (
	maxHeader     = 16 << 10         // bytes
	headWithin    = 5 * time.Second  // from the first byte of a request to the end of its header
	readWithin    = 10 * time.Second // to the end of its body
	writeWithin   = 30 * time.Second // until the answer is written; handlers that need longer say so
	idleWithin    = 2 * time.Minute  // between two requests of a connection: longer than Prometheus' pause
	maxRequests   = 32               // under way at once, besides streams (maxStreams), health and metrics
	maxScrapes    = 8
	shutdownGrace = 3 * time.Second // for requests in flight when the server stops
)

// ErrPortTaken says that another process listens on the address.
var ErrPortTaken = errors.New("address already in use")

// Config is the configuration of a server.
type Config struct {
	Listen   string // "host:port"; port 0 picks a free one
	Gatherer prometheus.Gatherer
	Hosts    []string     // names of this server, besides addresses, localhost and the name in Listen
	Logger   *slog.Logger // nil: no log
}

// Server serves /livez, /metrics and, if they are added, /readyz, profiles and the page.
type Server struct {
	gate   *gate
	server *http.Server
	mux    *http.ServeMux
	names  *hostNames
	auth   *Auth // nil: everybody who uses one of names may look
	page   *Page // nil: none
	busy   chan struct{}
}

// New takes the address and serves nothing yet. The error is [ErrPortTaken] if the port is in use.
func New(cfg Config) (*Server, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", cfg.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		err = ErrPortTaken
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", cfg.Listen, err)
	}
	s := &Server{
		gate: &gate{Listener: listener}, mux: http.NewServeMux(),
		names: newHostNames(cfg.Listen, cfg.Hosts, cfg.Logger), busy: make(chan struct{}, maxRequests),
	}
	s.server = &http.Server{
		Handler: http.HandlerFunc(s.serve), MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: headWithin, ReadTimeout: readWithin, WriteTimeout: writeWithin, IdleTimeout: idleWithin,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{},
				c)
		},
		ErrorLog: slog.NewLogLogger(serverLog{cfg.Logger.Handler()}, slog.LevelWarn),
	}
	scrapes := promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes}
	s.mux.Handle("GET /metrics", promhttp.HandlerFor(cfg.Gatherer, scrapes))
	s.mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, "ok")
	})
	return s, nil
}

// serverLog gives the log lines of net/http one message, under which the documentation lists them.
type serverLog struct{ slog.Handler }

func (l serverLog) Handle(ctx context.Context, line slog.Record) error {
	ours := slog.NewRecord(line.Time, line.Level, "the HTTP server", 0)
	ours.AddAttrs(slog.String("cause", line.Message))
	return l.Handler.Handle(ctx, ours)
}

// serve checks every request: the name of the server, the client, and whether there is room.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	defer serving(r)()
	if r.Body == http.NoBody { // a read deadline would end a long answer
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // a recorder in tests has none
	}
	path := r.URL.Path
	switch {
	case s.auth == nil && !s.names.has(r.Host):
		s.names.refuse(w, r.Host)
		return
	case s.auth != nil && !isProbe(path) && !s.auth.admits(r):
		s.auth.refuse(w)
		return
	case (strings.HasPrefix(path, "/api/") || strings.HasPrefix(path, "/debug/")) && foreign(r): // they cost
		secure(w.Header())
		refuse(w, http.StatusForbidden, refusedForeign)
		return
	case isProbe(path) || path == "/metrics" || path == eventsPath: // bounded elsewhere
	default:
		select {
		case s.busy <- struct{}{}:
			defer func() { <-s.busy }()
		default:
			secure(w.Header())
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many requests are under way", http.StatusServiceUnavailable)
			return
		}
	}
	s.mux.ServeHTTP(w, r)
}

// Addr is the address that New took.
func (s *Server) Addr() *net.TCPAddr { return s.gate.Addr().(*net.TCPAddr) }

// Close gives the address back. It is for a server that does not Run.
func (s *Server) Close() error {
	if s.page != nil {
		s.page.pool.Close()
	}
	return s.gate.Close()
}

// Mount adds the page, at every path that nothing else has. Call it before Run, which runs the
// page.
func (s *Server) Mount(page *Page) {
	s.mux.Handle("/", page)
	s.server.RegisterOnShutdown(page.hub.close) // streams never end by themselves
	s.page = page
}

// Guard lets only those look whom auth admits; probes stay open. Call it before Run.
func (s *Server) Guard(auth *Auth) { s.auth = auth }

// Run serves until ctx ends, lets requests in flight finish and returns nil.
func (s *Server) Run(ctx context.Context) error {
	if s.page != nil {
		defer s.page.start(context.WithoutCancel(ctx))()
	}
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(s.gate) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve http on %s: %w", s.gate.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	err := s.server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) { // a client holds a connection: to cut it is in order
		err = s.server.Close()
	}
	if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	if err != nil {
		return fmt.Errorf("stop http on %s: %w", s.gate.Addr(), err)
	}
	return nil
}
