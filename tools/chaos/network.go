package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// link is the network between the instances and one server.
type link struct {
	*toxiproxy.Proxy
}

func newLink(name, listen, upstream string) (*link, error) {
	zerolog.SetGlobalLevel(zerolog.Disabled) // the toxics log where nobody can tell them not to
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l := &link{toxiproxy.NewProxy(server, name, listen, upstream)}
	if err := l.Start(); err != nil {
		return nil, fmt.Errorf("start the proxy before %s: %w", name, err)
	}
	return l, nil
}

// poison lets the network do something to what goes through it, in both directions. share is how
// much of the connections it concerns: clicks and checkouts come by connections of their own, and
// so does what is asked of Kafka.
func (l *link) poison(kind string, share float64, attributes map[string]int) error {
	for _, stream := range []string{"upstream", "downstream"} {
		text, err := json.Marshal(map[string]any{"type": kind, "stream": stream, "toxicity": share,
			"attributes": attributes})
		if err != nil {
			return err
		}
		if _, err := l.Toxics.AddToxicJson(strings.NewReader(string(text))); err != nil {
			return fmt.Errorf("make the network to %s %s: %w", l.Name, kind, err)
		}
	}
	return nil
}

// mend makes the network what it should be.
func (l *link) mend() error {
	l.Toxics.ResetToxics(context.Background())
	if l.Enabled {
		return nil
	}
	return l.Start()
}

// networkFaults are the faults of one link.
func networkFaults(name string, of func(*world) *link) []fault {
	heal := func(l *lane) error { return of(l.world).mend() }
	toxic := func(kind string, share float64, attributes func(*rand.Rand) map[string]int) func(*lane) error {
		return func(l *lane) error { return of(l.world).poison(kind, share, attributes(l.random)) }
	}
	slow := func(r *rand.Rand) map[string]int {
		return map[string]int{"latency": 50 + r.IntN(600), "jitter": r.IntN(50)}
	}
	one := func(name string, least, spread int) func(*rand.Rand) map[string]int {
		return func(r *rand.Rand) map[string]int { return map[string]int{name: least + r.IntN(spread)} }
	}
	return []fault{
		{name: name + " cut", weight: 3, least: 500 * ms, most: 12 * second,
			do: func(l *lane) error { of(l.world).Stop(); return nil }, heal: heal},
		{name: name + " blip", weight: 3, do: func(l *lane) error { of(l.world).Stop(); return nil }, heal: heal},
		{name: name + " black hole", weight: 2, least: 2 * second, most: 8 * second,
			do:   toxic("timeout", 1, func(*rand.Rand) map[string]int { return map[string]int{"timeout": 0} }),
			heal: heal},
		{name: name + " latency", weight: 2, least: 4 * second, most: 10 * second, do: toxic("latency", 1, slow),
			heal: heal},
		{name: name + " latency of some connections", weight: 3, least: 4 * second, most: 10 * second,
			do: toxic("latency", 0.5, slow), heal: heal},
		{name: name + " resets", weight: 3, least: 500 * ms, most: 3 * second,
			do: toxic("reset_peer", 1, one("timeout", 0, 200)), heal: heal},
		{name: name + " slow close", weight: 1, least: 2 * second, most: 6 * second,
			do: toxic("slow_close", 1, one("delay", 500, 3000)), heal: heal},
		// KB/s
		{name: name + " narrow", weight: 1, least: 3 * second, most: 8 * second,
			do: toxic("bandwidth", 1, one("rate", 20, 100)), heal: heal},
	}
}
