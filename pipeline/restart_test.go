package pipeline_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/internal/kafkatest"
	"firstclick/pipeline"
)

func admin(t testing.TB, brokers []string) *kadm.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

func deleteBefore(t testing.TB, adm *kadm.Client, topic string, partition int32, offset int64) {
	t.Helper()
	var os kadm.Offsets
	os.Add(kadm.Offset{Topic: topic, Partition: partition, At: offset, LeaderEpoch: -1})
	r, err := adm.DeleteRecords(t.Context(), os)
	if err == nil {
		err = r.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// run expects a run to fail, and returns why.
func runFails(t testing.TB, cfg pipeline.Config) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := pipeline.New(cfg)
	if err != nil {
		return err
	}
	err = p.Run(ctx)
	if err == nil {
		t.Fatal("the run ended well")
	}
	return err
}

func TestLateClicksCorrectRowsOfAnEarlierRun(t *testing.T) {
	base := time.Now().Add(-10 * time.Minute)
	brokers := kafkatest.Fake(t, 2, "clicks", "checkouts")
	dsn, conn := prepare(t, 10)
	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("k", 1, "p", "1", stamp(base, 60)))...)
	kafkatest.Produce(t, brokers, "clicks", 0, values(click("c9", 1, "p", stamp(base, 50)),
		click("x", 9, "z", stamp(base, 61)))...)
	cfg := testConfig(t, brokers, dsn)
	drain(t, cfg)
	has := func(want string) {
		t.Helper()
		if n := countRows(t, conn, `checkout_id = 'k' AND click_id = $1`, want); n != 1 {
			t.Errorf("the row has not the click %s", want)
		}
	}
	has("c9")
	// equal times: the lesser id wins
	for _, c := range []struct{ id, want string }{{"c5", "c5"}, {"c7", "c5"}, {"c3", "c3"}} {
		kafkatest.Produce(t, brokers, "clicks", 1, values(click(c.id, 1, "p", stamp(base, 40)))...)
		drain(t, cfg)
		has(c.want)
	}
	if n := count(t, conn, `SELECT count(*) FROM firstclick.late`); n != 0 {
		t.Errorf("%d events noted as late; none was", n)
	}
}

func TestALateClickBeyondTheHorizonIsNotedAndMovesNothing(t *testing.T) {
	base := time.Now().Add(-2 * time.Hour)
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	dsn, conn := prepare(t, 10)
	kafkatest.Produce(t, brokers, "checkouts", 0,
		values(checkout("k", 1, "p", "1", stamp(base, 60)), checkout("later", 1, "q", "1", stamp(base, 3000)))...)
	kafkatest.Produce(t, brokers, "clicks", 0, values(click("c9", 1, "p", stamp(base, 50)),
		click("x", 9, "z", stamp(base, 3000)))...)
	cfg := testConfig(t, brokers, dsn)
	drain(t, cfg)
	kafkatest.Produce(t, brokers, "clicks", 0, values(click("c1", 1, "p", stamp(base, 40)))...)
	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("too late", 1, "p", "1", stamp(base, 55)))...)
	drain(t, cfg)
	if n := countRows(t, conn, `checkout_id = 'k' AND click_id = 'c9'`); n != 1 {
		t.Errorf("a final row moved")
	}
	for kind, id := range map[string]string{"click": "c1", "checkout": "too late"} {
		if n := count(t, conn, `SELECT count(*) FROM firstclick.late WHERE kind = $1
			AND event_id = $2`, kind, id); n != 1 {
			t.Errorf("the late %s is not noted", kind)
		}
	}
	// A duplicate of a final row finds the late click, and must not give it to the row.
	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("k", 1, "p", "1", stamp(base, 60)))...)
	drain(t, cfg)
	if n := countRows(t, conn, `checkout_id = 'k' AND click_id = 'c9'`); n != 1 {
		t.Errorf("a duplicate moved a final row")
	}
	if n := countRows(t, conn, `checkout_id = 'too late'`); n != 1 {
		t.Errorf("the late checkout has no row")
	}
	if n := count(t, conn, `SELECT count(*) FROM firstclick.progress
		WHERE final_before > to_timestamp($1)`, base.Unix()+60); n != 1 {
		t.Errorf("final_before did not pass the row")
	}
}

