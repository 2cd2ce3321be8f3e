package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	maxStreams   = 64
	streamQueue  = 64               // events that a slow reader may be behind, before it is cut off and begins anew
	streamBuffer = 64 << 10         // bytes of a stream that the kernel is asked to take at most before it is read
	takeWithin   = 10 * time.Second // an event may wait so long for its reader
	retryAfter   = 1000             // milliseconds until a browser connects again
	retryCrowded = 15 * time.Second // until one does that made room for another
	maxEvent     = 64 << 10         // bytes of an event with all that stands around its data
	eventsPath   = "/api/events"
)

// stream is one who looks.
type stream struct {
	from   string // address of the other side
	events chan []byte
	ousted bool // made room for another one; set before events is closed
}

// hub tells all who look. Of what stays, by its kind, only what changed is told (see patch); those who come later get the whole first.
type hub struct {
	mu      sync.Mutex
	streams []*stream // the oldest first
	whole   map[string]any
	order   []string // of whole
	closed  bool
	woken   chan struct{} // closed when somebody comes
}

func newHub() *hub { return &hub{whole: map[string]any{}, woken: make(chan struct{})} }

var errClosed = errors.New("the page is not running")

// join begins a stream with the events of first and the whole of what stays. Its channel is closed when the stream is to end. Where there are as
// many as may be, one makes room: 64 that do not read must not lock out the next.
func (h *hub) join(from string, first ...[]byte) (*stream, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errClosed
	}
	if len(h.streams) >= maxStreams {
		oust := h.crowding()
		oust.ousted = true
		h.drop(oust)
	}
	s := &stream{from: from, events: make(chan []byte, len(first)+len(h.order)+streamQueue)}
	for _, event := range first {
		s.events <- event
	}
	for _, kind := range h.order {
		s.events <- encodeEvent(kind, h.whole[kind])
	}
	h.streams = append(h.streams, s)
	if len(h.streams) == 1 {
		close(h.woken)
	}
	return s, nil
}

// crowding is the stream that makes room: of the address that has most of them, the one that is furthest behind, or else the oldest.
func (h *hub) crowding() *stream {
	count := map[string]int{}
	for _, s := range h.streams {
		count[s.from]++
	}
	var most *stream
	for _, s := range h.streams {
		if most == nil || count[s.from] > count[most.from] || count[s.from] == count[most.from] && len(s.events) > len(most.events) {
			most = s
		}
	}
	return most
}

func (h *hub) leave(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(s)
}

// drop ends a stream, if it has not ended before; h.mu is held.
func (h *hub) drop(s *stream) {
	for i := range h.streams {
		if h.streams[i] != s {
			continue
		}
		h.streams = append(h.streams[:i:i], h.streams[i+1:]...)
		close(s.events)
		if len(h.streams) == 0 && !h.closed {
			h.woken = make(chan struct{})
		}
		return
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
	return h.woken
}

// tell says something that happened to those who look now.
func (h *hub) tell(kind string, value any) {
	if !h.watched() {
		return
	}
	event := encodeEvent(kind, value)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.send(event)
}

// keep says how something stands: those who look are told what of it has changed, those who come later all of it.
func (h *hub) keep(kind string, value any) {
	whole, err := plain(value)
	if err != nil {
		return // a number that is none: the page keeps what it had
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	was, known := h.whole[kind]
	if !known {
		h.order = append(h.order, kind)
	}
	h.whole[kind] = whole
	if change, changed := patch(was, whole); changed && len(h.streams) > 0 {
		h.send(encodeEvent(kind, change))
	}
}

// send gives an event to all; h.mu is held.
func (h *hub) send(event []byte) {
	for _, s := range h.streams {
		select {
		case s.events <- event:
		default:
			h.drop(s)
		}
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

// encodeEvent is an event as https://html.spec.whatwg.org/multipage/server-sent-events.html has it: JSON has no line break. Whoever makes the value
// sees to it that it fits; one that does not is left out, and the page keeps what it had.
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
		p.tellNow() // what it was told last is of when somebody looked last
	}
	s, err := p.hub.join(fromOf(r), p.greeting()...)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer p.hub.leave(s)
	shorten(r)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // proxies such as nginx collect answers otherwise
	control := http.NewResponseController(w)
	send := func(event []byte) bool {
		// A reader that went away without a word, or does not read, must not hold us.
		_ = control.SetWriteDeadline(time.Now().Add(takeWithin)) // of a recorder in tests there is none
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
				send(fmt.Appendf(nil, "retry: %d\n\n", retryCrowded.Milliseconds()))
			}
			if !more || !send(event) {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

func fromOf(r *http.Request) string {
	if c, ok := r.Context().Value(connKey{}).(*conn); ok {
		return c.from
	}
	return r.RemoteAddr
}
