package docker_test

import (
	"regexp"
	"strconv"
	"testing"
	"time"
)

// Whoever runs an instance waits longer than a stop in good order takes: ingest.stopTime for
// transactions and the group, and 5 s for what is closed after.
func TestSupervisorsWaitForAStop(t *testing.T) {
	seconds := func(file, pattern string) time.Duration {
		t.Helper()
		m := regexp.MustCompile(pattern).FindStringSubmatch(read(t, file))
		if m == nil {
			t.Fatalf("%s has no %s", file, pattern)
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		return time.Duration(n) * time.Second
	}
	least := seconds("pipeline/ingest/checkouts.go", `(?m)^const stopTime = (\d+) \* time\.Second$`) + 5*time.Second
	waits := map[string]time.Duration{
		"Kubernetes": seconds("deploy/kubernetes/firstclick.yml", `terminationGracePeriodSeconds: (\d+)\n`),
		"systemd":    seconds("deploy/systemd/firstclick.service", `(?m)^TimeoutStopSec=(\d+)s$`),
	}
	for name, service := range ours(everything(t)) {
		if service.StopGracePeriod == nil {
			t.Errorf("compose kills %s after 10 s, its default", name)
			continue
		}
		waits["compose, "+name] = time.Duration(*service.StopGracePeriod)
	}
	for who, wait := range waits {
		if wait < least {
			t.Errorf("%s waits %v, a stop may take %v", who, wait, least)
		}
	}
}