func TestAGapStopsTheRun(t *testing.T) {
	base := time.Now().Add(-10 * time.Minute)
	start := func(t *testing.T) (pipeline.Config, *kadm.Client, []string) {
		brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
		dsn, _ := prepare(t, 10)
		kafkatest.Produce(t, brokers, "clicks", 0, values(click("c1", 1, "p", stamp(base, 1)),
			click("c2", 1, "q", stamp(base, 2)))...)
		kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("k1", 1, "p", "1", stamp(base, 3)))...)
		cfg := testConfig(t, brokers, dsn)
		drain(t, cfg)
		return cfg, admin(t, brokers), brokers
	}
	wantGap := func(t *testing.T, err error, topic string, says ...string) {
		t.Helper()
		var gap *pipeline.GapError
		if !errors.As(err, &gap) || gap.Topic != topic {
			t.Fatalf("ended with %v; want a gap in %s", err, topic)
		}
		for _, part := range says {
			if !strings.Contains(gap.Missing, part) {
				t.Errorf("%v: does not say %q", err, part)
			}
		}
	}
	t.Run("unread checkouts are gone", func(t *testing.T) {
		cfg, adm, brokers := start(t)
		kafkatest.Produce(t, brokers, "checkouts", 0,
			values(checkout("k2", 1, "p", "1", stamp(base, 4)), checkout("k3", 1, "p", "1", stamp(base, 5)))...)
		deleteBefore(t, adm, "checkouts", 0, 2)
		wantGap(t, runFails(t, cfg), "checkouts", "offsets 1 to 1 were never read")
	})
	t.Run("unread clicks are gone", func(t *testing.T) {
		cfg, adm, brokers := start(t)
		kafkatest.Produce(t, brokers, "clicks", 0, values(click("c3", 1, "p", stamp(base, 4)),
			click("c4", 1, "p", stamp(base, 5)))...)
		deleteBefore(t, adm, "clicks", 0, 3)
		wantGap(t, runFails(t, cfg), "clicks", "offsets 2 to 2 were never read")
	})
	t.Run("a click that a checkout needs is gone", func(t *testing.T) {
		cfg, adm, brokers := start(t)
		deleteBefore(t, adm, "clicks", 0, 1)
		kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("k2", 1, "p", "1", stamp(base, 4)))...)
		wantGap(t, runFails(t, cfg), "clicks")
	})
	t.Run("clicks that nobody needs are gone", func(t *testing.T) {
		cfg, adm, brokers := start(t)
		deleteBefore(t, adm, "clicks", 0, 2)
		kafkatest.Produce(t, brokers, "clicks", 0, values(click("c3", 1, "p", stamp(base, 4)))...)
		drain(t, cfg)
	})
	// A development system rests for a week: all was read before, and retention has emptied the
	// topics.
	t.Run("the logs were emptied while we were away", func(t *testing.T) {
		brokers := kafkatest.Fake(t, 2, "clicks", "checkouts")
		dsn, conn := prepare(t, 10)
		week := time.Now().Add(-7 * 24 * time.Hour)
		for p := range int32(2) {
			kafkatest.Produce(t, brokers, "clicks", p,
				values(click("c1", 1, "p", stamp(week, 1)), click("c2", 1, "q", stamp(week, 2)))...)
		}
		kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("k1", 1, "p", "1", stamp(week, 3)))...)
		cfg := testConfig(t, brokers, dsn)
		drain(t, cfg)
		adm := admin(t, brokers)
		for p := range int32(2) {
			deleteBefore(t, adm, "clicks", p, 2)
		}
		deleteBefore(t, adm, "checkouts", 0, 1)
		kafkatest.Produce(t, brokers, "clicks", 1, values(click("c3", 1, "p", stamp(base, 4)))...)
		kafkatest.Produce(t, brokers, "checkouts", 1, values(checkout("k2", 1, "p", "1", stamp(base, 5)))...)
		for range 2 { // and once more: the restore points of then are in the stored offsets still
			drain(t, cfg)
			if n := countRows(t, conn, `checkout_id = 'k2' AND click_id = 'c3'`); n != 1 {
				t.Errorf("the checkout after the holiday has no row with its click")
			}
		}
	})
	// The stored offsets are moved beyond the ends of the logs: that looks like logs that lost
	// their tails.
	t.Run("the log of clicks lost its tail", func(t *testing.T) {
		cfg, _, _ := start(t)
		exec(t, connect(t, cfg.Database), `UPDATE firstclick.offsets SET clicks_next = ARRAY[7]`)
		wantGap(t, runFails(t, cfg), "clicks")
	})
	t.Run("the log of checkouts lost its tail", func(t *testing.T) {
		cfg, _, _ := start(t)
		exec(t, connect(t, cfg.Database), `UPDATE firstclick.offsets SET next_offset = 7`)
		wantGap(t, runFails(t, cfg), "checkouts")
	})
	t.Run("the topic was made again", func(t *testing.T) {
		cfg, adm, brokers := start(t)
		if _, err := adm.DeleteTopics(t.Context(), "checkouts"); err != nil {
			t.Fatal(err)
		}
		if _, err := adm.CreateTopics(t.Context(), 1, 1, nil, "checkouts"); err != nil {
			t.Fatal(err)
		}
		kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("k2", 1, "p", "1", stamp(base, 4)))...)
		wantGap(t, runFails(t, cfg), "checkouts")
	})
}

