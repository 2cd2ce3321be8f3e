package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// shutdownGrace is how long requests in flight may take once the server is told to stop. A scrape takes milliseconds.
const shutdownGrace = 3 * time.Second

// ErrPortTaken says that another process listens where this one was asked to.
var ErrPortTaken = errors.New("address already in use")

// Server serves /livez, /metrics and, where it is given what they show, /readyz and the page on one address.
type Server struct {
	listener net.Listener
	server   *http.Server
	mux      *http.ServeMux
	page     *Page // nil: none
}

// New takes the address listen ("host:port"; port 0 picks a free one) and serves nothing yet. The metrics are what gatherer
// has; /livez answers 503 with the error of ready, and 200 while that is nil. The error is [ErrPortTaken] where the port
// has an owner.
func New(listen string, gatherer prometheus.Gatherer, ready func() error) (*Server, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen on %s: %w", listen, ErrPortTaken)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", listen, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if err := ready(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, err)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return &Server{
		listener: listener, mux: mux,
		// A client that sends its header a byte a minute must not hold a connection for ever.
		server: &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second},
	}, nil
}

// Addr is the address that New took: with port 0, the one that was picked.
func (s *Server) Addr() *net.TCPAddr { return s.listener.Addr().(*net.TCPAddr) }

// Close gives the address back without having served. Run does so by itself.
func (s *Server) Close() error {
	if s.page != nil {
		s.page.pool.Close()
	}
	return s.listener.Close()
}

// Mount adds the page, at every address that nothing else has. Run then runs it too. Before Run only.
func (s *Server) Mount(page *Page) {
	page.loopback = s.Addr().IP.IsLoopback()
	s.mux.Handle("/", page)
	s.server.RegisterOnShutdown(page.hub.close) // streams never end by themselves
	s.page = page
}

// Guard lets only those look whom auth admits, but for the addresses that say whether we live. Before Run only.
func (s *Server) Guard(auth *Auth) { s.server.Handler = guard(auth, s.server.Handler) }

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
	go func() { served <- s.server.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve http on %s: %w", s.listener.Addr(), err)
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
		return fmt.Errorf("stop http on %s: %w", s.listener.Addr(), err)
	}
	return nil
}
