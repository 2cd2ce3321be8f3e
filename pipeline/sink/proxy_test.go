package sink

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// message is one of the frontend/backend protocol. kind is 0 for the startup message.
type message struct {
	fromServer bool
	kind       byte
	body       []byte
	statement  string // of a Bind: the text of the prepared statement
}

// What a proxy does with a message.
type verdictOnMessage int

const (
	pass   verdictOnMessage = iota
	cut                     // close both sides, the message is not passed
	freeze                  // close the client's side only: the server's session stays as it is
)

// proxy stands between a sink and Postgres and cuts connections at chosen messages.
type proxy struct {
	t      testing.TB
	ln     net.Listener
	target string
	wg     sync.WaitGroup

	mu     sync.Mutex
	rule   func(message) verdictOnMessage // nil: pass
	conns  map[net.Conn]bool
	closed bool
}

// newProxy listens, and returns the DSN that goes through it.
func newProxy(t testing.TB, dsn string) (*proxy, string) {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, ln: ln, target: net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port))),
		conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	u := url.URL{Scheme: "postgres", User: url.UserPassword(cfg.User, cfg.Password), Host: ln.Addr().String(),
		Path: cfg.Database, RawQuery: "sslmode=disable"}
	return p, u.String()
}

func (p *proxy) set(rule func(message) verdictOnMessage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule = rule
}

// once applies v to the first message that matches, and passes the others.
func (p *proxy) once(v verdictOnMessage, match func(message) bool, then func()) {
	p.set(func(m message) verdictOnMessage {
		if !match(m) {
			return pass
		}
		p.rule = nil
		if then != nil {
			then()
		}
		return v
	})
}

func (p *proxy) judge(m message) verdictOnMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rule == nil {
		return pass
	}
	return p.rule(m)
}

func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.ln.Close()
	p.wg.Wait()
}

func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

func (p *proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		if !p.keep(client) || !p.keep(server) {
			client.Close()
			server.Close()
			return
		}
		link := &link{proxy: p, client: client, server: server, statements: map[string]string{}}
		p.wg.Go(func() { link.copy(client, server, false) })
		p.wg.Go(func() { link.copy(server, client, true) })
	}
}

type link struct {
	*proxy
	client, server net.Conn
	statements     map[string]string // of the client's side only
}

func (l *link) copy(from, to net.Conn, fromServer bool) {
	first := !fromServer
	for {
		m := message{fromServer: fromServer}
		head := make([]byte, 5)
		if first {
			head = head[1:]
		}
		if _, err := io.ReadFull(from, head); err != nil {
			break
		}
		if !first {
			m.kind = head[0]
		}
		first = false
		m.body = make([]byte, int(binary.BigEndian.Uint32(head[len(head)-4:]))-4)
		if _, err := io.ReadFull(from, m.body); err != nil {
			break
		}
		l.name(&m)
		switch l.judge(m) {
		case cut:
			l.client.Close()
			l.server.Close()
			return
		case freeze:
			l.client.Close()
			if !fromServer {
				return // the server's side stays open; what it says is read by the other goroutine until it ends
			}
			_, _ = io.Copy(io.Discard, from)
			return
		}
		if _, err := to.Write(append(head, m.body...)); err != nil {
			if fromServer { // a frozen client: the server is listened to all the same
				_, _ = io.Copy(io.Discard, from)
			}
			break
		}
	}
	from.Close()
	if fromServer {
		l.client.Close()
	} else {
		l.server.Close()
	}
}

// name follows prepared statements, so that a Bind is known by its text.
func (l *link) name(m *message) {
	if m.fromServer {
		return
	}
	switch m.kind {
	case 'P':
		name, rest, _ := bytes.Cut(m.body, []byte{0})
		text, _, _ := bytes.Cut(rest, []byte{0})
		l.statements[string(name)] = string(text)
	case 'B':
		_, rest, _ := bytes.Cut(m.body, []byte{0})
		name, _, _ := bytes.Cut(rest, []byte{0})
		m.statement = l.statements[string(name)]
	}
}
