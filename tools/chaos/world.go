package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkabroker"
	"firstclick/internal/pgserver"
	"firstclick/internal/ports"
	"firstclick/migrations"
	"firstclick/tools/testbed"
)

const (
	ms     = time.Millisecond
	second = time.Second

	clicksTopic    = "clicks"
	checkoutsTopic = "checkouts"
	group          = "chaos"

	// Six clicks partitions: at the default rate, what a restart reads again of one stays far below
	// a backlog's 10,000 records.
	clicksPartitions    = 6
	checkoutsPartitions = 4
	// heldPartitions are the first clicks partitions: only there may a transaction stay open for
	// long.
	heldPartitions = 2

	// Short enough for rows to become final and clicks to expire within minutes, long enough for
	// the events that are ahead (4.5 min).
	shortWindow   = "10m"
	shortLateness = "10m"
	timeLapse     = 10 // event seconds per second
)

// options are the command's flags.
type options struct {
	seed      uint64
	duration  time.Duration
	rate      float64
	instances int
	without   string // a switch
	only      string // names of faults contain it
	dir       string
	keep      bool
	quiet     bool // no faults at all
	race      bool // the binary has the race detector
	disk      bool // the target table stands on a small disk, which fills up

	trial  string        // "": everything
	pause  time.Duration // between two faults of a lane, at most
	drain  time.Duration // how long the instances may take for what is left, when nothing is broken any more
	plain  bool          // no transactions, for which rows wait, and no bad input in a backlog
	spared int           // so many instances are never ended, only frozen and cut off
	memory string        // of an instance; "": its default
	// instances reach the servers without the proxy, which would take a part of the cores that are
	// measured
	straight bool
	limit    int64         // the same in bytes
	window   string        // of the group
	late     string        // its lateness
	expire   bool          // Kafka deletes what no restore point needs
	events   int64         // of a backlog
	lives    int           // how often an instance is ended
	storm    time.Duration // how long a rebalance storm lasts; 0: some seconds
}

// world is everything there is.
type world struct {
	opts  options
	out   *testbed.Log
	dir   string
	log   *slog.Logger
	began time.Time

	kafka    *kafkabroker.Broker // the lane of Kafka's faults is the only user of its methods
	postgres *pgserver.Server    // likewise
	toKafka  *link
	toServer *link
	disk     *smallDisk       // nil: none
	admin    *kadm.Client     // straight
	db       testbed.Database // straight
	farSide  string           // the same database as the instances see it

	binary string
	hooked string // the binary for an instance whose clock is wrong; "": none
	env    []string
	slots  []*slot

	mu          sync.Mutex
	wrong       []string // what the run has shown to be wrong so far
	tally       map[string]int
	wrongClocks int64 // checkouts that producers with a wrong clock have sent

	expired map[string]int64 // records deleted, by topic; of the lane of retention until the lanes have ended
}

// blame notes that something is wrong.
func (w *world) blame(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.out.Say("WRONG: %s", text)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, text)
}

func (w *world) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tally[what]++
}

// newWorld starts both servers and builds the binary. What it started ends with close, also after
// an error.
func newWorld(ctx context.Context, opts options, out io.Writer) (*world, error) {
	w := &world{opts: opts, out: testbed.NewLog(out), dir: opts.dir, tally: map[string]int{},
		expired: map[string]int64{}}
	for _, dir := range []string{filepath.Join(w.dir, "logs"), w.temporary()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return w, err
		}
	}
	log, err := os.Create(filepath.Join(w.dir, "logs", "suite.log"))
	if err != nil {
		return w, err
	}
	w.log = slog.New(slog.NewTextHandler(log, nil))
	if err := w.build(ctx); err != nil {
		return w, err
	}
	if err := w.startKafka(ctx); err != nil {
		return w, err
	}
	if err := w.startPostgres(ctx); err != nil {
		return w, err
	}
	w.out.Say("Kafka at %s, Postgres at %s, binary %s", w.kafka.Addr, w.db.DSN, w.binary)
	w.began = time.Now()
	return w, nil
}

// temporary is where instances put temporary files, if they have any.
func (w *world) temporary() string { return filepath.Join(w.dir, "tmp") }