func TestOtherSettingsThanTheStoredOnesAreRefused(t *testing.T) {
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	dsn, _ := prepare(t, 10)
	drain(t, testConfig(t, brokers, dsn))
	for name, change := range map[string]func(*pipeline.Config){
		"window":   func(c *pipeline.Config) { c.Window = 2 * time.Hour },
		"lateness": func(c *pipeline.Config) { c.Lateness = time.Minute },
		"zone":     func(c *pipeline.Config) { c.Zone = time.FixedZone("Europe/Berlin", 3600) },
	} {
		cfg := testConfig(t, brokers, dsn)
		change(&cfg)
		var refused *pipeline.ConfigError
		if err := runFails(t, cfg); !errors.As(err, &refused) {
			t.Errorf("%s: ended with %v; want a refusal", name, err)
		}
	}
}

// Retention deletes clicks that a restart reads again, between the request for the start of the log
// and the first fetch. Every checkout that could need them has its row: no gap.
func TestRetentionTakesClicksThatAreReadAgain(t *testing.T) {
	cluster := kafkatest.FakeCluster(t, kfake.SeedTopics(1, "clicks", "checkouts"))
	brokers := cluster.ListenAddrs()
	dsn, conn := prepare(t, 10)
	at := time.Now().Add(-2 * time.Hour)
	kafkatest.Produce(t, brokers, "clicks", 0, values(click("c1", 1, "p", stamp(at, 1)),
		click("c2", 1, "p", stamp(at, 2)))...)
	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("k1", 1, "p", "1", stamp(at, 3)))...)
	cfg := testConfig(t, brokers, dsn)
	drain(t, cfg)

	held := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "clicks", Err: kerr.NotLeaderForPartition,
		Count: -1})
	p := begin(t, cfg)
	eventually(t, "the shard", func() bool { return len(p.Stats().Shards) == 1 })
	if err := cluster.DeleteRecords("clicks", 0, 1); err != nil {
		t.Fatal(err)
	}
	held.Remove()
	soon := time.Now()
	kafkatest.Produce(t, brokers, "clicks", 0, values(click("c3", 1, "p", stamp(soon, 0)))...)
	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("k2", 1, "p", "1", stamp(soon, 1)))...)
	eventually(t, "the next row", func() bool {
		if err := p.failed(); err != nil {
			t.Fatalf("ended with %v", err)
		}
		return countRows(t, conn, `checkout_id = 'k2'`) == 1
	})
	p.end()
	if n := countRows(t, conn, `click_id = 'c1'`); n != 1 {
		t.Errorf("%d rows have the click that is gone", n)
	}
}
