package metrics

import (
	"errors"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"
)

// Kafka returns the hooks for pipeline.Config.KafkaHooks that register the Kafka clients' own metrics, prefix firstclick_kafka_, label client:
// clicks, clicks-2 or checkouts. A client that takes another's place, in a new session, begins at 0.
func Kafka(registry *prometheus.Registry) func(client string) []kgo.Hook {
	return func(client string) []kgo.Hook {
		if client != "checkouts" && !strings.HasPrefix(client, "clicks") {
			return nil // short-lived, and there may be several of the name
		}
		to := &replacing{prometheus.WrapRegistererWith(prometheus.Labels{"client": client}, registry)}
		return []kgo.Hook{kprom.NewMetrics("firstclick_kafka", kprom.Registerer(to),
			kprom.Histograms(kprom.RequestDurationE2E, kprom.RequestThrottled))}
	}
}

// replacing is a registry in which the newer of two equal collectors stays. It leaves out what a client that only reads never counts, and
// gauges whose names end as counters' do.
type replacing struct{ prometheus.Registerer }

func (r *replacing) Register(c prometheus.Collector) error {
	if left(c) {
		return nil
	}
	err := r.Registerer.Register(c)
	var twice prometheus.AlreadyRegisteredError
	if errors.As(err, &twice) {
		r.Unregister(twice.ExistingCollector)
		err = r.Registerer.Register(c)
	}
	return err
}

func (r *replacing) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := r.Register(c); err != nil {
			panic(err) // as the registry itself does: two metrics of one name that differ are a mistake in the program
		}
	}
}

func left(c prometheus.Collector) bool {
	descs := make(chan *prometheus.Desc, 16)
	go func() {
		defer close(descs)
		c.Describe(descs)
	}()
	out := false
	for d := range descs {
		name := d.String()
		out = out || strings.Contains(name, "_kafka_produce_") || strings.Contains(name, "_kafka_buffered_")
	}
	return out
}
