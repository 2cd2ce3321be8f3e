package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"firstclick/internal/kafkabatch"
	"firstclick/join"
	"firstclick/join/event"
	"firstclick/join/window"
	"firstclick/pipeline/sink"
)

// session is one life of the in-memory state: from the offsets in Postgres until it ends, is fenced, or finds itself rewound.
type session struct {
	p   *Pipeline
	cfg Config
	log *slog.Logger

	clicksClient    *kgo.Client // asks, and is the first of those that read
	clicksClients   []*kgo.Client
	checkoutsClient *kgo.Client
	infos           map[string]topicInfo
	progress        sink.Progress
	began           []int64 // by clicks partition: where reading begins
	freshFrom       []int64 // by clicks partition: every click below it had its effect, which is stored, before the restart

	hasher event.Hasher
	window *window.Window
	core   *join.Core
	epoch  time.Time // of now()

	asks    *asker
	buffers buffers
	large   kafkabatch.LargeBuffers
	chunks  chunks

	disturbed disturbances

	clicks    chan *clicksMsg
	checkouts chan *checkoutsMsg
	permits   chan struct{} // the loop takes one when it has room for what a read of checkouts brings
	history   chan *historyMsg
	control   chan any // assigned, revoked, ends, committed
	work      chan *job
	gone      chan struct{} // closed when the group has been left and nothing more comes

	loop *loop
}

func newSession(p *Pipeline) *session {
	p.metrics.sessions.Inc()
	s := &session{
		p: p, cfg: p.cfg, log: p.log, epoch: time.Now(),
		clicks: make(chan *clicksMsg), checkouts: make(chan *checkoutsMsg), permits: make(chan struct{}), history: make(chan *historyMsg),
		control: make(chan any), work: make(chan *job, committers), gone: make(chan struct{}),
	}
	if limit := int(s.cfg.MemoryLimit); limit > 0 {
		s.buffers.bytes.most, s.buffers.records.most, s.chunks.shelf.most = limit/32, limit/32/int(unsafe.Sizeof(kgo.Record{})), limit/32
	}
	return s
}

// now is the session's clock for join: microseconds that never go back.
func (s *session) now() int64 { return time.Since(s.epoch).Microseconds() }

