//go:build realkafka

package datagen

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkaconn"
	"firstclick/internal/kafkatest"
)

// A real broker takes what the fake one takes: topics of ours, old and future timestamps, large records, transactions.
func TestRealBroker(t *testing.T) {
	brokers := []string{kafkatest.Real(t)}
	for name, cfg := range map[string]Config{
		"backlog": {
			Count: 100_000, Start: testStart.Add(-90 * 24 * time.Hour), TooLarge: 0.0001, Poison: 0.01, Late: 0.01, Future: 0.01, Duplicate: 0.01,
			Conflict: 0.01,
		},
		"real-time":    {Count: 10_000, Rate: 10_000},
		"transactions": {Count: 80_000, Seed: 44, Transactional: "generator", Aborted: 0.4},
	} {
		cfg.Kafka = kafkaconn.Config{Brokers: brokers}
		cfg.ClicksTopic, cfg.CheckoutsTopic = "clicks-"+name, "checkouts-"+name
		sum, err := Run(t.Context(), cfg)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := readTopics(t, brokers, sum.Records, []string{cfg.ClicksTopic, cfg.CheckoutsTopic}, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
		total := int64(0)
		for _, records := range got {
			total += int64(len(records))
		}
		if total != sum.Records || sum.Records == 0 {
			t.Errorf("%s: %d records read, the summary says %d", name, total, sum.Records)
		}
		t.Logf("%s: %.0f events/s", name, float64(sum.Clicks+sum.Checkouts)/sum.Elapsed.Seconds())
	}
}
