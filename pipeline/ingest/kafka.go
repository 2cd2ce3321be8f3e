package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkabatch"
	"firstclick/internal/kafkaconn"
	"firstclick/join"
	"firstclick/pipeline/ending"
)

// Config is what Connect needs.
type Config struct {
	Kafka                       kafkaconn.Config
	ClicksTopic, CheckoutsTopic string
	Group                       string
	Static                      string // group.instance.id; empty: none
	Start                       string // where a new group begins: earliest, latest, or an RFC 3339 time
	Rule                        join.Config
	Zone                        *time.Location        // of times without a zone
	MemoryLimit                 int64                 // bytes; 0: none
	Registry                    prometheus.Registerer // of the clients' metrics; nil: none
	Logger                      *slog.Logger
}

// Kafka is an attempt's connection with Kafka: its clients, and what is known of both topics.
type Kafka struct {
	*Run
	cfg Config
	log *slog.Logger

	Clicks, Checkouts Topic // as they were when the attempt began

	readers []*kgo.Client // of clicks; the first one also sends requests
	group   *kgo.Client   // of checkouts

	buffers buffers
	large   kafkabatch.LargeBuffers
	noticed notices

	mu    sync.Mutex
	fresh map[int32]int64 // by clicks partition: the effect of every click below it is stored already
}

// Connect makes the clients that read clicks, and waits until both topics exist.
func Connect(ctx context.Context, cfg Config, run *Run) (*Kafka, error) {
	k := &Kafka{Run: run, cfg: cfg, log: cfg.Logger, fresh: map[int32]int64{}}
	k.buffers.limit(cfg.MemoryLimit)
	for n := range readers(cfg.MemoryLimit) {
		name := "clicks"
		if n > 0 {
			name = fmt.Sprintf("clicks-%d", n+1)
		}
		cl, err := k.newClient(name)
		if err != nil {
			k.Close()
			return nil, err
		}
		k.readers = append(k.readers, cl)
	}
	if err := k.awaitTopics(ctx); err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}

// Close closes all clients. A member of the group leaves it without waiting.
func (k *Kafka) Close() {
	for _, cl := range append([]*kgo.Client{k.group}, k.readers...) {
		if cl != nil {
			cl.CloseAllowingRebalance()
		}
	}
}

func (k *Kafka) admin() *kgo.Client { return k.readers[0] }

// client is the one that reads a partition.
func (k *Kafka) client(topic string, p int32) *kgo.Client {
	if topic == k.cfg.CheckoutsTopic {
		return k.group
	}
	return k.readers[int(p)%len(k.readers)]
}

// ReadClicks begins to read a clicks partition. The effect of every click below fresh is stored.
func (k *Kafka) ReadClicks(p int32, from, fresh int64) {
	k.mu.Lock()
	k.fresh[p] = fresh
	k.mu.Unlock()
	k.reading.begin(k.cfg.ClicksTopic, p, from)
	k.client(k.cfg.ClicksTopic, p).AddConsumePartitions(offsetMap{k.cfg.ClicksTopic: {p: kgo.NewOffset().At(from)}})
}

// Pause stops the fetches of a partition.
func (k *Kafka) Pause(topic string, p int32) {
	k.client(topic, p).PauseFetchPartitions(map[string][]int32{topic: {p}})
}

// Resume undoes Pause.
func (k *Kafka) Resume(topic string, p int32) {
	k.client(topic, p).ResumeFetchPartitions(map[string][]int32{topic: {p}})
}

// RefreshGroup lets the group see new partitions before its metadata are old.
func (k *Kafka) RefreshGroup() { k.group.ForceMetadataRefresh() }

func (k *Kafka) freshFrom(p int32) int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.fresh[p]
}

// ClickRecordTime is the timestamp of the newest record read of a clicks partition, in
// microseconds, or event.NoTime.
func (k *Kafka) ClickRecordTime(p int32) int64 {
	_, t := k.reading.upTo(k.cfg.ClicksTopic, p)
	return t
}

// readers is how many clients share the clicks partitions. One client waits for a broker, then
// checks and decompresses what came, and waits again. Two do so by turns, where memory allows it.
func readers(limit int64) int {
	const little = 512 << 20
	if limit > 0 && limit < little {
		return 1
	}
	return min(runtime.GOMAXPROCS(0), 2)
}

// newClient makes a client that reads. The name tells it from the others.
func (k *Kafka) newClient(name string, more ...kgo.Opt) (*kgo.Client, error) {
	opts, err := k.cfg.Kafka.Opts()
	if err != nil {
		return nil, ending.Configf("%v", err)
	}
	decompressor, err := kafkabatch.NewDecompressor(fetchBudget(k.cfg.MemoryLimit), &k.large, &k.buffers)
	if err != nil {
		return nil, err
	}
	all, partition := fetchSizes(k.cfg.MemoryLimit)
	opts = append(opts,
		kgo.ClientID("firstclick-"+name),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // positions count them, like the end offsets do
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxWait(fetchWait), kgo.FetchMinBytes(1),
		kgo.FetchMaxBytes(all), kgo.FetchMaxPartitionBytes(partition), kgo.BrokerMaxReadBytes(128<<20),
		kgo.WithPools(&k.buffers), kgo.WithDecompressor(decompressor),
		kgo.MetadataMinAge(250*time.Millisecond), kgo.MetadataMaxAge(30*time.Second),
	)
	if k.cfg.Registry != nil {
		opts = append(opts, kgo.WithHooks(kafkaMetrics(k.cfg.Registry, name)...))
	}
	if k.cfg.Kafka.SASL != "" {
		refused := fetchRefusals{k.Refusals, name}
		opts = append(opts, kgo.WithLogger(refused), kgo.WithHooks(refused))
	}
	cl, err := kgo.NewClient(append(opts, more...)...)
	if err != nil {
		return nil, fmt.Errorf("make the Kafka client for %s: %w", name, err)
	}
	return cl, nil
}

// fetchWait is how long a broker holds a fetch that finds nothing. A partition that is resumed is
// not fetched before that fetch has come back.
const fetchWait = 100 * time.Millisecond

// fetchSizes are how many bytes a fetch may bring in all and of one partition; a batch comes whole,
// however large. Decompressed and decoded it takes about eight times as much, each of three readers
// holds two fetches, and all of that must fit in the half of the limit that is not the window's. A
// partition's last batch comes cut off and is fetched again: of batches of half a megabyte, which a
// fast producer makes, two and a half fit into 1.5 MiB.
func fetchSizes(limit int64) (all, partition int32) {
	const mostAll, leastAll, mostPartition, leastPartition = 3 << 20, 1 << 20, 1536 << 10, 128 << 10
	if limit <= 0 {
		return mostAll, mostPartition
	}
	return int32(min(max(limit/128, leastAll), mostAll)), int32(min(max(limit/1024, leastPartition), mostPartition))
}

// fetchBudget is how many bytes may be decompressed for one client between two polls: as many as a
// fetch of ordinary records becomes. What is past it is fetched again. One batch more finds room
// (kafkabatch.MaxBytes).
func fetchBudget(limit int64) int64 {
	const most, least = 32 << 20, 8 << 20
	if limit <= 0 {
		return most
	}
	return min(max(limit/16, least), most)
}
