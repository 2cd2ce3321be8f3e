package audit

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/internal/kafkatest"
)

// A role that may not ask whether a topic is compacted learns that what compaction took is called
// wrong, from verify and from compare.
func TestWhetherATopicIsCompactedIsNotKnown(t *testing.T) {
	for name, allowed := range map[string]bool{"it may not ask": false, "it may ask": true} {
		t.Run(name, func(t *testing.T) {
			cluster := kafkatest.FakeCluster(t, kfake.SeedTopics(2, "clicks", "checkouts"))
			w := newWorld(t)
			w.brokers, w.cfg.Kafka.Brokers = cluster.ListenAddrs(), cluster.ListenAddrs()
			w.produce("clicks", 0, clickOf("a", 1, "p", -50))
			w.produce("checkouts", 0, checkoutOf("k1", 1, "p", 0))
			w.row("k1", "", "p", 0, "a", -50)
			w.begun([2]int64{1, 0}, [2]int64{1, 0})
			if !allowed {
				cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.TopicAuthorizationFailed,
					Count: -1})
			}
			r, err := Verify(t.Context(), w.cfg)
			if err != nil {
				t.Fatal(err)
			}
			for _, topic := range []string{"clicks", "checkouts"} {
				said := slices.ContainsFunc(r.Notes, func(note string) bool {
					return strings.HasPrefix(note, topic+": whether it is compacted is not known") &&
						strings.Contains(note, "Grant DescribeConfigs")
				})
				if said == allowed {
					t.Errorf("%s: %q", topic, r.Notes)
				}
			}
		})
	}
}
