package datagen

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"firstclick/internal/kafkaconn"
	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// read returns the first n records of the two topics by topic and partition, in order.
func read(t *testing.T, brokers []string, n int64, opts ...kgo.Opt) map[string][]*kgo.Record {
	t.Helper()
	return readTopics(t, brokers, n, []string{"clicks", "checkouts"}, opts...)
}

func readTopics(t *testing.T, brokers []string, n int64, names []string, opts ...kgo.Opt) map[string][]*kgo.Record {
	t.Helper()
	client, err := kgo.NewClient(append(
		opts,
		kgo.SeedBrokers(brokers...),
		kgo.ConsumeTopics(names...),
		kgo.ConsumeResetOffset(
			kgo.NewOffset().AtStart(),
		),
		kgo.FetchMaxBytes(64<<20),
		kgo.FetchMaxPartitionBytes(16<<20),
	)...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	all := map[string][]*kgo.Record{}
	for got := int64(0); got < n; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", got, n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			key := fmt.Sprintf("%s/%d", r.Topic, r.Partition)
			all[key] = append(all[key], r)
			got++
		})
	}
	return all
}

// ends is the number of records that the topics hold.
func ends(t *testing.T, c *kfake.Cluster) (n int64) {
	t.Helper()
	for _, name := range []string{"clicks", "checkouts"} {
		info := c.TopicInfo(name)
		if info == nil {
			t.Fatalf("no topic %s", name)
		}
		for _, p := range c.PartitionInfos(name) {
			n += p.HighWatermark
		}
	}
	return n
}

func TestRunSendsWhatTheScriptSays(t *testing.T) {
	cfg := Config{
		Count: 20_000, Seed: 23, Start: testStart, Partitions: 3, Poison: 0.05, Duplicate: 0.05, Conflict: 0.05,
		Late: 0.02, OutOfOrder: 0.05,
		TooLarge: 0.0002,
	}
	var sums []string
	for range 2 {
		cluster := kafkatest.FakeCluster(t)
		cfg.Kafka = kafkaconn.Config{Brokers: cluster.ListenAddrs()}
		sum, err := Run(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if sum.Clicks+sum.Checkouts != cfg.Count {
			t.Errorf("%d clicks and %d checkouts, want %d in all", sum.Clicks, sum.Checkouts, cfg.Count)
		}
		if held := ends(t, cluster); held != sum.Records {
			t.Errorf("the topics hold %d records, the summary says %d", held, sum.Records)
		}
		sum.Elapsed = 0
		sums = append(sums, fmt.Sprintf("%+v", sum))
		compare(t, cfg, read(t, cluster.ListenAddrs(), sum.Records))
	}
	if sums[0] != sums[1] {
		t.Errorf("two runs of one seed: %s and %s", sums[0], sums[1])
	}
}

// compare checks every partition against the script, record by record.
func compare(t *testing.T, cfg Config, got map[string][]*kgo.Record) {
	t.Helper()
	cfg, err := cfg.checked()
	if err != nil {
		t.Fatal(err)
	}
	s := newScript(cfg, [topics]int32{3, 3})
	b := &batch{}
	clock := newEventClock(cfg, time.Time{})
	for s.drawn < cfg.Count {
		s.step(b, clock.at(s.drawn))
	}
	for s.drain(b) {
	}
	b.prepare([topics]string{"clicks", "checkouts"})
	at := map[string]int{}
	for i := range b.out {
		want := &b.out[i]
		key := fmt.Sprintf("%s/%d", want.Topic, want.Partition)
		if at[key] >= len(got[key]) {
			t.Fatalf("%s ends at record %d", key, at[key])
		}
		r := got[key][at[key]]
		at[key]++
		if !bytes.Equal(r.Value, want.Value) || r.Timestamp.UnixMilli() != want.Timestamp.UnixMilli() || r.Key != nil {
			t.Fatalf(
				"%s at %d: %.300q at %s, want %.300q at %s",
				key,
				r.Offset,
				r.Value,
				r.Timestamp,
				want.Value,
				want.Timestamp,
			)
		}
		if (r.Value == nil) != (want.Value == nil) {
			t.Fatalf("%s at %d: a tombstone and an empty value are two things", key, r.Offset)
		}
	}
}

// No produce request has a checkout before the requests with the clicks before it in its session
// are acknowledged.
func TestClicksAreAcknowledgedFirst(t *testing.T) {
	cluster := kafkatest.FakeCluster(t, kfake.SeedTopics(2, "clicks", "checkouts"))
	var mu sync.Mutex
	stored := map[string]int{} // clicks by product
	var early, seen int
	cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		arrived := map[string]int{}
		eachProduced(t, req.(*kmsg.ProduceRequest), func(value []byte) {
			f := factOf(t, value)
			if f.ClickID != "" {
				arrived[f.Product]++
				return
			}
			seen++
			if stored[f.Product] < 2 {
				early++
			}
		})
		for p, n := range arrived {
			stored[p] += n
		}
		return nil, nil, false
	})
	sum, err := Run(
		t.Context(),
		Config{Kafka: kafkaconn.Config{Brokers: cluster.ListenAddrs()}, Count: 4_000, Rate: 4_000, Seed: 29},
	)
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if early > 0 || int64(seen) != sum.Checkouts {
		t.Errorf("%d of %d checkouts came before their clicks, %d were sent", early, seen, sum.Checkouts)
	}
}

