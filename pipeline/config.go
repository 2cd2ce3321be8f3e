package pipeline

import (
	"crypto/rand"
	"encoding/hex"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"firstclick/internal/kafkaconn"
	"firstclick/pipeline/ending"
)

// Config is what a pipeline needs to run. Each field names its default, which its zero value takes.
type Config struct {
	Kafka       kafkaconn.Config
	Database    string // connection string as pgx reads it
	Replication string // that of the role that replicates; Database

	ClicksTopic    string // clicks
	CheckoutsTopic string // checkouts
	Group          string // firstclick
	Start          string // where a new group begins: earliest, latest, or an RFC 3339 time; earliest

	Window     time.Duration // 1 h
	Lateness   time.Duration // 15 min
	OutOfOrder time.Duration // 15 s
	// MaxSkew is how far an event's time may lie ahead of its record's, and ahead of this machine's
	// clock to decide anything; 5 min.
	MaxSkew time.Duration

	UsersCache  int            // entries; 100,000
	MemoryLimit int64          // bytes of the process, of which half is the window's budget; no limit
	Zone        *time.Location // of times without a zone; UTC

	Payloads  int64         // bytes of records kept with dead letters, by reason and hour; 64 MiB
	Retention time.Duration // age at which dead letters are deleted; never

	UntilCaughtUp bool                  // run until all that was there at the start is in Postgres
	Instance      string                // application_name of our sessions; random
	Static        string                // Kafka's group.instance.id, for static membership; none
	Version       string                // shown in firstclick.instances; devel
	Listen        string                // likewise; none
	Registry      prometheus.Registerer // of our metrics and those of the Kafka clients; none
	RefusedFor    time.Duration         // how long Kafka may refuse our user or password; 1 min
	Progress      io.Writer             // progress lines while catching up; none
	Logger        *slog.Logger          // slog.Default
}

type (
	// ConfigError says that the configuration cannot be used.
	ConfigError = ending.ConfigError
	// GapError says that records are gone that firstclick has not read, or still needs.
	GapError = ending.GapError
)

// ErrFencedAgain ends a run whose shards other instances take over again and again.
var ErrFencedAgain = ending.ErrFencedAgain

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (c *Config) validate() error {
	orDefault(&c.ClicksTopic, "clicks")
	orDefault(&c.CheckoutsTopic, "checkouts")
	orDefault(&c.Group, "firstclick")
	orDefault(&c.Start, "earliest")
	orDefault(&c.Window, time.Hour)
	orDefault(&c.Lateness, 15*time.Minute)
	orDefault(&c.OutOfOrder, 15*time.Second)
	orDefault(&c.MaxSkew, 5*time.Minute)
	orDefault(&c.UsersCache, 100_000)
	orDefault(&c.RefusedFor, time.Minute)
	orDefault(&c.Zone, time.UTC)
	orDefault(&c.Version, "devel")
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Instance == "" {
		var b [8]byte
		rand.Read(b[:])
		c.Instance = "firstclick " + hex.EncodeToString(b[:])
	}
	switch {
	case len(c.Instance) > 63:
		return ending.Configf(
			"instance name %q is longer than the 63 bytes that Postgres keeps of an application_name", c.Instance)
	case c.ClicksTopic == c.CheckoutsTopic:
		return ending.Configf("clicks and checkouts are one topic, %q: name two", c.ClicksTopic)
	case c.Window < time.Second || c.Lateness < 0 || c.OutOfOrder < 0:
		return ending.Configf("window %v, lateness %v, out-of-order %v: "+
			"the window must be a second or more, the others not negative", c.Window, c.Lateness, c.OutOfOrder)
	case c.MaxSkew < time.Second:
		return ending.Configf("max future skew %v: it must be a second or more", c.MaxSkew)
	case c.Payloads < 0 || c.Retention < 0:
		return ending.Configf("%d bytes of payloads, %v of retention: neither may be negative",
			c.Payloads, c.Retention)
	case c.UsersCache < 0:
		return ending.Configf("users cache of %d entries", c.UsersCache)
	}
	if c.Start != "earliest" && c.Start != "latest" {
		if _, err := time.Parse(time.RFC3339, c.Start); err != nil {
			return ending.Configf(
				"start %q: earliest, latest, or an RFC 3339 time such as 2026-01-31T12:00:00Z", c.Start)
		}
	}
	return nil
}