// run works until ctx ends in good order, or until something goes wrong. alive outlives ctx.
func (s *session) run(ctx, alive context.Context) error {
	defer s.closeClients()
	if err := s.connect(ctx); err != nil {
		return err
	}
	targets, err := s.begin(ctx)
	if err != nil {
		return err
	}
	alive, die := context.WithCancel(alive)
	defer die()
	ctx, stop := context.WithCancel(ctx)
	defer stop()

	g, alive := errgroup.WithContext(alive)
	defer context.AfterFunc(alive, stop)() // whatever fails ends the reading of checkouts too
	if s.checkoutsClient, err = s.joinGroup(alive); err != nil {
		return err
	}
	s.loop = newLoop(s, targets, stop)
	for _, cl := range s.clicksClients {
		g.Go(func() error { return s.readClicks(alive, cl) })
	}
	g.Go(func() error { return s.asks.run(alive) })
	g.Go(func() error { return s.asks.runAside(alive) })
	g.Go(func() error { return s.readCheckouts(ctx, alive) })
	g.Go(func() error { return s.advise(alive) })
	g.Go(func() error { return s.forgetLetters(alive) })
	g.Go(func() error { return s.probeLogs(alive) })
	g.Go(func() error { return s.watchGroup(alive) })
	g.Go(func() error { return s.showProgress(alive) })
	for range committers {
		g.Go(func() error { return s.commit(alive) })
	}
	g.Go(func() error {
		err := s.loop.run(alive, g)
		if err == nil {
			die() // the group has been left and everything is written: the others need not go on
		}
		return err
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	s.sayGoodbye(context.WithoutCancel(alive))
	return nil
}

// sayGoodbye leaves what others look at as it should be: the group's progress, no row of ours among the instances, no shard in our name.
func (s *session) sayGoodbye(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, _, err := s.p.sink.AdvanceProgress(ctx, s.cfg.Group)
	if err == nil {
		err = s.p.sink.Leave(ctx)
	}
	if err != nil {
		s.log.Debug("progress not told at the end", "cause", err)
	}
}

func (s *session) closeClients() {
	for _, cl := range append([]*kgo.Client{s.checkoutsClient}, s.clicksClients...) {
		if cl != nil {
			cl.CloseAllowingRebalance()
		}
	}
}

// connect makes the client that reads clicks and asks questions.
func (s *session) connect(ctx context.Context) error {
	for n := range s.clicksReaders() {
		name := "clicks"
		if n > 0 {
			name = fmt.Sprintf("clicks-%d", n+1)
		}
		cl, err := s.newReader(name)
		if err != nil {
			return err
		}
		s.clicksClients = append(s.clicksClients, cl)
	}
	s.clicksClient = s.clicksClients[0]
	infos, err := s.awaitTopics(ctx)
	s.infos = infos
	return err
}

// clicksReaders is how many clients share the clicks partitions. One waits for a broker, then checks and decompresses what came, then waits again:
// the time in which a window is rebuilt. Two do so by turns, where there is memory for what the second one holds.
func (s *session) clicksReaders() int {
	const little = 512 << 20
	if limit := s.cfg.MemoryLimit; limit > 0 && limit < little {
		return 1
	}
	return min(runtime.GOMAXPROCS(0), 2)
}

// readerOf is the client that reads a clicks partition.
func (s *session) readerOf(p int32) *kgo.Client { return s.clicksClients[int(p)%len(s.clicksClients)] }

// readOptions are what both readers have in common. The name tells them apart.
func (s *session) readOptions(name string) []kgo.Opt {
	all, partition := fetchSizes(s.cfg.MemoryLimit)
	opts := []kgo.Opt{
		kgo.ClientID("firstclick-" + name),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // positions count them: ends are asked for with them
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxWait(fetchWait), kgo.FetchMinBytes(1),
		kgo.FetchMaxBytes(all), kgo.FetchMaxPartitionBytes(partition), kgo.BrokerMaxReadBytes(128 << 20),
		kgo.WithPools(&s.buffers),
		kgo.MetadataMinAge(250 * time.Millisecond), kgo.MetadataMaxAge(30 * time.Second),
	}
	if s.cfg.Registry != nil {
		opts = append(opts, kgo.WithHooks(kafkaMetrics(s.cfg.Registry, name)...))
	}
	return opts
}

// fetchWait is how long a broker holds a fetch that finds nothing. A partition that is resumed is fetched no sooner than the fetch
// before has come back.
const fetchWait = 100 * time.Millisecond

// fetchSizes are how many bytes a fetch may bring, and of one partition, before the broker leaves off; a batch comes whole, however large.
// Decompressed and decoded they are some eight times as many, each of the three readers holds two fetches, and all of that has to find room in the
// half of the limit that is not the window's. A partition's last batch comes cut off, for nothing: of batches of half a megabyte, as a fast
// producer makes them, two and a half fit into 1.5 MiB.
func fetchSizes(limit int64) (all, partition int32) {
	const mostAll, leastAll, mostPartition, leastPartition = 3 << 20, 1 << 20, 1536 << 10, 128 << 10
	if limit <= 0 {
		return mostAll, mostPartition
	}
	return int32(min(max(limit/128, leastAll), mostAll)), int32(min(max(limit/1024, leastPartition), mostPartition))
}

// begin reads what is stored of the group, or stores where it begins, and sets the core up to read from there.
func (s *session) begin(ctx context.Context) (*targets, error) {
	if err := s.p.sink.Prepare(ctx); err != nil {
		return nil, err
	}
	if err := s.ensureProgress(ctx); err != nil {
		return nil, err
	}
	s.hasher = event.NewHasher(rand.Uint64())
	if _, err := s.heal(ctx); err != nil {
		return nil, fmt.Errorf("take back times that lie ahead of every clock: %w", err)
	}
	shards, err := s.p.sink.Shards(ctx, s.cfg.Group, s.cfg.CheckoutsTopic)
	if err != nil {
		return nil, fmt.Errorf("read the stored offsets: %w", err)
	}
	sizes := s.sizes()
	starts, err := listOffsets(ctx, s.clicksClient, map[string]int32{s.cfg.ClicksTopic: sizes[s.cfg.ClicksTopic]}, atStart, false)
	if err != nil {
		return nil, err
	}
	ends := map[string][]int64{}
	if s.cfg.UntilCaughtUp { // else a partition without leader need not be waited for
		if ends, err = listOffsets(ctx, s.clicksClient, sizes, atEnd, true); err != nil {
			return nil, err
		}
	}
	seed := rand.Uint64()
	s.window = window.New(window.Config{Seed: seed})
	s.core = join.NewCore(join.Config{Window: s.cfg.Window, Lateness: s.cfg.Lateness, OutOfOrder: s.cfg.OutOfOrder, MaxFutureSkew: s.cfg.MaxSkew, Seed: seed}, s.window)
	s.core.SetClock(wall().UnixMicro(), s.now())
	s.asks = newAsker(s)
	if err := s.placeClicks(shards, starts[s.cfg.ClicksTopic]); err != nil {
		return nil, err
	}
	if err := s.checkTruncated(ctx, s.cfg.ClicksTopic, clicksRead(shards, len(s.began))); err != nil {
		return nil, err
	}
	return &targets{clicks: ends[s.cfg.ClicksTopic], checkouts: ends[s.cfg.CheckoutsTopic], beganClicks: s.began, shards: shards}, nil
}

func (s *session) sizes() map[string]int32 {
	return map[string]int32{
		s.cfg.ClicksTopic: s.infos[s.cfg.ClicksTopic].partitions, s.cfg.CheckoutsTopic: s.infos[s.cfg.CheckoutsTopic].partitions,
	}
}

// placeClicks begins each clicks partition at the least restore point of the group's shards.
func (s *session) placeClicks(shards []sink.State, starts []int64) error {
	s.began, s.freshFrom = make([]int64, len(starts)), make([]int64, len(starts))
	for p, start := range starts {
		restore, next := s.clicksPlace(shards, p)
		lost := restore < start
		if lost && next < start {
			return &GapError{s.cfg.ClicksTopic, int32(p), neverRead(next, start), s.cureForGap()}
		}
		s.began[p], s.freshFrom[p] = max(restore, start), next
		lostUntil := event.NoTime
		if lost {
			lostUntil = latestClick(shards, p)
		}
		s.core.AddClicks(int32(p), s.began[p], lostUntil, s.now())
		s.p.reading.begin(s.cfg.ClicksTopic, int32(p), s.began[p])
	}
	s.core.StoredByAll(greatestFinal(shards), s.freshFrom)
	for p, from := range s.began {
		s.consumeClicks(int32(p), from)
	}
	return nil
}

func greatestFinal(shards []sink.State) int64 {
	final := event.NoTime
	for i := range shards {
		final = max(final, shards[i].Position.FinalBefore)
	}
	return final
}

// latestClick is a time that every click of a partition lies before which all shards have read, those that are gone included.
func latestClick(shards []sink.State, p int) int64 {
	latest := event.Forever
	for i := range shards {
		if at := &shards[i].Position; p < len(at.ClicksLatest) && at.ClicksLatest[p] < latest {
			latest = at.ClicksLatest[p] + 1 // to the microsecond; where there was no click, none is missing
		}
	}
	return latest
}

// clicksPlace is the least restore point of a clicks partition over the group's shards, and the least offset whose click may not
// have had its effect yet. A shard of the first hour that nobody claimed yet begins where the group began.
func (s *session) clicksPlace(shards []sink.State, p int) (restore, next int64) {
	first := at(s.progress.ClicksStart, p)
	if !s.allClaimed(shards) {
		return first, first
	}
	restore, next = event.Forever, event.Forever
	for i := range shards {
		at := func(offsets []int64) int64 {
			if p < len(offsets) {
				return offsets[p]
			}
			return first
		}
		restore = min(restore, at(shards[i].Position.ClicksRestore))
		next = min(next, at(shards[i].Position.ClicksNext))
	}
	return restore, next
}

// at is the stored start of a partition; one that appeared later begins at 0.
func at(starts []int64, p int) int64 {
	if p < len(starts) {
		return starts[p]
	}
	return 0
}

func (s *session) cureForGap() string {
	return "restore the records, or begin anew under another --group with --start earliest (rows that stand converge; they are not written twice), see docs/operations.md, Data gap"
}

// committers is how many transactions may be under way at once.
const committers = 2