// eachProduced decodes the records of a request. It runs in a goroutine of the fake cluster: no
// t.Fatal.
func eachProduced(t *testing.T, req *kmsg.ProduceRequest, fn func(value []byte)) {
	for i := range req.Topics {
		for _, p := range req.Topics[i].Partitions {
			var batch kmsg.RecordBatch
			if err := batch.ReadFrom(p.Records); err != nil {
				t.Errorf("read record batch: %v", err)
				return
			}
			raw, err := kgo.DefaultDecompressor().Decompress(
				batch.Records,
				kgo.CompressionCodecType(batch.Attributes&7),
			)
			if err != nil {
				t.Errorf("decompress record batch: %v", err)
				return
			}
			for range batch.NumRecords {
				length, n := kmsgVarint(raw)
				var r kmsg.Record
				if err := r.ReadFrom(raw[:n+int(length)]); err != nil {
					t.Errorf("read record: %v", err)
					return
				}
				raw = raw[n+int(length):]
				fn(r.Value)
			}
		}
	}
}

// kmsgVarint reads the zigzag length of a record.
func kmsgVarint(b []byte) (value int32, n int) {
	var u uint32
	for shift := 0; n < len(b); shift += 7 {
		c := b[n]
		n++
		u |= uint32(c&0x7f) << shift
		if c < 0x80 {
			break
		}
	}
	return int32(u>>1) ^ -int32(u&1), n
}

func TestRunKeepsItsPaceAndStopsCleanly(t *testing.T) {
	for _, rate := range []float64{50, 5_000} {
		cluster := kafkatest.FakeCluster(t)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		var out bytes.Buffer
		sum, err := Run(ctx, Config{
			Kafka: kafkaconn.Config{
				Brokers: cluster.ListenAddrs(),
			}, Rate: rate, Seed: 31, Late: 0.1, Duplicate: 0.1, Progress: &out,
		})
		if err != nil {
			t.Fatal(err)
		}
		if held := ends(t, cluster); held != sum.Records {
			t.Errorf("the topics hold %d records, the summary says %d", held, sum.Records)
		}
		// A tenth of the clicks are late: they are not sent before the end.
		events := float64(sum.Clicks+sum.Checkouts) / (1 - 0.1*2/3)
		// A busy machine may slow it down, but it is never too fast.
		if due := rate * sum.Elapsed.Seconds(); sum.Elapsed < 100*time.Millisecond || events < 0.1*due-5 ||
			events > 1.05*due+5 {
			t.Errorf("%.0f events in %s at %v/s", events, sum.Elapsed, rate)
		}
		if !strings.Contains(out.String(), " events, ") {
			t.Errorf("progress is %q", out.String())
		}
	}
}

