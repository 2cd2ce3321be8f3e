package audit

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/internal/kafkatest"
)

func (w *world) client(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(w.brokers...),
		kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

// transaction produces in a transaction to partition 0 and ends it, or leaves it open.
func (w *world) transaction(id string, end *kgo.TransactionEndTry, topic string, values ...string) {
	w.t.Helper()
	c := w.client(kgo.TransactionalID(id), kgo.TransactionTimeout(time.Minute))
	if err := c.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	for _, v := range values {
		if err := c.ProduceSync(w.t.Context(), &kgo.Record{Topic: topic, Value: []byte(v),
			Timestamp: stamp}).FirstErr(); err != nil {
			w.t.Fatal(err)
		}
	}
	if end == nil {
		return
	}
	if err := c.EndTransaction(w.t.Context(), *end); err != nil {
		w.t.Fatal(err)
	}
}

// Aborted events are none, control records take an offset, and what is behind an open transaction
// is not read. The last record that can be read is not there to be read: it was aborted.
func TestVerifyTransactions(t *testing.T) {
	w := base(t)
	commit, abort := kgo.TryCommit, kgo.TryAbort
	w.transaction("committed", &commit, "clicks", clickOf("0", 1, "p",
		-55)) // offset 2, marker 3
	w.transaction("aborted", &abort, "clicks", clickOf("00", 1, "p", -56),
		"{") // 4, 5, marker 6
	w.transaction("aborted too", &abort, "checkouts", checkoutOf("k7", 1, "p", 0),
		checkoutOf("k1", 1, "other", 0)) // 2, 3, marker 4
	w.transaction("open", nil, "checkouts", checkoutOf("k8", 1, "p", 0)) // 5
	w.produce("checkouts", 0, checkoutOf("k9", 1, "p", 0))               // 6
	w.read([2]int64{7, 2}, [2]int64{5, 2})
	w.exec(`UPDATE commerce.attributed_checkouts SET click_id = '0', click_time = $1::text::timestamp
		WHERE checkout_id = 'k1'`, at(-55))
	r := w.verify()
	w.expect(r, map[string]int64{"Clicks": 5, "Checkouts": 4})
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes,
		"checkouts-0: a transaction has been open since offset 5 of 7") {
		t.Errorf("notes: %s", notes)
	}
}

