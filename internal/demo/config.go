package demo

import (
	"cmp"
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

// Default ports and address.
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
	// Dir holds all data. Empty: firstclick/demo in the user's data directory ($XDG_DATA_HOME, else
	// ~/.local/share); for root in /var/lib.
	Dir  string
	Rate float64 // events per second; 0: 200

	// A free port replaces one that is taken, and 0.
	KafkaPort, DatabasePort int
	Listen                  string   // of the page, /livez and /metrics; empty: DefaultListen
	Hosts                   []string // names of the page's address besides localhost

	Out   io.Writer  // nil: discarded
	Width func() int // of the terminal that Out is, in characters; nil: lines take the place of a table
	// NewLogger makes the logger of all parts. On a terminal w writes above the table, else w is
	// nil. nil: no log.
	NewLogger func(w io.Writer) *slog.Logger
	Program   string // the name of this program in lines to paste; empty: firstclick
	Version   string
	Registry  *prometheus.Registry // nil: an empty one
	// LetterActions are what the page may do with a dead letter; nil: nothing.
	LetterActions func(database string, kafka kafkaconn.Config) []web.Action
}

func (c *Config) setDefaults() error {
	data := os.Getenv("XDG_DATA_HOME")
	switch home, err := os.UserHomeDir(); {
	case c.Dir != "" || filepath.IsAbs(data):
	case os.Geteuid() == 0:
		data = "/var/lib" // Postgres then runs as a user that cannot enter root's home
	case err != nil:
		return fmt.Errorf("no directory for the demo's data: choose one with --dir: %w", err)
	default:
		data = filepath.Join(home, ".local", "share")
	}
	dir, err := filepath.Abs(cmp.Or(c.Dir, filepath.Join(data, "firstclick", "demo")))
	if err != nil {
		return fmt.Errorf("find the demo's directory: %w", err)
	}
	c.Dir, c.Rate = dir, cmp.Or(c.Rate, 200)
	c.Listen, c.Program = cmp.Or(c.Listen, DefaultListen), cmp.Or(c.Program, "firstclick")
	c.Out = cmp.Or(c.Out, io.Discard)
	c.Registry = cmp.Or(c.Registry, prometheus.NewRegistry())
	if c.NewLogger == nil {
		c.NewLogger = func(io.Writer) *slog.Logger { return slog.New(slog.DiscardHandler) }
	}
	return nil
}
