package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	maxStreams   = 64
	streamQueue  = 64               // events that wait for a slow reader at most; then its stream ends
	streamBuffer = 64 << 10         // bytes that the kernel holds for a slow reader at most
	eventWithin  = 10 * time.Second // until an event is written
	maxEvent     = 64 << 10         // bytes of an event
	eventsPath   = "/api/events"

	// How long a browser waits before it connects again, in milliseconds.
	retryAfter    = 1000
	retryIfOusted = 15_000
)

// stream is one browser that looks.
type stream struct {
	from   string // address of the client
	events chan []byte
	ousted bool // made room for another one; set before events is closed
}

// hub sends events to all streams. It holds the state of each kind of event that has one: a new
// stream gets the state, the others get what changed in it (see [patch]).
type hub struct {
	mu      sync.Mutex
	streams []*stream // the oldest first
	state   map[string]any
	kinds   []string // the keys of state, in the order in which they came
	closed  bool
	looking chan struct{} // closed while there are streams
}

func newHub() *hub { return &hub{state: map[string]any{}, looking: make(chan struct{})} }

var errClosed = errors.New("the page is not running")

// join begins a stream with the events of first and with all state. The hub closes its channel to
// end it. If there are too many streams, another one makes room: readers that are stuck must not
// keep out the next.
func (h *hub) join(from string, first ...[]byte) (*stream, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errClosed
	}
	if len(h.streams) >= maxStreams {
		leaving := crowding(h.streams, func(s *stream) string { return s.from },
			func(a, b *stream) bool { return len(a.events) > len(b.events) })
		leaving.ousted = true
		h.drop(leaving)
	}
	s := &stream{from: from, events: make(chan []byte, len(first)+len(h.kinds)+streamQueue)}
	for _, event := range first {
		s.events <- event
	}
	for _, kind := range h.kinds {
		s.events <- encodeEvent(kind, h.state[kind])
	}
	h.streams = append(h.streams, s)
	if len(h.streams) == 1 {
		close(h.looking)
	}
	return s, nil
}

func (h *hub) leave(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(s)
}

// drop ends a stream if it has not ended before. The caller holds mu.
func (h *hub) drop(s *stream) {
	i := slices.Index(h.streams, s)
	if i < 0 {
		return
	}
	h.streams = slices.Concat(h.streams[:i], h.streams[i+1:]) // a loop over the old slice may be under way
	close(s.events)
	if len(h.streams) == 0 && !h.closed {
		h.looking = make(chan struct{})
	}
}

func (h *hub) watched() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.streams) > 0
}

// watch returns a channel that is closed once somebody looks.
func (h *hub) watch() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.looking
}

// send sends an event that has no state to the streams that there are.
func (h *hub) send(kind string, value any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sendLocked(kind, value)
}

func (h *hub) sendLocked(kind string, value any) {
	if len(h.streams) == 0 {
		return
	}
	event := encodeEvent(kind, value)
	for _, s := range h.streams {
		select {
		case s.events <- event:
		default:
			h.drop(s)
		}
	}
}

// publish replaces the state of a kind and sends what changed. A value that JSON cannot hold
// changes nothing.
func (h *hub) publish(kind string, value any) {
	next, err := plain(value)
	if err != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	last, known := h.state[kind]
	if !known {
		h.kinds = append(h.kinds, kind)
	}
	h.state[kind] = next
	if change, changed := patch(last, next); changed {
		h.sendLocked(kind, change)
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, s := range h.streams {
		h.drop(s)
	}
}

// encodeEvent returns an event of https://html.spec.whatwg.org/multipage/server-sent-events.html.
// JSON has no line break. An event that is too large is sent empty: the page keeps what it had.
func encodeEvent(kind string, value any) []byte {
	data, err := json.Marshal(value)
	event := fmt.Appendf(nil, "event: %s\ndata: %s\n\n", kind, data)
	if err != nil || len(event) > maxEvent {
		return fmt.Appendf(nil, "event: %s\ndata: {}\n\n", kind)
	}
	return event
}

func (p *Page) serveEvents(w http.ResponseWriter, r *http.Request) {
	if !p.hub.watched() {
		p.publishNow() // the state is from when somebody looked last
	}
	from := r.RemoteAddr
	if c := connOf(r); c != nil {
		from = c.from
		if tcp, ok := c.Conn.(interface{ SetWriteBuffer(int) error }); ok {
			_ = tcp.SetWriteBuffer(streamBuffer) // the default grows to megabytes: minutes of events
		}
	}
	first := [][]byte{encodeEvent("hello", p.hello())}
	for part := range slices.Chunk(p.feed.recent(historyLength), samplesAtOnce) {
		first = append(first, encodeEvent("history", history(part)))
	}
	s, err := p.hub.join(from, first...)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer p.hub.leave(s)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // proxies such as nginx would collect events
	control := http.NewResponseController(w)
	send := func(event []byte) bool {
		// A reader that has gone or does not read must not hold us.
		_ = control.SetWriteDeadline(time.Now().Add(eventWithin)) // a recorder in tests has none
		_, err := w.Write(event)
		return err == nil && control.Flush() == nil
	}
	if !send(fmt.Appendf(nil, "retry: %d\n\n", retryAfter)) {
		return
	}
	for {
		select {
		case event, more := <-s.events:
			if !more && s.ousted {
				send(fmt.Appendf(nil, "retry: %d\n\n", retryIfOusted))
			}
			if !more || !send(event) {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}
