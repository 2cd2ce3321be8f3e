package web

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
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
	Latest func() []string // checkout_ids of the latest rows that this instance has written, newest last; nil: none

	Database string // connection string; used only while somebody looks
	Group    string
	Version  string
	Instance string // application_name of this instance's sessions; marks it in the list
	Demo     bool   // say that this is one

	Settings []Setting

	// Explain says why a checkout has the click it has, as a value that can be JSON. nil: the page has no search.
	Explain func(ctx context.Context, checkoutID string) (any, error)

	// Verify compares the table with Kafka. nil: never. It is called every VerifyEvery while somebody looks, and less often where
	// it takes long: at most a tenth of the time goes to it.
	Verify      func(ctx context.Context) (Verdict, error)
	VerifyEvery time.Duration // 0: 20 s

	Actions []Action // empty: the page only looks
	Logger  *slog.Logger
}

// Setting is a line of the configuration as it may be shown: whoever makes it hides what is secret.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Given bool   `json:"given"` // not the default
}

// Verdict is what a verification found.
type Verdict struct {
	OK   bool   `json:"ok"`
	Text string `json:"text"` // one line
	Rows int64  `json:"rows"`
}

// Action is something that the page may do besides looking. Do returns a line about what was done; one action of a name runs at a time.
type Action struct {
	Name   string // stable word, part of the address
	Title  string // on the button
	About  string // what will happen, one sentence
	Letter bool   // is for one dead letter, whose id comes as the argument; else the argument is 0
	Do     func(ctx context.Context, id int64) (string, error)
}

// Page is the page that people look at. It is an http.Handler; what moves comes from Run.
type Page struct {
	cfg   PageConfig
	log   *slog.Logger
	token string // demanded by every action; new at every start
	pool  *pgxpool.Pool
	hub   *hub
	feed  *feed
	mux   http.Handler

	explaining chan struct{} // a token for each explanation that may be under way

	mu      sync.Mutex
	working context.Context // of Run; nil: it does not run
	busy    map[string]bool // actions under way
	actions sync.WaitGroup
	nudge   chan struct{} // an action has ended: verify soon

	noted sync.Mutex
	past  []acted // the last actions
}

const (
	explainAtOnce = 2
	explainWithin = time.Minute
	queryWithin   = 3 * time.Second
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
	// With no one looking there is no session.
	config.MaxConnIdleTime, config.HealthCheckPeriod = 10*time.Second, 5*time.Second
	config.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on"
	config.ConnConfig.RuntimeParams["statement_timeout"] = "3000"
	pool, err := pgsession.OpenPool(config)
	if err != nil {
		return nil, fmt.Errorf("make the page's sessions: %w", err)
	}
	secret := make([]byte, 24)
	rand.Read(secret)
	p := &Page{
		cfg: cfg, log: cfg.Logger, token: base64.RawURLEncoding.EncodeToString(secret), pool: pool,
		hub: newHub(), feed: newFeed(), explaining: make(chan struct{}, explainAtOnce), busy: map[string]bool{}, nudge: make(chan struct{}, 1),
	}
	if p.mux, err = p.routes(); err != nil {
		pool.Close()
		return nil, err
	}
	return p, nil
}

func (p *Page) routes() (http.Handler, error) {
	files, err := fs.Sub(static, "static")
	if err != nil {
		return nil, fmt.Errorf("find the page's files: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", staticFiles(files))
	mux.HandleFunc("GET "+eventsPath, p.serveEvents)
	mux.HandleFunc("GET /api/explain", p.serveExplain)
	mux.HandleFunc("GET /api/dead-letters", p.serveLetters)
	mux.HandleFunc("GET /api/dead-letters/{id}", p.serveLetter)
	mux.HandleFunc("POST /api/actions/{name}", p.serveAction)
	return mux, nil
}

// ServeHTTP answers with headers that let a browser do with the page only what the page does.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	p.mux.ServeHTTP(w, r)
}

// secure sets the headers that go with every answer of the page. Scripts and styles come from our own files only, texts never become
// markup (trusted types: https://www.w3.org/TR/trusted-types/), nobody frames us, and there is no CORS header at all.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
		"manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Cache-Control", "no-store")
}

// staticFiles serves the embedded files. A browser asks each time whether they changed: they do with the binary.
func staticFiles(files fs.FS) http.Handler {
	server := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if info, err := fs.Stat(files, trimmed(r.URL.Path)); err != nil || info.IsDir() && r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		server.ServeHTTP(w, r)
	})
}

func trimmed(path string) string {
	for path != "" && path[0] == '/' {
		path = path[1:]
	}
	if path == "" {
		return "."
	}
	return path
}

// begin lets actions in, and returns what then has to run: it samples, asks and tells until ctx ends, ends the streams and waits for the actions
// under way. A request may come as soon as the server serves, so begin comes before that.
func (p *Page) begin(ctx context.Context) (run func()) {
	ctx, stop := context.WithCancel(ctx)
	p.mu.Lock()
	p.working = ctx
	p.mu.Unlock()
	return func() {
		defer stop()
		p.run(ctx)
	}
}

func (p *Page) run(ctx context.Context) {
	defer p.pool.Close()
	var loops sync.WaitGroup
	loops.Go(func() { every(ctx, time.Second, p.sample) })
	loops.Go(func() { every(ctx, time.Second, p.whileWatched(p.tellRows)) })
	loops.Go(func() { every(ctx, 2*time.Second, p.whileWatched(p.tellPostgres)) })
	if p.cfg.Verify != nil {
		loops.Go(func() { p.verify(ctx) })
	}
	<-ctx.Done()
	p.mu.Lock()
	p.working = nil
	p.mu.Unlock()
	p.hub.close()
	p.actions.Wait()
	loops.Wait()
}

func (p *Page) whileWatched(do func(context.Context)) func(context.Context) {
	return func(ctx context.Context) {
		if p.hub.watched() {
			do(ctx)
		}
	}
}

// every calls do at once and then each interval, until ctx ends.
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
