//go:build realkafka

package main

import (
	"math/rand/v2"
	"strconv"
	"testing"
)

// A new seed each time, and those that once made a run red.
func TestChaos(t *testing.T) {
	runs := []struct{ name, seed, duration, instances string }{
		{"new", strconv.FormatUint(rand.Uint64N(1_000_000), 10), "50s", "0"},
		{"an instance that started while connections to Kafka ended at once ended too", "100", "40s", "3"},
	}
	for _, r := range runs {
		t.Run(r.name, func(t *testing.T) {
			wrong, err := run(t.Context(), []string{"-seed", r.seed, "-duration", r.duration, "-instances", r.instances}, t.Output())
			if err != nil {
				t.Fatal(err)
			}
			if wrong {
				t.Errorf("seed %s: not as it should be", r.seed)
			}
		})
	}
}
