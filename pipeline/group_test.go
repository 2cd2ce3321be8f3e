package pipeline_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkatest"
	"firstclick/pipeline"
)

// groupSays is the error of the check of the group; empty: none.
func groupSays(t *testing.T, p *working) string {
	t.Helper()
	all := p.Health()
	i := slices.IndexFunc(all, func(c pipeline.Check) bool { return c.Name == "group" })
	if i < 0 {
		t.Fatal("no check of the group")
	}
	if all[i].Err == nil {
		return ""
	}
	return all[i].Err.Error()
}

func ready(p *working) bool {
	return !slices.ContainsFunc(p.Health(), func(c pipeline.Check) bool { return c.Err != nil && !c.Advisory })
}

// stranger is a member of the group that is not firstclick.
func stranger(t *testing.T, brokers []string, group string, balancer kgo.GroupBalancer) *kgo.Client {
	t.Helper()
	assigned := make(chan struct{}, 1)
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ClientID("reports"), kgo.ConsumerGroup(group),
		kgo.ConsumeTopics("checkouts"), kgo.Balancers(balancer),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) {
			select {
			case assigned <- struct{}{}:
			default:
			}
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	select {
	case <-assigned:
	case <-time.After(time.Minute):
		t.Fatal("the stranger did not get into the group")
	}
	return cl
}

func TestOneGroupTwoDatabases(t *testing.T) {
	brokers := kafkatest.Fake(t, 4, "clicks", "checkouts")
	ours, _ := prepare(t, 1)
	theirs, _ := prepare(t, 1)
	first := begin(t, testConfig(t, brokers, ours))
	second := begin(t, testConfig(t, brokers, ours))
	eventually(t, "two instances of one database are ready",
		func() bool { return ready(first) && ready(second) && len(first.Stats().Shards) == 2 })
	third := begin(t, testConfig(t, brokers, theirs))
	for _, p := range []*working{first, second, third} {
		eventually(t, "each side sees the other", func() bool {
			return strings.Contains(groupSays(t, p),
				"writes to another database, ")
		})
		if ready(p) {
			t.Error("ready although checkouts go to two databases")
		}
	}
	if says := groupSays(t, third); strings.Count(says, "writes to another database") != 2 ||
		!strings.Contains(says, "checkouts[") {
		t.Errorf("the third says %q", says)
	}
}

func TestAnotherApplicationInTheGroup(t *testing.T) {
	brokers := kafkatest.Fake(t, 4, "clicks", "checkouts")
	dsn, _ := prepare(t, 1)
	cfg := testConfig(t, brokers, dsn)
	cfg.Group = "shop"
	p := begin(t, cfg)
	eventually(t, "it is ready", func() bool { return ready(p) })
	cl := stranger(t, brokers, cfg.Group, kgo.CooperativeStickyBalancer())
	eventually(t, "the stranger is seen", func() bool {
		says := groupSays(t, p)
		return strings.Contains(says, "reports at ") && strings.Contains(says, "is no firstclick") && !ready(p)
	})
	cl.Close()
	eventually(t, "it is ready again", func() bool { return ready(p) })
}

func TestAnotherProtocolInTheGroup(t *testing.T) {
	brokers := kafkatest.Fake(t, 4, "clicks", "checkouts")
	dsn, _ := prepare(t, 1)
	cfg := testConfig(t, brokers, dsn)
	cfg.Group = "shop"
	cl := stranger(t, brokers, cfg.Group, kgo.RangeBalancer())
	p := begin(t, cfg)
	eventually(t, "it says why it gets no shards", func() bool {
		says := groupSays(t, p)
		return strings.Contains(says, "balance in another way") && strings.Contains(says, "reports at ") && !ready(p)
	})
	cl.Close()
	eventually(t, "it is ready", func() bool { return ready(p) })
}

// The brokers refuse a session timeout as short as ours. Some say what they allow, some do not.
func TestBrokersBoundTheSessionTimeout(t *testing.T) {
	cluster := kafkatest.FakeCluster(t, kfake.SeedTopics(1, "clicks", "checkouts"),
		kfake.GroupMinSessionTimeout(30*time.Second))
	dsn, _ := prepare(t, 1)
	drain(t, testConfig(t, cluster.ListenAddrs(), dsn))
}
