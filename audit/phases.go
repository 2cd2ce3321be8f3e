package audit

import (
	"fmt"
	"io"
	"sync"
	"time"
)

const progressEvery = 2 * time.Second

// phases prints a line when a phase ends, and one every two seconds of it.
type phases struct {
	out io.Writer // nil: none

	mu           sync.Mutex
	what         string // is counted, for people; "": nothing
	n, total     int64  // total 0: not known
	begun, shown time.Time
}

// phase ends the phase before and begins one. total 0 is not known.
func (p *phases) phase(what string, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n > 0 || p.total > 0 {
		p.show()
	}
	p.what, p.n, p.total = what, 0, total
	p.begun = time.Now()
	p.shown = p.begun
}

func (p *phases) done() { p.phase("", 0) }

func (p *phases) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n += n
	if p.n&0x3ff != 0 && n == 1 {
		return // the clock is not read for every record
	}
	if now := time.Now(); now.Sub(p.shown) >= progressEvery {
		p.shown = now
		p.show()
	}
}

func (p *phases) show() {
	if p.out == nil || p.what == "" {
		return
	}
	of := ""
	if p.total > 0 {
		of = fmt.Sprintf(" of %s (%d %%)", grouped(p.total), 100*p.n/p.total)
	}
	pace := int64(float64(p.n) / max(time.Since(p.begun).Seconds(), 0.001))
	fmt.Fprintf(p.out, "%s%s %s, %s/s\n", grouped(p.n), of, p.what, grouped(pace))
}
