package ports_test

import (
	"net"
	"slices"
	"testing"

	"firstclick/internal/ports"
)

func TestFree(t *testing.T) {
	found, err := ports.Free(200)
	if err != nil || len(found) != 200 {
		t.Fatal(found, err)
	}
	slices.Sort(found)
	if len(slices.Compact(found)) != 200 {
		t.Errorf("one port twice: %v", found)
	}
}

// The system gives no port of this range to a listener that names none.
func TestTheSystemGivesOtherPorts(t *testing.T) {
	found, err := ports.Free(1)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		if port := listener.Addr().(*net.TCPAddr).Port; port <= 32_767 || port == found[0] {
			t.Errorf("the system gives port %d to a listener that names none", port)
		}
	}
}
