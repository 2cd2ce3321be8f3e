package ingest

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A new attempt's client takes the place of the old one, whichever is closed first.
func TestClientsFollowEachOther(t *testing.T) {
	r := prometheus.NewRegistry()
	for range 3 {
		client, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:1"), kgo.WithHooks(kafkaMetrics(r, "clicks")...))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
	}
	if kafkaMetrics(r, "restore") != nil {
		t.Error("a client that may be there several times has metrics")
	}
	if _, err := r.Gather(); err != nil {
		t.Error(err)
	}
}
