package pipeline_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/internal/kafkatest"
	"firstclick/pipeline"
)

// fails waits until a pipeline ends with an error.
func (w *working) fails() error {
	w.t.Helper()
	w.over = true
	select {
	case err := <-w.ended:
		if err == nil {
			w.t.Fatal("the run ended well")
		}
		return err
	case <-time.After(patience):
		w.stop()
		<-w.ended
		w.t.Fatal("the run goes on")
		return nil
	}
}

// failed is the error with which a pipeline has ended, if it has.
func (w *working) failed() error {
	select {
	case err := <-w.ended:
		w.ended <- err
		return err
	default:
		return nil
	}
}

// Leaders and coordinators of three brokers move all the time. Rows come, each with its click, and
// the run goes on.
func TestLeadersAndCoordinatorsMove(t *testing.T) {
	cluster := kafkatest.FakeCluster(t, kfake.NumBrokers(3), kfake.SeedTopics(3, "clicks", "checkouts"))
	brokers := cluster.ListenAddrs()
	dsn, conn := prepare(t, 10)
	p := begin(t, testConfig(t, brokers, dsn))
	at := time.Now().Add(-time.Minute)
	const rounds, each = 12, 6
	for round := range rounds {
		cluster.ShufflePartitionLeaders()
		if round%2 == 0 {
			cluster.RehashCoordinators()
		}
		for i := range each {
			n := fmt.Sprintf("%d-%d", round, i)
			kafkatest.Produce(t, brokers, "clicks", int32(i%3),
				values(click("c"+n, 1, "p"+n, stamp(at, float64(round))))...)
			kafkatest.Produce(t, brokers, "checkouts", int32(round%3),
				values(checkout("k"+n, 1, "p"+n, "1", stamp(at, float64(round+1))))...)
		}
		eventually(t, "the rows of a round", func() bool {
			return countRows(t, conn, `true`) == int64((round+1)*each)
		})
	}
	p.end()
	if n := countRows(t, conn, `click_id = 'c' || substr(checkout_id, 2)`); n != rounds*each {
		t.Errorf("%d of %d rows have their click", n, rounds*each)
	}
	if st := p.Stats(); st.Result.Corrected != 0 {
		t.Errorf("%d rows were written without a click that had been acknowledged", st.Result.Corrected)
	}
}

// A change of a topic during a run ends it, with what is missing and what to run, or is waited for.
func TestTopicsChangeUnderARun(t *testing.T) {
	at := time.Now().Add(-time.Minute)
	start := func(t *testing.T) (*working, *kfake.Cluster) {
		cluster := kafkatest.FakeCluster(t, kfake.SeedTopics(1, "clicks", "checkouts"))
		brokers := cluster.ListenAddrs()
		dsn, conn := prepare(t, 10)
		p := begin(t, testConfig(t, brokers, dsn))
		kafkatest.Produce(t, brokers, "clicks", 0, values(click("c1", 1, "p", stamp(at, 1)))...)
		kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("k1", 1, "p", "1", stamp(at, 2)))...)
		eventually(t, "the first row", func() bool { return countRows(t, conn, `true`) == 1 })
		eventually(t, "the positions are stored", p.caughtUp)
		return p, cluster
	}
	wantGap := func(t *testing.T, err error, topic, says string) {
		t.Helper()
		var gap *pipeline.GapError
		if !errors.As(err, &gap) || gap.Topic != topic || !strings.Contains(err.Error(), says) ||
			!strings.Contains(err.Error(), "--group") {
			t.Errorf("ended with %v; want a gap in %s that says %q and what to run", err, topic, says)
		}
	}
	for _, topic := range []string{"clicks", "checkouts"} {
		t.Run(topic+" is made again", func(t *testing.T) {
			p, cluster := start(t)
			if err := cluster.DeleteTopic(topic); err != nil {
				t.Fatal(err)
			}
			if err := cluster.CreateTopic(topic, 1, nil); err != nil {
				t.Fatal(err)
			}
			wantGap(t, p.fails(), topic, "made again")
		})
		t.Run("retention passes unread "+topic, func(t *testing.T) {
			p, cluster := start(t)
			held := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: topic,
				Err: kerr.NotLeaderForPartition, Count: -1})
			if topic == "clicks" {
				kafkatest.Produce(t, cluster.ListenAddrs(), topic, 0,
					values(click("c2", 1, "p", stamp(at, 1)), click("c3", 1, "p", stamp(at, 1)))...)
			} else {
				kafkatest.Produce(t, cluster.ListenAddrs(), topic, 0,
					values(checkout("k2", 1, "p", "1", stamp(at, 2)), checkout("k3", 1, "p", "1", stamp(at, 2)))...)
			}
			if err := cluster.DeleteRecords(topic, 0, 2); err != nil {
				t.Fatal(err)
			}
			held.Remove()
			wantGap(t, p.fails(), topic, "offsets 1 to 1 were never read and are gone")
		})
		t.Run(topic+" may not be read any more", func(t *testing.T) {
			p, cluster := start(t)
			cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: topic, Err: kerr.TopicAuthorizationFailed,
				Count: -1})
			if err := p.fails(); !errors.Is(err, kerr.TopicAuthorizationFailed) ||
				!strings.Contains(err.Error(), "grant Read") || !strings.Contains(err.Error(), topic) {
				t.Errorf("ended with %v", err)
			}
		})
	}
	t.Run("the group may not be used any more", func(t *testing.T) {
		p, cluster := start(t)
		cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat, kmsg.JoinGroup, kmsg.SyncGroup,
			kmsg.ConsumerGroupHeartbeat}, Err: kerr.GroupAuthorizationFailed, Count: -1})
		if err := p.fails(); !errors.Is(err, kerr.GroupAuthorizationFailed) ||
			!strings.Contains(err.Error(), "grant Read") {
			t.Errorf("ended with %v", err)
		}
	})
	t.Run("a topic may not be described any more", func(t *testing.T) {
		p, cluster := start(t)
		cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata, kmsg.ListOffsets}, Topic: "clicks",
			Err: kerr.TopicAuthorizationFailed, Count: -1})
		if err := p.fails(); !errors.Is(err, kerr.TopicAuthorizationFailed) ||
			!strings.Contains(err.Error(), "Describe") {
			t.Errorf("ended with %v", err)
		}
	})
}

