package web

import (
	"errors"
	"testing"
)

// A stream that is not read ends, and delays no other.
func TestSlowReader(t *testing.T) {
	h := newHub()
	slow, err := h.join("a", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 * streamQueue {
		h.send("now", i)
	}
	n := 0
	for range slow.events { // ends: it was closed
		n++
	}
	if n != 1+streamQueue || h.watched() {
		t.Errorf("%d events, watched %v", n, h.watched())
	}
}

// A newcomer past the bound is let in. It replaces the slowest reader of the client with the most
// streams.
func TestCrowd(t *testing.T) {
	h := newHub()
	join := func(from string) *stream {
		t.Helper()
		s, err := h.join(from)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	neighbour := join("neighbour")
	var crowd []*stream
	for range maxStreams - 1 {
		crowd = append(crowd, join("crowd"))
	}
	h.send("action", 1)
	for i, s := range append(crowd, neighbour) {
		if i != 7 { // all but this one read
			<-s.events
		}
	}
	newcomer := join("another")
	if _, more := <-crowd[7].events; !more || !crowd[7].ousted {
		t.Error("the one that does not read was not let go after what it was sent")
	}
	join("crowd")
	if !crowd[0].ousted || neighbour.ousted || newcomer.ousted || len(h.streams) != maxStreams {
		t.Errorf(
			"the oldest of the crowd %v, others %v and %v; %d streams",
			crowd[0].ousted,
			neighbour.ousted,
			newcomer.ousted,
			len(h.streams),
		)
	}
	h.close()
	if _, err := h.join("late"); !errors.Is(err, errClosed) {
		t.Errorf("joined what is closed: %v", err)
	}
}
