//go:build realkafka

package pipeline_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/datagen"
	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
)

// A click that Kafka acknowledged before its checkout was produced is in the first version of the
// row, whatever the partitions are like: docs/architecture.md#promise-2-no-false-nulls.
func TestNoFalseNull(t *testing.T) {
	seconds := number(t, "FIRSTCLICK_LIVE_SECONDS", 20)
	t.Run("over four partitions", func(t *testing.T) {
		live(t, 4, 4, func(w *world) int64 {
			return w.generate(datagen.Config{Database: w.dsn, Rate: 2000, Count: 2000 * seconds}).wait(t).Rows()
		})
	})
	t.Run("idle partitions beside a busy one", func(t *testing.T) {
		live(t, 4, 3, func(w *world) int64 { return pairs(w, 2, 3, 5000) })
	})
	t.Run("one partition has all clicks", func(t *testing.T) {
		live(t, 1, 4, func(w *world) int64 { return pairs(w, 0, 4, 5000) })
	})
}

// live watches the table while events are produced, until every row was seen.
func live(t *testing.T, clicks, checkouts int32, produce func(w *world) int64) {
	w := newWorld(t, pgtest.New(t), clicks, checkouts)
	seen := watch(t, w.dsn)
	p := begin(t, w.config())
	rows := produce(w)
	eventually(t, fmt.Sprintf("%d rows", rows), func() bool { return seen.rows(t) >= rows })
	eventually(t, "the end of both topics", p.caughtUp)
	p.end()
	st := p.Stats()
	if len(seen.falses) > 0 || seen.nulls > 0 || len(seen.moved) > 0 {
		t.Errorf("%d rows were seen without their click (%d got it later), %d with another: %q %q",
			seen.nulls, len(seen.falses), len(seen.moved), seen.falses[:min(5, len(seen.falses))],
			seen.moved[:min(5, len(seen.moved))])
	}
	if st.Result.Corrected != 0 || st.OpenTxnReleases != 0 {
		t.Errorf("%d corrections, %d releases past an open transaction; there was nothing to correct",
			st.Result.Corrected, st.OpenTxnReleases)
	}
	if r := w.verify(); r.Rows != rows || r.Unattributed != 0 {
		t.Errorf("%d rows, %d without a click; %d were produced", r.Rows, r.Unattributed, rows)
	}
}

// pairs produces n clicks to one partition, and the checkout of each when the click is
// acknowledged, 10 at a time.
func pairs(w *world, clicks, checkouts int32, n int) int64 {
	w.t.Helper()
	cl := w.producer()
	send := func(records []*kgo.Record) {
		if err := cl.ProduceSync(w.t.Context(), records...).FirstErr(); err != nil {
			w.t.Fatal(err)
		}
	}
	for from := 0; from < n; from += 10 {
		var before, after []*kgo.Record
		for i := from; i < from+10; i++ {
			now, product := time.Now(), fmt.Sprintf("p%d", i)
			before = append(before, &kgo.Record{Topic: w.clicks, Partition: clicks,
				Value: []byte(click(fmt.Sprintf("c%d", i), i%100, product, stamp(now, -0.001)))})
			after = append(after, &kgo.Record{Topic: w.checkouts, Partition: int32(i) % checkouts,
				Value: []byte(checkout(fmt.Sprintf("k%d", i), i%100, product, "1.5", stamp(now, 0)))})
		}
		send(before)
		send(after)
	}
	return int64(n)
}

// producer is a client that sends records to the partitions they name, at once.
func (w *world) producer(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(w.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0), kgo.MetadataMinAge(100*time.Millisecond))...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(cl.Close)
	return cl
}

func (w *world) clickOf(checkout string) (click string, ok bool) {
	w.t.Helper()
	if countRows(w.t, w.conn, `checkout_id = $1`, checkout) == 0 {
		return "", false
	}
	err := w.conn.QueryRow(w.t.Context(), `SELECT coalesce(click_id, '') FROM commerce.attributed_checkouts
		WHERE checkout_id = $1`, checkout).Scan(&click)
	if err != nil {
		w.t.Fatal(err)
	}
	return click, true
}

// A transaction that stays open holds its clicks partition for 15 s, and no longer. When it
// commits, its click corrects the row.
func TestOpenTransactionOnAClicksPartition(t *testing.T) {
	w := newWorld(t, pgtest.New(t), 2, 1)
	p := begin(t, w.config())
	now := time.Now()
	kafkatest.Produce(t, w.brokers, w.clicks, 0, values(click("plain", 1, "p", stamp(now, -30)))...)
	kafkatest.Produce(t, w.brokers, w.clicks, 1, values(click("before", 2, "q", stamp(now, -70)))...)
	eventually(t, "the clicks", func() bool {
		st := p.Stats()
		return len(st.Clicks) == 2 && st.Clicks[0].Next == 1 && st.Clicks[1].Next == 1
	})

	tx := w.producer(kgo.TransactionalID(w.group), kgo.TransactionTimeout(2*time.Minute))
	if err := tx.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	opened := time.Now()
	held := &kgo.Record{Topic: w.clicks, Partition: 1, Value: []byte(click("held", 1, "p", stamp(now, -60)))}
	if err := tx.ProduceSync(t.Context(), held).FirstErr(); err != nil {
		t.Fatal(err)
	}
	kafkatest.Produce(t, w.brokers, w.checkouts, 0, values(checkout("k", 1, "p", "1", stamp(now, 0)))...)
	var has string
	eventually(t, "the row", func() (ok bool) { has, ok = w.clickOf("k"); return ok })
	waited := time.Since(opened)
	t.Logf("the row came %v after the transaction was opened", waited.Round(10*time.Millisecond))
	if has != "plain" || waited < 14*time.Second {
		t.Errorf("the row has the click %q, after %v; want plain, after 15 s", has, waited)
	}
	eventually(t, "a release past an open transaction that is counted",
		func() bool { return p.Stats().OpenTxnReleases == 1 })
	open := time.NewTimer(time.Until(opened.Add(20 * time.Second)))
	<-open.C
	if click, _ := w.clickOf("k"); click != "plain" {
		t.Errorf("the row has the click %q before the transaction is committed", click)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := tx.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the correction", func() bool { click, _ := w.clickOf("k"); return click == "held" })
	eventually(t, "the end of both topics", p.caughtUp)
	p.end()
	if st := p.Stats(); st.Result.Corrected != 1 || st.OpenTxnReleases != 1 {
		t.Errorf("%d corrections and %d releases past an open transaction counted", st.Result.Corrected,
			st.OpenTxnReleases)
	}
	w.verify()
}