// A topic that is gone is waited for, and logged once: the broker that answers may not know it yet.
func TestATopicThatIsGoneIsSaidOnce(t *testing.T) {
	cluster := kafkatest.FakeCluster(t, kfake.SeedTopics(1, "clicks", "checkouts"))
	dsn, conn := prepare(t, 10)
	log := &heard{}
	cfg := testConfig(t, cluster.ListenAddrs(), dsn)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	p := begin(t, cfg)
	eventually(t, "the shard", func() bool { return count(t, conn, `SELECT count(*) FROM firstclick.offsets`) == 1 })
	gone := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "clicks",
		Err: kerr.UnknownTopicOrPartition, Count: -1})
	eventually(t, "a line", func() bool { return log.has("topic clicks is gone") })
	gone.Remove()
	eventually(t, "the end of it", func() bool { return log.has("Kafka answers again") })
	p.end()
	if n := strings.Count(log.text.String(), "topic clicks is gone"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

// A broker answers that does not know a partition yet that was added to the topic. The partition is
// waited for, and the topic does not count as made again.
func TestABrokerThatHasNotHeardOfAPartition(t *testing.T) {
	cluster := kafkatest.FakeCluster(t, kfake.SeedTopics(1, "checkouts"), kfake.SeedTopics(2, "clicks"))
	brokers := cluster.ListenAddrs()
	dsn, conn := prepare(t, 10)
	ask := kmsg.NewPtrMetadataRequest()
	for _, topic := range []string{"clicks", "checkouts"} {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = kmsg.StringPtr(topic)
		ask.Topics = append(ask.Topics, rt)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	before, err := ask.RequestWith(t.Context(), cl)
	if err != nil {
		t.Fatal(err)
	}
	for i := range before.Topics {
		before.Topics[i].Partitions = before.Topics[i].Partitions[:1]
	}
	p := begin(t, testConfig(t, brokers, dsn))
	eventually(t, "the shard", func() bool { return len(p.Stats().Shards) == 1 })

	var answered atomic.Int64
	var heard atomic.Bool
	cluster.ControlKey(kmsg.Metadata.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		// the clients request one topic each
		if heard.Load() || len(req.(*kmsg.MetadataRequest).Topics) != len(ask.Topics) {
			return nil, nil, false
		}
		answer := *before
		answer.SetVersion(req.GetVersion())
		answered.Add(1)
		return &answer, nil, true
	})
	held := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "clicks", Partitions: []int32{1},
		Err: kerr.NotLeaderForPartition, Count: -1})
	at := time.Now().Add(-time.Minute)
	kafkatest.Produce(t, brokers, "clicks", 1, values(click("c", 1, "p", stamp(at, 1)))...)
	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("k", 1, "p", "1", stamp(at, 2)))...)
	eventually(t, "a few answers", func() bool { return answered.Load() > 5 || p.failed() != nil })
	held.Remove()
	heard.Store(true)
	eventually(t, "the row", func() bool {
		if err := p.failed(); err != nil {
			t.Fatalf("ended with %v", err)
		}
		return countRows(t, conn, `true`) == 1
	})
	p.end()
	if n := countRows(t, conn, `click_id = 'c'`); n != 1 || p.Stats().Result.Corrected != 0 {
		t.Errorf("%d rows have the click, %d were corrected: released before the click was read", n,
			p.Stats().Result.Corrected)
	}
}
