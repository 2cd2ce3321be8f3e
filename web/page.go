package web

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"firstclick/internal/pgsession"
	"firstclick/pipeline"
)

//go:embed static
var static embed.FS

// PageConfig is what the page shows and what it may do. All functions may be called concurrently.
type PageConfig struct {
	Stats  func() pipeline.Stats
	Latest func() []string // checkout_ids of the latest rows of this instance, newest last; nil: none

	Database string // connection string; used only while somebody looks
	Group    string // "": firstclick
	Version  string
	Instance string // application_name of this instance's sessions; marks it in the list
	Demo     bool   // the page says that this is a demo

	Settings []Setting

	// Explain returns why a checkout has its click, as a value for JSON. nil: the page has no
	// search.
	Explain func(ctx context.Context, checkoutID string) (any, error)

	// Verify compares the table with Kafka. nil: never. It runs every VerifyEvery while somebody
	// looks, and takes at most a tenth of the time.
	Verify      func(ctx context.Context) (Verdict, error)
	VerifyEvery time.Duration // 0: 20 s

	Actions []Action // empty: the page only looks
	Logger  *slog.Logger
}

// Setting is a line of the configuration, without secrets.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Given bool   `json:"given"` // not the default
}

// Verdict is the result of a verification.
type Verdict struct {
	OK   bool   `json:"ok"`
	Text string `json:"text"` // one line
	Rows int64  `json:"rows"`
}

// Page is the page that people look at. The server that it is mounted on runs it.
type Page struct {
	cfg   PageConfig
	log   *slog.Logger
	token string // demanded by every action; new at every start
	pool  *pgxpool.Pool
	hub   *hub
	feed  feed
	mux   *http.ServeMux

	explaining chan struct{} // bounds the explanations under way

	mu      sync.Mutex
	running context.Context // nil: not started, or stopped
	busy    map[string]bool // names of actions under way
	past    []actionState   // the last actions, the oldest first
	actions sync.WaitGroup
	acted   chan struct{} // an action has ended: verify soon
}

const (
	maxExplanations = 2 // under way at once
	explainWithin   = time.Minute
	queryWithin     = 3 * time.Second
)

// NewPage checks the configuration. It connects to nothing and starts nothing.
func NewPage(cfg PageConfig) (*Page, error) {
	if cfg.Stats == nil {
		return nil, errors.New("page: no source of statistics")
	}
	if cfg.Group == "" {
		cfg.Group = "firstclick"
	}
	if cfg.VerifyEvery == 0 {
		cfg.VerifyEvery = 20 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	config, err := pgsession.PoolConfig(cfg.Database, "firstclick page", 2)
	if err != nil {
		return nil, fmt.Errorf("read the database's address for the page: %w", err)
	}
	// While nobody looks there is no session.
	config.MaxConnIdleTime, config.HealthCheckPeriod = 10*time.Second, 5*time.Second
	config.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on"
	config.ConnConfig.RuntimeParams["statement_timeout"] = "3000"
	pool, err := pgsession.OpenPool(config)
	if err != nil {
		return nil, fmt.Errorf("make the page's sessions: %w", err)
	}
	p := &Page{
		cfg: cfg, log: cfg.Logger, token: rand.Text(), pool: pool, hub: newHub(), mux: http.NewServeMux(),
		explaining: make(chan struct{}, maxExplanations), busy: map[string]bool{}, acted: make(chan struct{}, 1),
	}
	p.mux.HandleFunc("GET /", serveStatic)
	p.mux.HandleFunc("GET "+eventsPath, p.serveEvents)
	p.mux.HandleFunc("GET /api/explain", p.serveExplain)
	p.mux.HandleFunc("GET /api/dead-letters", p.serveLetters)
	p.mux.HandleFunc("GET /api/dead-letters/{id}", p.serveLetter)
	p.mux.HandleFunc("POST /api/actions/{name}", p.serveAction)
	return p, nil
}

// ServeHTTP answers with headers that let a browser do with the page only what the page does.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	p.mux.ServeHTTP(w, r)
}

// secure sets the headers of every answer of the page. Scripts and styles come from our own files
// only, texts never become markup (trusted types: https://www.w3.org/TR/trusted-types/), no site
// may frame the page, and there is no CORS header.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
		"connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "+
		"require-trusted-types-for 'script'; trusted-types 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Cache-Control", "no-store")
}

// serveStatic serves the embedded files, and no directory but the page itself.
func serveStatic(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix("static"+r.URL.Path, "/")
	info, err := fs.Stat(static, path)
	if err != nil || info.IsDir() && path != "static" {
		http.NotFound(w, r)
		return
	}
	if path == "static" {
		path = "static/index.html"
	}
	http.ServeFileFS(w, r, static, path)
}

// start samples the statistics and serves those who look. stop ends the streams and waits for the
// actions under way.
func (p *Page) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	p.mu.Lock()
	p.running = ctx
	p.mu.Unlock()
	var loops sync.WaitGroup
	loops.Go(func() { every(ctx, time.Second, p.sample) })
	loops.Go(func() { every(ctx, time.Second, p.whileWatched(p.publishRows)) })
	loops.Go(func() { every(ctx, 2*time.Second, p.whileWatched(p.publishAside)) })
	if p.cfg.Verify != nil {
		loops.Go(func() { p.verify(ctx) })
	}
	return func() {
		cancel()
		p.mu.Lock()
		p.running = nil // no more actions
		p.mu.Unlock()
		p.hub.close()
		p.actions.Wait()
		loops.Wait()
		p.pool.Close()
	}
}

func (p *Page) whileWatched(do func(context.Context)) func(context.Context) {
	return func(ctx context.Context) {
		if p.hub.watched() {
			do(ctx)
		}
	}
}

// every calls do at once and then in each interval, until ctx ends.
func every(ctx context.Context, interval time.Duration, do func(context.Context)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		do(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
