package datagen

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkaconn"
)

// Config says what to generate and where to send it. The zero value of every fault is none.
type Config struct {
	Kafka          kafkaconn.Config
	Database       string // DSN; "": no users, no products, no renames
	ClicksTopic    string // "": clicks
	CheckoutsTopic string // "": checkouts
	Partitions     int32  // of topics that are missing and therefore created; 0: 4

	Rate  float64 // events (clicks + checkouts) per second; 0: as fast as it goes
	Count int64   // clicks + checkouts to make, besides duplicates, conflicts and bad records; 0: no end
	Seed  uint64  // same seed, same events
	Users int     // users 0..Users-1 are inserted, events draw 1..Users; 0: 100

	// Start is the event time of the first event. Zero: the event clock reaches now when the last
	// event is sent. So it is now for a run in real time; with Rate 0 and a Count it is a backlog
	// that ends now.
	Start time.Time
	Speed float64 // event seconds per real second, with a Rate; 0: 1
	// EventRate is the number of events per second of event time, without a Rate. 0: 1000 with a
	// Count, else the event time is the wall clock.
	EventRate float64

	// Shares, 0..1.
	OutOfOrder  float64 // events produced up to 10 s of event time after their own
	Late        float64 // clicks held back for 20 s to 20 min of event time; they wait in memory
	Duplicate   float64 // events produced again, equal
	Conflict    float64 // checkouts followed by another one with the same checkout_id and other content
	Poison      float64 // bad records in addition to the events: every kind of Poisons in turn
	TooLarge    float64 // records of 1 to 5 MiB in addition; topics are then created to take 8 MiB
	UnknownUser float64 // sessions of a user that does not exist (besides user Users, whom the stream draws)
	Future      float64 // events ahead of the event clock: two thirds by 1 to 4.5 min, one third by 6 to 60 min
	HotKey      float64 // sessions of one and the same user and product

	// Zipf, above 1, makes sessions return to a million keys by Zipf's law with this exponent. 0:
	// every session has a new key.
	Zipf float64

	Renames     float64 // usernames changed per second of real time, while events flow
	Compression string  // of the batches, one of Compressions; "": none, as the original
	Unordered   bool    // checkouts do not wait until the clicks before them are acknowledged

	// Transactional is the transactional id: each batch is a transaction. "": no transactions.
	// Aborted is the share of transactions that are aborted: Count includes their events, Summary
	// does not.
	Transactional string
	Aborted       float64

	ConnectTimeout time.Duration // for the first answer of Kafka and of Postgres; 0: 10 s
	StopTimeout    time.Duration // for what is in flight when ctx has ended; 0: 10 s
	Progress       io.Writer     // nil: none. On a terminal one line that is rewritten, else a line every 10 s
	Logger         *slog.Logger  // nil: none
}

// checked returns the configuration with its defaults.
func (c Config) checked() (Config, error) {
	c.ClicksTopic, c.CheckoutsTopic = cmp.Or(c.ClicksTopic, "clicks"), cmp.Or(c.CheckoutsTopic, "checkouts")
	c.Partitions, c.Users, c.Speed = cmp.Or(c.Partitions, 4), cmp.Or(c.Users, 100), cmp.Or(c.Speed, 1)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 10*time.Second)
	c.StopTimeout = cmp.Or(c.StopTimeout, 10*time.Second)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))

	for name, share := range map[string]float64{
		"out of order": c.OutOfOrder, "late": c.Late, "duplicate": c.Duplicate, "conflict": c.Conflict,
		"poison": c.Poison, "too large": c.TooLarge, "unknown user": c.UnknownUser, "future": c.Future,
		"hot key": c.HotKey, "aborted": c.Aborted,
	} {
		if !(share >= 0 && share <= 1) {
			return c, fmt.Errorf("share %q is %v: must be 0 to 1", name, share)
		}
	}
	for name, n := range map[string]float64{
		"rate": c.Rate, "speed": c.Speed, "event rate": c.EventRate, "renames": c.Renames,
	} {
		if !(n >= 0) || math.IsInf(n, 0) {
			return c, fmt.Errorf("%s is %v: must be a finite number, 0 or more", name, n)
		}
	}
	if _, ok := codecs()[c.Compression]; !ok {
		return c, fmt.Errorf("compression is %q: must be one of %s", c.Compression, strings.Join(Compressions(), ", "))
	}
	switch {
	case c.Zipf != 0 && !(c.Zipf > 1 && c.Zipf < 100):
		return c, fmt.Errorf("zipf is %v: must be 0, or an exponent above 1 and below 100", c.Zipf)
	case c.Count < 0:
		return c, fmt.Errorf("count is %d: must be 0 or more", c.Count)
	case c.Users < 1 || c.Users > 1_000_000_000:
		return c, fmt.Errorf("users is %d: must be 1 to 1000000000", c.Users)
	case c.Partitions < 1:
		return c, fmt.Errorf("partitions is %d: must be 1 or more", c.Partitions)
	case c.ClicksTopic == c.CheckoutsTopic:
		return c, fmt.Errorf("clicks and checkouts both go to topic %q: they need two topics", c.ClicksTopic)
	case c.Future+c.OutOfOrder+c.Late > 1:
		return c, fmt.Errorf("shares future, out of order and late are %v together: must be 1 at most",
			c.Future+c.OutOfOrder+c.Late)
	case c.Aborted > 0 && c.Transactional == "":
		return c, fmt.Errorf("share \"aborted\" is %v without a transactional id", c.Aborted)
	case c.Renames > 0 && c.Database == "":
		return c, fmt.Errorf("renames is %v without a database", c.Renames)
	}
	return c, nil
}

// Compressions are the names that [Config.Compression] takes.
func Compressions() []string { return []string{"none", "gzip", "snappy", "lz4", "zstd"} }

func codecs() map[string]kgo.CompressionCodec {
	none := kgo.NoCompression()
	return map[string]kgo.CompressionCodec{
		"": none, "none": none, "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
}

// step is the event time between two events in microseconds; 0: event time is the wall clock.
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

// start is the event time in microseconds of the first event, which is sent now.
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
