package datagen

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkaconn"
)

// Config says what to generate and where to send it. The zero value of every knob is "none of that".
type Config struct {
	Kafka          kafkaconn.Config
	Database       string // DSN; "": no users, no products, no renames
	ClicksTopic    string // "": clicks
	CheckoutsTopic string // "": checkouts
	Partitions     int32  // of topics that are created because they are missing; 0: 4. A topic that stands is used as it is

	Rate  float64 // events (clicks + checkouts) per second, up to what the machine can do; 0: as fast as it goes
	Count int64   // clicks + checkouts to make, 0: for ever. Poison, duplicates and conflicts come on top
	Seed  uint64  // same seed, same events
	Users int     // users 0..Users-1 are inserted, events draw 1..Users; 0: 100

	// Start is the event time of the first event. Zero: such that the event clock reaches now when the last event is sent
	// (so now itself for a run in real time, and a backlog that ends now for Rate 0 with a Count).
	Start time.Time
	Speed float64 // event seconds per real second, with a Rate; 0: 1
	// EventRate is the number of events per event-second where Rate is 0; 0: 1000 with a Count, else the wall clock
	// tells the event time.
	EventRate float64

	// Shares, 0..1.
	OutOfOrder  float64 // events produced up to 10 s of event time after their own
	Late        float64 // clicks held back for 20 s to 20 min of event time; they wait in memory
	Duplicate   float64 // events produced again, equal
	Conflict    float64 // checkouts of which a second one with the same checkout_id and another content is produced
	Poison      float64 // invalid records, per event, in addition to the events; every kind of Poisons in turn
	TooLarge    float64 // records of 1 to 5 MiB, per event, in addition; topics are then created to take 8 MiB
	UnknownUser float64 // sessions of a user that does not exist (user Users, who is drawn by the stream itself, is not counted here)
	Future      float64 // events ahead of the event clock: two thirds by 1 to 4.5 min, one third by 6 to 60 min (to be refused)
	HotKey      float64 // sessions of one and the same user and product

	// Zipf, above 1, makes sessions come back to a million keys, the rank by Zipf's law with this exponent; 0: every session has a key of its own.
	Zipf float64

	Renames float64 // usernames changed per second of real time, while events flow

	// Compression of the record batches: none (as is ""), gzip, snappy, lz4 or zstd. The original's is none.
	Compression string

	// Unordered gives up waiting for the acknowledgement of the clicks before the checkouts that follow them are produced.
	Unordered bool
	// Transactional produces each batch in a transaction (with this transactional id, if it is not empty). Aborted is the share of
	// transactions that are aborted; their events are gone: Count includes them, Summary's counts do not.
	Transactional string
	Aborted       float64

	ConnectTimeout time.Duration // for the first answer of Kafka and of Postgres; 0: 10 s
	StopTimeout    time.Duration // for Kafka to acknowledge and Postgres to take what is in flight when ctx has ended; 0: 10 s
	Progress       io.Writer     // nil: none. A line that rewrites itself about every second on a terminal, else a line every 10 s
	Logger         *slog.Logger  // nil: none
}

// Run makes events until Count of them are sent or ctx ends, which is no error: what is in flight is flushed, and the Summary
// tells what was acknowledged. An error names the part that could not be reached or that refused; the Summary then counts the batches
// that were acknowledged whole.
func Run(ctx context.Context, cfg Config) (Summary, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return Summary{}, err
	}
	return run(ctx, cfg)
}

func (c Config) withDefaults() (Config, error) {
	if c.ClicksTopic == "" {
		c.ClicksTopic = "clicks"
	}
	if c.CheckoutsTopic == "" {
		c.CheckoutsTopic = "checkouts"
	}
	if c.Partitions == 0 {
		c.Partitions = 4
	}
	if c.Users == 0 {
		c.Users = 100
	}
	if c.Speed == 0 {
		c.Speed = 1
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 10 * time.Second
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = 10 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, c.check()
}

func (c Config) check() error {
	shares := []struct {
		name  string
		value float64
	}{
		{"out of order", c.OutOfOrder}, {"late", c.Late}, {"duplicate", c.Duplicate}, {"conflict", c.Conflict}, {"poison", c.Poison},
		{"too large", c.TooLarge}, {"unknown user", c.UnknownUser}, {"future", c.Future}, {"hot key", c.HotKey}, {"aborted", c.Aborted},
	}
	for _, s := range shares {
		if !(s.value >= 0 && s.value <= 1) {
			return fmt.Errorf("share %q is %v: want 0 to 1", s.name, s.value)
		}
	}
	numbers := []struct {
		name  string
		value float64
	}{{"rate", c.Rate}, {"speed", c.Speed}, {"event rate", c.EventRate}, {"renames", c.Renames}}
	for _, n := range numbers {
		if !(n.value >= 0) || math.IsInf(n.value, 0) {
			return fmt.Errorf("%s is %v: want a finite number, 0 or more", n.name, n.value)
		}
	}
	if _, ok := codecs()[c.Compression]; !ok {
		return fmt.Errorf("compression is %q: want one of %s", c.Compression, strings.Join(Compressions(), ", "))
	}
	switch {
	case c.Zipf != 0 && !(c.Zipf > 1 && c.Zipf < 100):
		return fmt.Errorf("zipf is %v: want 0, or an exponent above 1 and below 100", c.Zipf)
	case c.Count < 0:
		return fmt.Errorf("count is %d: want 0 or more", c.Count)
	case c.Users < 1 || c.Users > 1_000_000_000:
		return fmt.Errorf("users is %d: want 1 to 1000000000", c.Users)
	case c.Partitions < 1:
		return fmt.Errorf("partitions is %d: want 1 or more", c.Partitions)
	case c.ClicksTopic == c.CheckoutsTopic:
		return fmt.Errorf("clicks and checkouts both go to topic %q: want two topics", c.ClicksTopic)
	case c.Future+c.OutOfOrder+c.Late > 1:
		return fmt.Errorf("shares future, out of order and late are %v together: want 1 at most", c.Future+c.OutOfOrder+c.Late)
	case c.Aborted > 0 && c.Transactional == "":
		return fmt.Errorf("share \"aborted\" is %v without a transactional id", c.Aborted)
	case c.Renames > 0 && c.Database == "":
		return fmt.Errorf("renames is %v without a database", c.Renames)
	}
	return nil
}

// Compressions are the names that [Config.Compression] takes.
func Compressions() []string { return []string{"none", "gzip", "snappy", "lz4", "zstd"} }

func codecs() map[string]kgo.CompressionCodec {
	none := kgo.NoCompression()
	return map[string]kgo.CompressionCodec{
		"": none, "none": none, "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
}

// step is the event time between two events, in microseconds; 0: the wall clock tells.
func (c Config) step() float64 {
	switch {
	case c.Rate > 0:
		return 1e6 * c.Speed / c.Rate
	case c.EventRate > 0:
		return 1e6 / c.EventRate
	case c.Count > 0:
		return 1e6 / 1000
	}
	return 0
}

// start is the event time of the first event in microseconds, given the time at which it is sent.
func (c Config) start(now time.Time) int64 {
	if !c.Start.IsZero() {
		return c.Start.UnixMicro()
	}
	ahead := float64(c.Count) * c.step()
	if c.Rate > 0 {
		ahead -= float64(c.Count) * 1e6 / c.Rate
	}
	return now.UnixMicro() - int64(ahead)
}
