package pipeline

import (
	"errors"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"
)

// kafkaMetrics returns the hooks by which a Kafka client registers its own metrics, with the prefix
// firstclick_kafka_ and the label client. Only the clients clicks, clicks-2 and checkouts have any.
// A client that replaces another one of its name, in a new session, begins at 0.
func kafkaMetrics(registry prometheus.Registerer, client string) []kgo.Hook {
	if client != "checkouts" && !strings.HasPrefix(client, "clicks") {
		return nil // it lives for a moment, and there may be several of its name
	}
	to := &replacing{prometheus.WrapRegistererWith(prometheus.Labels{"client": client}, registry)}
	return []kgo.Hook{kprom.NewMetrics("firstclick_kafka", kprom.Registerer(to),
		kprom.Histograms(kprom.RequestDurationE2E, kprom.RequestThrottled))}
}

// replacing is a registry in which a collector replaces an equal one. It leaves out what a client
// that only reads never counts, and gauges whose names end like those of counters.
type replacing struct{ prometheus.Registerer }

func (r *replacing) Register(c prometheus.Collector) error {
	if leftOut(c) {
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

func leftOut(c prometheus.Collector) (out bool) {
	descs := make(chan *prometheus.Desc, 16)
	go func() {
		defer close(descs)
		c.Describe(descs)
	}()
	for d := range descs {
		name := d.String()
		out = out || strings.Contains(name, "_kafka_produce_") || strings.Contains(name, "_kafka_buffered_")
	}
	return out
}
