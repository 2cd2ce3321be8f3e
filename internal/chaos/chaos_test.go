//go:build realkafka

package main

import (
	"math/rand/v2"
	"strconv"
	"testing"
)

// seeds that once made a run red, and a new one each time.
func TestChaos(t *testing.T) {
	runs := []struct{ name, seed, duration string }{
		{"new", strconv.FormatUint(rand.Uint64N(1_000_000), 10), "60s"},
	}
	for _, r := range runs {
		t.Run(r.name, func(t *testing.T) {
			wrong, err := run(t.Context(), []string{"-seed", r.seed, "-duration", r.duration}, t.Output())
			if err != nil {
				t.Fatal(err)
			}
			if wrong {
				t.Errorf("seed %s: not as it should be", r.seed)
			}
		})
	}
}
