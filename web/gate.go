package web

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
)

// maxConnections is how many connections are open at once. It is more than all requests that may be under way together (atOnce, maxStreams,
// scrapesAtOnce), so that among so many there is always one that waits.
const maxConnections = 256

// gate is a listener that holds a bounded number of connections and never keeps a newcomer out: past the bound, the connection that has waited
// longest for a request goes, of the address that has most of them waiting. So neither idle connections nor unfinished headers keep a probe or a
// scrape from being heard, for those ask as soon as they have come.
type gate struct {
	net.Listener

	mu      sync.Mutex
	open    int
	waiting *list.List // of *conn in which no handler runs, the one that has waited longest first
}

func newGate(listener net.Listener) *gate { return &gate{Listener: listener, waiting: list.New()} }

// conn is a connection through the gate.
type conn struct {
	net.Conn
	gate *gate
	from string        // the other side's address
	wait *list.Element // in gate.waiting; nil while a handler runs, and once it is closed
	gone bool
}

// Accept lets the next connection in.
func (g *gate) Accept() (net.Conn, error) {
	accepted, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: accepted, gate: g, from: addressOf(accepted)}
	g.mu.Lock()
	var victim *conn
	if g.open >= maxConnections {
		victim = g.crowding()
	}
	g.open++
	c.wait = g.waiting.PushBack(c)
	g.mu.Unlock()
	if victim != nil {
		_ = victim.Close() // its client sees the end of it
	}
	return c, nil
}

// crowding is the connection to close for a newcomer; nil: a handler runs in each. g.mu is held.
func (g *gate) crowding() *conn {
	count := map[string]int{}
	for e := g.waiting.Front(); e != nil; e = e.Next() {
		count[e.Value.(*conn).from]++
	}
	var most *conn
	for e := g.waiting.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*conn); most == nil || count[c.from] > count[most.from] {
			most = c
		}
	}
	return most
}

func addressOf(c net.Conn) string {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.IP.String()
	}
	return c.RemoteAddr().String()
}

func (c *conn) Close() error {
	c.gate.mu.Lock()
	if !c.gone {
		c.gone = true
		c.gate.open--
		c.stopWaiting()
	}
	c.gate.mu.Unlock()
	return c.Conn.Close()
}

// stopWaiting takes the connection off the list; gate.mu is held.
func (c *conn) stopWaiting() {
	if c.wait != nil {
		c.gate.waiting.Remove(c.wait)
		c.wait = nil
	}
}

type connKey struct{}

// remember lets a handler find its connection.
func remember(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// serving notes that a handler runs in the request's connection, until what it returns is called.
func serving(r *http.Request) (done func()) {
	c, ok := r.Context().Value(connKey{}).(*conn)
	if !ok { // a recorder in tests
		return func() {}
	}
	c.gate.mu.Lock()
	c.stopWaiting()
	c.gate.mu.Unlock()
	return func() {
		c.gate.mu.Lock()
		if !c.gone {
			c.wait = c.gate.waiting.PushBack(c)
		}
		c.gate.mu.Unlock()
	}
}

// shorten bounds what the kernel takes of a stream that nobody reads: by default it grows to megabytes, minutes of events.
func shorten(r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(*conn); ok {
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.SetWriteBuffer(streamBuffer) // then it takes longer until we notice
		}
	}
}
