package web

import (
	"net"
	"net/http"
	"slices"
	"sync"
)

// maxConnections is how many connections are open at once. It is more than all requests that may be
// under way together (maxRequests, maxStreams, maxScrapes): one connection always waits.
const maxConnections = 256

// gate is a listener that holds a bounded number of connections and lets every newcomer in. Past
// the bound it closes a connection that waits for a request: see [crowding]. So neither idle
// connections nor unfinished headers keep out a probe or a scrape, which send their request at
// once.
type gate struct {
	net.Listener

	mu      sync.Mutex
	open    int
	waiting []*conn // those in which no handler runs, the one that has waited longest first
}

// conn is a connection through the gate.
type conn struct {
	net.Conn
	gate   *gate
	from   string // the address of the client
	closed bool
}

// crowding returns the member to remove for a newcomer: of the client with the most members, the
// first one, or one that before puts ahead of it. nil if there are no members.
func crowding[T any](members []*T, from func(*T) string, before func(a, b *T) bool) (found *T) {
	count := map[string]int{}
	for _, m := range members {
		count[from(m)]++
	}
	for _, m := range members {
		more := 0
		if found != nil {
			more = count[from(m)] - count[from(found)]
		}
		if found == nil || more > 0 || more == 0 && before(m, found) {
			found = m
		}
	}
	return found
}

// leaving returns the connection to close for a newcomer; nil if a handler runs in each. The caller
// holds mu.
func (g *gate) leaving() *conn {
	return crowding(g.waiting, func(c *conn) string { return c.from }, func(_, _ *conn) bool { return false })
}

func (g *gate) Accept() (net.Conn, error) {
	accepted, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: accepted, gate: g, from: accepted.RemoteAddr().String()}
	if tcp, ok := accepted.RemoteAddr().(*net.TCPAddr); ok {
		c.from = tcp.IP.String()
	}
	g.mu.Lock()
	var leaving *conn
	if g.open >= maxConnections {
		leaving = g.leaving()
	}
	g.open++
	g.waiting = append(g.waiting, c)
	g.mu.Unlock()
	if leaving != nil {
		_ = leaving.Close()
	}
	return c, nil
}

// stopWaiting takes a connection off the list. The caller holds mu.
func (g *gate) stopWaiting(c *conn) {
	if i := slices.Index(g.waiting, c); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
}

func (c *conn) Close() error {
	c.gate.mu.Lock()
	if !c.closed {
		c.closed = true
		c.gate.open--
		c.gate.stopWaiting(c)
	}
	c.gate.mu.Unlock()
	return c.Conn.Close()
}

// connKey is the key of the connection in the context of a request.
type connKey struct{}

// connOf returns the connection of a request; nil for a recorder in tests.
func connOf(r *http.Request) *conn {
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}

// serving marks the connection of a request as busy until done is called.
func serving(r *http.Request) (done func()) {
	c := connOf(r)
	if c == nil {
		return func() {}
	}
	c.gate.mu.Lock()
	c.gate.stopWaiting(c)
	c.gate.mu.Unlock()
	return func() {
		c.gate.mu.Lock()
		if !c.closed {
			c.gate.waiting = append(c.gate.waiting, c)
		}
		c.gate.mu.Unlock()
	}
}
