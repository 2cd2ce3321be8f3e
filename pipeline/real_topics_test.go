//go:build realkafka

package pipeline_test

import (
	"log/slog"
	"testing"
	"time"

	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
)

func TestTopicsThatComeLater(t *testing.T) {
	w := newWorld(t, pgtest.New(t), 0, 0)
	cfg := w.config()
	log := &heard{}
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	p := begin(t, cfg)
	at := time.Now()
	eventually(t, "a line about the topic that is missing", func() bool { return log.has("does not exist yet") })
	kafkatest.CreateTopics(t, w.brokers, 1, nil, w.clicks)
	eventually(t, "a line about the other", func() bool { return log.has(w.checkouts + " does not exist yet") })
	kafkatest.CreateTopics(t, w.brokers, 1, nil, w.checkouts)
	joined := func(n, product string, clicks, checkouts int32) {
		t.Helper()
		kafkatest.Produce(t, w.brokers, w.clicks, clicks, values(click("c"+n, 1, product, stamp(at, 0)))...)
		kafkatest.Produce(t, w.brokers, w.checkouts, checkouts,
			values(checkout("k"+n, 1, product, "1", stamp(at, 1)))...)
		var has string
		eventually(t, "row k"+n, func() (ok bool) { has, ok = w.clickOf("k" + n); return ok })
		if has != "c"+n {
			t.Errorf("row k%s has the click %q", n, has)
		}
	}
	joined("1", "p1", 0, 0)

	// Partitions are added. A checkout in an old partition must wait for the first click in a new
	// one.
	adm := admin(t, w.brokers)
	if _, err := adm.UpdatePartitions(t.Context(), 3, w.clicks); err != nil {
		t.Fatal(err)
	}
	leader := func(topic string, n int) {
		t.Helper()
		eventually(t, "leaders of "+topic, func() bool {
			ends, err := adm.ListEndOffsets(t.Context(), topic)
			return err == nil && ends.Error() == nil && len(ends[topic]) == n
		})
	}
	leader(w.clicks, 3)
	joined("2", "p2", 2, 0)
	if _, err := adm.UpdatePartitions(t.Context(), 2, w.checkouts); err != nil {
		t.Fatal(err)
	}
	leader(w.checkouts, 2)
	added := time.Now()
	joined("3", "p3", 1, 1)
	if took := time.Since(added); took > 20*time.Second {
		t.Errorf("the new checkouts partition was read after %v: the group waited for its metadata to grow old", took)
	}
	eventually(t, "all partitions", func() bool { st := p.Stats(); return len(st.Clicks) == 3 && len(st.Shards) == 2 })
	eventually(t, "the end of both topics", p.caughtUp)
	p.end()
	if st := p.Stats(); st.Result.Corrected != 0 {
		t.Errorf("%d corrections; there was nothing to correct", st.Result.Corrected)
	}

	// After a restart the added partitions go on where they were.
	p = begin(t, cfg)
	joined("4", "p4", 2, 1)
	eventually(t, "the end of both topics", p.caughtUp)
	p.end()
	if r := w.verify(); r.Rows != 4 || r.Attributed != 4 {
		t.Errorf("%d rows, %d with a click", r.Rows, r.Attributed)
	}
}
