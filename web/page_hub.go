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
	maxStreams  = 64
	streamQueue = 64 // events that a slow reader may be behind, before it is cut off and begins anew
	writeWithin = 10 * time.Second
	retryAfter  = 1000 // milliseconds until a browser connects again
)

// hub tells all who look. What was told last of each kind is told to those who come later.
type hub struct {
	mu      sync.Mutex
	streams map[chan []byte]struct{}
	last    map[string][]byte
	order   []string // of last
	closed  bool
	woken   chan struct{} // closed when somebody comes
}

func newHub() *hub {
	return &hub{streams: map[chan []byte]struct{}{}, last: map[string][]byte{}, woken: make(chan struct{})}
}

var errFull = errors.New("too many pages are open")

// join begins a stream with first and what was told last. Its channel is closed when the stream is to end.
func (h *hub) join(first []byte) (chan []byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.streams) >= maxStreams {
		return nil, errFull
	}
	stream := make(chan []byte, streamQueue)
	stream <- first
	for _, kind := range h.order {
		stream <- h.last[kind]
	}
	h.streams[stream] = struct{}{}
	if len(h.streams) == 1 {
		close(h.woken)
	}
	return stream, nil
}

func (h *hub) leave(stream chan []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.streams[stream]; ok {
		h.drop(stream)
	}
}

func (h *hub) drop(stream chan []byte) {
	delete(h.streams, stream)
	close(stream)
	if len(h.streams) == 0 {
		h.woken = make(chan struct{})
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

// tell sends a value of a kind. keep: also to those who come later.
func (h *hub) tell(kind string, keep bool, value any) {
	if !keep && !h.watched() {
		return
	}
	event := encodeEvent(kind, value)
	h.mu.Lock()
	defer h.mu.Unlock()
	if keep {
		if _, ok := h.last[kind]; !ok {
			h.order = append(h.order, kind)
		}
		h.last[kind] = event
	}
	for stream := range h.streams {
		select {
		case stream <- event:
		default:
			h.drop(stream)
		}
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for stream := range h.streams {
		h.drop(stream)
	}
}

// encodeEvent is an event as https://html.spec.whatwg.org/multipage/server-sent-events.html has it: JSON has no line break.
func encodeEvent(kind string, value any) []byte {
	data, err := json.Marshal(value)
	if err != nil {
		data = []byte("null") // a number that is none: the page keeps what it had
	}
	return fmt.Appendf(nil, "event: %s\ndata: %s\n\n", kind, data)
}

// hello is the first event of a stream.
type hello struct {
	Group    string       `json:"group"`
	Version  string       `json:"version"`
	Instance string       `json:"instance"`
	Demo     bool         `json:"demo"`
	Token    string       `json:"token,omitempty"`
	Explain  bool         `json:"explain"`
	Verify   bool         `json:"verify"`
	Actions  []actionInfo `json:"actions"`
	Acted    []acted      `json:"acted"` // the last actions, the oldest first
	Settings []Setting    `json:"settings"`
	History  history      `json:"history"`
	Now      *picture     `json:"now"`
}

type actionInfo struct {
	Name   string `json:"name"`
	Title  string `json:"title"`
	About  string `json:"about"`
	Letter bool   `json:"letter"`
}

func (p *Page) hello() hello {
	h := hello{
		Group: p.cfg.Group, Version: p.cfg.Version, Instance: p.cfg.Instance, Demo: p.cfg.Demo,
		Explain: p.cfg.Explain != nil, Verify: p.cfg.Verify != nil, Settings: p.cfg.Settings, History: p.feed.history(), Actions: []actionInfo{},
	}
	if recent := p.feed.recent(1); len(recent) > 0 {
		st := p.cfg.Stats()
		h.Now = p.picture(time.Now(), &st, &recent[0])
	}
	h.Acted = p.done()
	for _, a := range p.cfg.Actions {
		h.Token = p.token // only where it opens something
		h.Actions = append(h.Actions, actionInfo{a.Name, a.Title, a.About, a.Letter})
	}
	return h
}

func (p *Page) serveEvents(w http.ResponseWriter, r *http.Request) {
	stream, err := p.hub.join(encodeEvent("hello", p.hello()))
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer p.hub.leave(stream)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // proxies such as nginx collect answers otherwise
	control := http.NewResponseController(w)
	event := fmt.Appendf(nil, "retry: %d\n\n", retryAfter)
	for ok := true; ok; {
		// A reader that went away without a word must not hold us.
		_ = control.SetWriteDeadline(time.Now().Add(writeWithin)) // of a recorder in tests there is none
		if _, err := w.Write(event); err != nil {
			return
		}
		if err := control.Flush(); err != nil {
			return
		}
		select {
		case event, ok = <-stream:
		case <-r.Context().Done():
			return
		}
	}
}
