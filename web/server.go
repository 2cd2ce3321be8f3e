package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// What a client may cost. Requests have no bodies but for an action's, which has an id; answers are read in a moment.
const (
	maxHeader   = 16 << 10
	headWithin  = 5 * time.Second  // from the first byte of a request to the end of its header
	readWithin  = 10 * time.Second // to the end of its body
	writeWithin = 30 * time.Second // until the answer is taken; who needs longer says so
	idleWithin  = 2 * time.Minute  // between two requests of a connection: longer than Prometheus' pause
	// atOnce is how many requests may be under way besides streams (maxStreams), health and metrics.
	atOnce        = 32
	scrapesAtOnce = 8
	// shutdownGrace is how long requests in flight may take once the server is told to stop. A scrape takes milliseconds.
	shutdownGrace = 3 * time.Second
)

// ErrPortTaken says that another process listens where this one was asked to.
var ErrPortTaken = errors.New("address already in use")

// Config is what a server needs.
type Config struct {
	Listen   string // "host:port"; port 0 picks a free one
	Gatherer prometheus.Gatherer
	Alive    func() error // /livez answers 503 with its error, and 200 while that is nil; nil: always alive
	Hosts    []string     // names by which we are asked for, besides addresses, localhost and the name in Listen
	Logger   *slog.Logger // nil: no log
}

// Server serves /livez, /metrics and, where it is given what they show, /readyz and the page on one address.
type Server struct {
	gate   *gate
	server *http.Server
	mux    *http.ServeMux
	names  *names
	auth   *Auth // nil: whoever asks for us by a name of ours may look
	page   *Page // nil: none
	busy   chan struct{}
}

// New takes the address and serves nothing yet. The error is [ErrPortTaken] where the port has an owner.
func New(cfg Config) (*Server, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", cfg.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen on %s: %w", cfg.Listen, ErrPortTaken)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", cfg.Listen, err)
	}
	s := &Server{
		gate: newGate(listener), mux: http.NewServeMux(), names: newNames(cfg.Listen, cfg.Hosts, cfg.Logger), busy: make(chan struct{}, atOnce),
	}
	s.server = &http.Server{
		Handler: http.HandlerFunc(s.serve), MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: headWithin, ReadTimeout: readWithin, WriteTimeout: writeWithin, IdleTimeout: idleWithin,
		ConnContext: remember, ErrorLog: slog.NewLogLogger(complaints{cfg.Logger.Handler()}, slog.LevelWarn),
	}
	s.mux.Handle("GET /metrics", promhttp.HandlerFor(cfg.Gatherer, promhttp.HandlerOpts{MaxRequestsInFlight: scrapesAtOnce}))
	s.mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if cfg.Alive != nil {
			if err := cfg.Alive(); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprintln(w, err)
				return
			}
		}
		fmt.Fprintln(w, "ok")
	})
	return s, nil
}

// complaints makes of what net/http has to say, such as of a connection that cannot be accepted, a line of our log.
type complaints struct{ slog.Handler }

// Handle gives the line the message that it can be looked up by, and what net/http says as its cause.
func (c complaints) Handle(ctx context.Context, said slog.Record) error {
	ours := slog.NewRecord(said.Time, said.Level, "the HTTP server", 0)
	ours.AddAttrs(slog.String("cause", said.Message))
	return c.Handler.Handle(ctx, ours)
}

// serve is what every request goes through: who is asked for, who asks, and whether there is room.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	defer serving(r)()
	if r.Body == http.NoBody { // there is nothing to read any more; a read deadline would end a long answer
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // of a recorder in tests there is none
	}
	switch {
	case s.auth == nil && !s.names.ours(r.Host):
		secure(w.Header())
		http.Error(w, s.names.refusal(r.Host), http.StatusMisdirectedRequest)
		return
	case s.auth != nil && !open(r.URL.Path) && !s.auth.admits(r):
		s.auth.ask(w)
		return
	case costs(r.URL.Path) && foreign(r):
		secure(w.Header())
		refuse(w, http.StatusForbidden, errForeign.Error())
		return
	case open(r.URL.Path) || r.URL.Path == "/metrics" || r.URL.Path == eventsPath: // bounded elsewhere
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

// Addr is the address that New took: with port 0, the one that was picked.
func (s *Server) Addr() *net.TCPAddr { return s.gate.Addr().(*net.TCPAddr) }

// Close gives the address back without having served. Run does so by itself.
func (s *Server) Close() error {
	if s.page != nil {
		s.page.pool.Close()
	}
	return s.gate.Close()
}

// Mount adds the page, at every address that nothing else has. Run then runs it too. Before Run only.
func (s *Server) Mount(page *Page) {
	s.mux.Handle("/", page)
	s.server.RegisterOnShutdown(page.hub.close) // streams never end by themselves
	s.page = page
}

// Guard lets only those look whom auth admits, but for the addresses that say whether we live. Before Run only.
func (s *Server) Guard(auth *Auth) { s.auth = auth }

// Run serves until ctx ends, lets requests in flight finish and returns nil.
func (s *Server) Run(ctx context.Context) error {
	if s.page != nil {
		showing, hide := context.WithCancel(context.WithoutCancel(ctx))
		shown := make(chan struct{})
		run := s.page.begin(showing)
		go func() {
			defer close(shown)
			run()
		}()
		defer func() {
			hide()
			<-shown
		}()
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
	if errors.Is(err, context.DeadlineExceeded) { // somebody holds a connection: that is cut, and all is in order
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
