package demo

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"firstclick/internal/kafkaconn"
	"firstclick/web"
)

// The ports that people know.
const (
	DefaultKafkaPort    = 9093
	DefaultDatabasePort = 5432
	DefaultListen       = "localhost:8081"
)

const (
	keepRecords  = 2 * time.Hour
	keepRows     = 4 * time.Hour
	segmentBytes = 4 << 20

	clicksTopic    = "clicks"
	checkoutsTopic = "checkouts"
	partitions     = 4
	database       = "postgres"
)

// Config says where and how much.
type Config struct {
	Dir  string  // holds all data; empty: DefaultDir
	Rate float64 // events per second; 0: 200

	// Where one of these is taken, a free port is used, and said. 0 picks a free one.
	KafkaPort, DatabasePort int
	Listen                  string   // of the page, /livez and /metrics; empty: DefaultListen
	Hosts                   []string // names by which that is asked for besides localhost

	Out io.Writer // what people read
	// Width of the terminal that Out is, in characters; nil where Out is no terminal: then lines instead of a table.
	Width func() int
	// NewLogger makes the logger of all parts. On a terminal w writes above the table, else w is nil: then it is up to the
	// function. Nil: no log.
	NewLogger func(w io.Writer) *slog.Logger
	Program   string // as people call this program, for lines to paste; empty: firstclick
	Version   string
	Registry  *prometheus.Registry // nil: empty
	// LetterActions are what the page may do with a dead letter. Nil: nothing.
	LetterActions func(database string, kafka kafkaconn.Config) []web.Action
}

func (c *Config) settle() error {
	if c.Dir == "" {
		dir, err := DefaultDir()
		if err != nil {
			return err
		}
		c.Dir = dir
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return fmt.Errorf("find the demo's directory: %w", err)
	}
	c.Dir = dir
	if c.Rate == 0 {
		c.Rate = 200
	}
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	if c.Out == nil {
		c.Out = io.Discard
	}
	if c.NewLogger == nil {
		c.NewLogger = func(io.Writer) *slog.Logger { return slog.New(slog.DiscardHandler) }
	}
	if c.Program == "" {
		c.Program = "firstclick"
	}
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
	return nil
}

// DefaultDir is firstclick/demo in the user's data directory ($XDG_DATA_HOME, else ~/.local/share). Root's home is closed to the
// user that Postgres then runs as: there it is /var/lib.
func DefaultDir() (string, error) {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "firstclick", "demo"), nil
	}
	if os.Geteuid() == 0 {
		return "/var/lib/firstclick/demo", nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", errors.Join(errors.New("no directory for the demo's data: choose one with --dir"), err)
	}
	return filepath.Join(home, ".local", "share", "firstclick", "demo"), nil
}