func (w *world) build(ctx context.Context) error {
	w.binary = filepath.Join(w.dir, "firstclick")
	w.env = append(os.Environ(), "TMPDIR="+w.temporary())
	var args []string
	if w.opts.without != "" {
		args = append(args, "-tags", hooksTag)
		w.env = append(w.env, hooksVariable+"="+w.opts.without)
	}
	if w.opts.race {
		args = append(args, "-race")
		w.env = append(w.env, "GORACE=halt_on_error=1")
	}
	if err := testbed.Build(ctx, w.binary, args...); err != nil || w.opts.trial != "" || w.opts.quiet {
		return err
	}
	w.hooked = w.binary + "-hooks"
	return testbed.Build(ctx, w.hooked, append(args, "-tags", hooksTag)...)
}

// startKafka runs a broker with two doors: the suite's own, and one whose address leads through the
// proxy.
func (w *world) startKafka(ctx context.Context) error {
	free, err := ports.Free(4)
	if err != nil {
		return err
	}
	straight, behind, controller, before := free[0], free[1], free[2], free[3]
	at := func(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
	if w.toKafka, err = newLink("kafka", at(before), at(behind)); err != nil {
		return err
	}
	w.kafka, err = kafkabroker.Start(filepath.Join(w.dir, "kafka"),
		kafkabroker.Options{Port: straight, Quick: true, Settings: map[string]string{
			"listeners": "PLAINTEXT://" + at(straight) + ",PROXIED://" + at(behind) +
				",CONTROLLER://" + at(controller),
			"advertised.listeners":           "PLAINTEXT://" + at(straight) + ",PROXIED://" + at(before),
			"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
			"controller.quorum.voters":       "1@" + at(controller),
			"transaction.max.timeout.ms":     "60000",
		}})
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(w.kafka.Addr), kgo.MetadataMinAge(100*ms))
	if err != nil {
		return err
	}
	w.admin = kadm.NewClient(client)
	for topic, partitions := range map[string]int32{clicksTopic: clicksPartitions,
		checkoutsTopic: checkoutsPartitions} {
		configs := map[string]*string{
			"retention.ms": kadm.StringPtr("-1"), "max.message.bytes": kadm.StringPtr("8388608"),
			// Older brokers take a record from the future, and so do topics that were set up so.
			"message.timestamp.after.max.ms": kadm.StringPtr(strconv.Itoa(math.MaxInt64)),
		}
		if _, err := w.admin.CreateTopic(ctx, partitions, 1, configs, topic); err != nil {
			return fmt.Errorf("create topic %s: %w", topic, err)
		}
	}
	return nil
}

func (w *world) startPostgres(ctx context.Context) (err error) {
	free, err := ports.Free(2)
	if err != nil {
		return err
	}
	w.postgres, err = pgserver.Start(filepath.Join(w.dir, "postgres"), pgserver.WithPort(free[0]), pgserver.WithSync(),
		pgserver.WithConfig(map[string]string{
			"shared_buffers": "128MB", "log_connections": "off", "log_min_messages": "warning",
		}))
	if err != nil {
		return err
	}
	before := "127.0.0.1:" + strconv.Itoa(free[1])
	if w.toServer, err = newLink("postgres", before, "127.0.0.1:"+strconv.Itoa(free[0])); err != nil {
		return err
	}
	w.db = testbed.Database{DSN: w.postgres.DSN("postgres"), Application: "firstclick chaos"}
	w.farSide = "postgres://postgres:postgres@" + before + "/postgres?sslmode=disable"
	if err := migrations.Up(ctx, w.db.DSN, nil); err != nil {
		return err
	}
	if w.opts.disk {
		if err := w.putOnSmallDisk(ctx); err != nil {
			return err
		}
	}
	return w.db.Exec(ctx, witnesses)
}

// eventNow is the event time now.
func (w *world) eventNow() time.Time {
	return w.epoch().Add(time.Since(w.began) * timeLapse)
}

// epoch is the event time at which everything begins. Retention goes by it, so it is off for these
// topics.
func (w *world) epoch() time.Time { return w.began.Add(-24 * time.Hour) }

// close ends what newWorld has started.
func (w *world) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var errs []error
	for _, s := range w.slots {
		errs = append(errs, s.kill())
	}
	for _, l := range []*link{w.toKafka, w.toServer} {
		if l != nil {
			l.Stop()
		}
	}
	if w.admin != nil {
		w.admin.Close()
	}
	if w.kafka != nil {
		errs = append(errs, w.kafka.Kill())
	}
	if w.postgres != nil {
		errs = append(errs, w.postgres.Stop(ctx))
	}
	if w.disk != nil {
		errs = append(errs, w.disk.remove())
	}
	return errors.Join(errs...)
}