// An aborted record whose marker lies behind an open transaction is below the end, and so are only
// such ones.
func TestReadToAnEndThatNoRecordReaches(t *testing.T) {
	w := newWorld(t)
	abort := kgo.TryAbort
	first := w.client(kgo.TransactionalID("first"))
	if err := first.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := first.ProduceSync(t.Context(), &kgo.Record{Topic: "clicks",
		Value: []byte(clickOf("a", 1, "p", 0))}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	w.transaction("open", nil, "clicks", clickOf("b", 1, "p", 0))
	if err := first.EndTransaction(t.Context(), abort); err != nil {
		t.Fatal(err)
	}
	l, err := newLogReader(w.cfg.Kafka)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	topic, err := l.describe(t.Context(), "clicks")
	if err != nil {
		t.Fatal(err)
	}
	if end := topic.partitions[0].end; end != 1 {
		t.Fatalf("the stable end is %d", end)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = l.read(ctx, topic, 0, 0, 1, func(r *kgo.Record) error {
		t.Errorf("got %s", r.Value)
		return nil
	}, func(int64) { t.Error("the log's start moved") })
	if err != nil {
		t.Error(err)
	}
}

// deleteBelow does what retention does.
func (w *world) deleteBelow(topic string, partition int32, offset int64) {
	w.t.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, partition, offset, -1)
	answers, err := kadm.NewClient(w.client()).DeleteRecords(w.t.Context(), offsets)
	if err == nil {
		err = answers.Error()
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// What retention took is said, and not counted as wrong.
func TestVerifyAfterRetention(t *testing.T) {
	w := base(t)
	w.deleteBelow("clicks", 1, 1)                          // a
	w.deleteBelow("checkouts", 0, 1)                       // k1
	w.produce("checkouts", 0, checkoutOf("k5", 1, "p", 0)) // its row has the click that is gone
	w.read([2]int64{2, 2}, [2]int64{3, 2})
	w.row("k5", "ann", "p", 0, "a", -50)
	r := w.verify()
	w.expect(r, map[string]int64{"Unverifiable": 2})
	if r.ExpectedDigest != r.ActualDigest {
		t.Error("the digests differ")
	}
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, "clicks-1") ||
		!strings.Contains(notes, "checkouts-0: the group began at offset 0, Kafka holds what is at 1") {
		t.Errorf("notes: %s", notes)
	}
	// A later click than one that is still there is wrong, whatever is gone.
	w.exec(`UPDATE commerce.attributed_checkouts SET click_id = 'b', click_time = $1::text::timestamp
		WHERE checkout_id = 'k5'`, at(-40))
	w.expect(w.verify(), map[string]int64{"Unverifiable": 1, "Different": 1})
}

// A click that came too late would have been better than the one that the row has, which retention
// has taken since: nobody can say any more whether that one was right.
func TestVerifyLateClickAfterRetention(t *testing.T) {
	w := base(t)
	w.deleteBelow("clicks", 1, 1)    // a
	w.deleteBelow("checkouts", 0, 1) // k1
	w.produce("checkouts", 0, checkoutOf("k5", 1, "p", 0))
	w.produce("clicks", 0, clickOf("z", 1, "p", -55))
	w.late("click", 0, 2, "z", 1, "p", -55)
	w.read([2]int64{3, 2}, [2]int64{3, 2})
	w.row("k5", "ann", "p", 0, "a", -50)
	w.expect(w.verify(), map[string]int64{"Unverifiable": 2})
	w.judged(w.explain("k5"), VerdictUnverifiable, "winner z@0/2, runner_up a2@1/1, candidate b@0/0")
}

// A group does not answer for what lies before its start.
func TestVerifyFromTheGroupsStart(t *testing.T) {
	w := base(t)
	w.exec(`UPDATE firstclick.progress SET clicks_start = '{0,1}', checkouts_start = '{1}'`)
	w.exec(`DELETE FROM commerce.attributed_checkouts WHERE checkout_id = 'k1'`)
	w.expect(w.verify(), map[string]int64{"Clicks": 3, "Checkouts": 3})
}

func TestVerifyTopicMadeAnew(t *testing.T) {
	w := base(t)
	w.exec(`UPDATE firstclick.progress SET clicks_topic_id = '00000000-0000-0000-0000-000000000007'`)
	if _, err := Verify(t.Context(), w.cfg); err == nil || !strings.Contains(err.Error(), "created anew") {
		t.Errorf("got %v", err)
	}
}

// A fetch gets no more than so many bytes; larger batches come all the same.
func TestVerifyLargeRecords(t *testing.T) {
	w := base(t)
	c := w.client(kgo.ProducerBatchMaxBytes(8<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
	limit := "8388608"
	if _, err := kadm.NewClient(c).AlterTopicConfigs(t.Context(),
		[]kadm.AlterConfig{{Name: "max.message.bytes", Value: &limit}}, "clicks"); err != nil {
		t.Fatal(err)
	}
	large := &kgo.Record{Topic: "clicks", Value: []byte(strings.Repeat("x", 5<<20)), Timestamp: stamp}
	if err := c.ProduceSync(t.Context(), large, &kgo.Record{Topic: "clicks", Value: []byte(clickOf("c", 1, "p", 0)),
		Timestamp: stamp}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	w.read([2]int64{4, 2}, [2]int64{2, 2})
	w.dead("clicks", 0, 2, "too_large", "open")
	w.expect(w.verify(), map[string]int64{"Clicks": 5})
}

// A batch that cannot be read is one dead letter, at its first offset.
func TestVerifyWithBatchesThatCannotBeRead(t *testing.T) {
	w := base(t)
	bomb, err := kafkatest.Bomb(kgo.CodecZstd, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	brokers := w.cfg.Kafka.Brokers
	for topic, batches := range map[string][]*kmsg.RecordBatch{"clicks": {bomb},
		"checkouts": {kafkatest.Rubble(kgo.CodecGzip, 5), bomb}} {
		for _, b := range batches {
			if _, err := kafkatest.ProduceBatch(t.Context(), brokers, topic, 0, b); err != nil {
				t.Fatal(err)
			}
		}
	}
	more := &kgo.Record{Topic: "clicks", Value: []byte(clickOf("c", 1, "p", 0)), Timestamp: stamp}
	if err := w.client().ProduceSync(t.Context(), more).FirstErr(); err != nil {
		t.Fatal(err)
	}
	w.read([2]int64{4, 2}, [2]int64{8, 2})
	w.expect(w.verify(), map[string]int64{"Clicks": 5, "DeadLettersMissing": 3})
	w.dead("clicks", 0, 2, "unreadable", "open")
	w.dead("checkouts", 0, 2, "unreadable", "open")
	w.dead("checkouts", 0, 7, "unreadable", "open")
	w.expect(w.verify(), map[string]int64{"Clicks": 5})
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	w := base(t)
	w.cfg.Progress = io.Discard
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Verify(ctx, w.cfg); err == nil {
		t.Error("no error")
	}
}

// What is produced between the two questions for a topic's ends is held by no transaction.
func TestVerifyWhileEventsCome(t *testing.T) {
	w := base(t)
	ctx, stop := context.WithCancel(t.Context())
	client := w.client(kgo.ProducerLinger(0))
	produced := make(chan error)
	go func() {
		var err error
		for ctx.Err() == nil && err == nil {
			err = client.ProduceSync(context.WithoutCancel(ctx),
				&kgo.Record{Topic: "clicks", Value: []byte(clickOf("more", 1, "p", -1)), Timestamp: stamp}).FirstErr()
		}
		produced <- err
	}()
	r := w.verify()
	stop()
	if err := <-produced; err != nil {
		t.Fatal(err)
	}
	if len(r.Notes) > 0 {
		t.Errorf("notes: %q", r.Notes)
	}
}