// Event times in real time are those of the clock.
func TestRunInRealTime(t *testing.T) {
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	before := time.Now()
	sum, err := Run(t.Context(), Config{Kafka: kafkaconn.Config{Brokers: brokers}, Rate: 100, Count: 50, Seed: 37})
	if err != nil {
		t.Fatal(err)
	}
	for _, records := range read(t, brokers, sum.Records) {
		for _, r := range records {
			at := factOf(t, r.Value).micros(t)
			if at/1000 != r.Timestamp.UnixMilli() || r.Timestamp.Before(before.Truncate(time.Millisecond)) ||
				r.Timestamp.After(time.Now()) {
				t.Errorf("event of %s has timestamp %s", time.UnixMicro(at), r.Timestamp)
			}
		}
	}
}

func TestUsersAndProducts(t *testing.T) {
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	dsn := pgtest.New(t)
	cfg := Config{
		Kafka:    kafkaconn.Config{Brokers: brokers},
		Database: dsn,
		Users:    1_200,
		Rate:     400,
		Count:    400,
		Seed:     41,
		Renames:  300,
	}
	began := time.Now()
	sum, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	due := cfg.Renames*time.Since(began).Seconds() + 1 // at most: a run of a second takes longer on a busy machine
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var users, products, least, greatest, described int64
	err = conn.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM commerce.users), count(*), min(id), max(id),
		count(*) FILTER (WHERE length(name) > 3 AND length(description) > 20 AND price BETWEEN 1 AND 100)
		FROM commerce.products`).Scan(&users, &products, &least, &greatest, &described)
	if err != nil {
		t.Fatal(err)
	}
	if users != 1_200 || products != 1_200 || least != 0 || greatest != 1_199 || described != products {
		t.Errorf("%d users, %d products %d..%d, %d well described", users, products, least, greatest, described)
	}
	if sum.Users != users || sum.Products != products || sum.Updated < 70 || sum.Updated > 180 || sum.Renames < 10 ||
		float64(sum.Renames) > due {
		t.Errorf(
			"summary: %d users, %d products, %d updated, %d renames",
			sum.Users,
			sum.Products,
			sum.Updated,
			sum.Renames,
		)
	}
	before := names(t, conn)
	cfg.Renames = 0
	again, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if again.Users+again.Products+again.Updated != 0 || !maps.Equal(before, names(t, conn)) {
		t.Errorf("a second run changes the users: %+v", again)
	}
}

func names(t *testing.T, conn *pgx.Conn) map[int32]string {
	t.Helper()
	rows, err := conn.Query(t.Context(), `SELECT id, username FROM commerce.users`)
	if err != nil {
		t.Fatal(err)
	}
	all := map[int32]string{}
	var id int32
	var name string
	if _, err := pgx.ForEachRow(rows, []any{&id, &name}, func() error { all[id] = name; return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTransactions(t *testing.T) {
	brokers := kafkatest.Fake(t, 2, "clicks", "checkouts")
	sum, err := Run(t.Context(), Config{
		Kafka: kafkaconn.Config{
			Brokers: brokers,
		}, Count: 80_000, Seed: 44, Transactional: "generator", Aborted: 0.4, Poison: 0.01,
	})
	if err != nil {
		t.Fatal(err)
	}
	if sum.Transactions == 0 || sum.TransactionsAborted == 0 || sum.RecordsAborted == 0 {
		t.Fatalf("%d transactions committed, %d aborted", sum.Transactions, sum.TransactionsAborted)
	}
	got := read(t, brokers, sum.Records, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	total := 0
	for _, records := range got {
		total += len(records)
	}
	if int64(total) != sum.Records {
		t.Errorf("%d committed records, the summary says %d", total, sum.Records)
	}
	all := read(t, brokers, sum.Records+sum.RecordsAborted)
	if n := len(slices.Concat(slices.Collect(maps.Values(all))...)); int64(n) != sum.Records+sum.RecordsAborted {
		t.Errorf("%d records in all, want %d and %d", n, sum.Records, sum.RecordsAborted)
	}
}
