//go:build realkafka

package main

import (
	"math/rand/v2"
	"strconv"
	"testing"
)

// What CI breaks, in about six minutes; three of them are breaking. A new seed each time, and those
// that once made a run red.
func TestChaos(t *testing.T) {
	for _, c := range []struct {
		name, seed, duration, instances string
	}{
		{"new", strconv.FormatUint(rand.Uint64N(1_000_000), 10), "70s", "0"},
		{"an instance that started while connections to Kafka ended at once ended too", "100", "30s", "3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			expect(t, "-seed", c.seed, "-duration", c.duration, "-instances",
				c.instances)
		})
	}
}

// Records that nobody needs any more go, and nobody says a gap; records that somebody needs go, and
// it is said.
func TestChaosRetention(t *testing.T) { expect(t, "-trial", "retention") }

// The suite itself is tested: it notices each rule that is left out. A run ends when it has; its
// duration is the most that it may take: several times what it mostly takes, for at which moment a
// fault finds the instances is the machine's. What only verify sees takes the whole duration. The
// seed is one with faults that show it.
func TestChaosNotices(t *testing.T) {
	for name, duration := range map[string]string{"no-owner-check": "4m", "no-release-rule": "3m",
		"no-reassert": "1m"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each waits most of the time, and being slow harms none
			expect(t, "-without", name, "-seed", "1", "-duration", duration)
		})
	}
	if len(switches()) != 3 {
		t.Error("there are switches that nothing here turns")
	}
}

// expect runs the suite as the command does, which has to end well.
func expect(t *testing.T, args ...string) {
	t.Helper()
	wrong, err := run(t.Context(), args, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if wrong {
		t.Errorf("%q: not as it should be", args)
	}
}
