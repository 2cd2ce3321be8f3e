package audit

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress prints a line when a phase begins, and one every two seconds of it.
type progress struct {
	mu    sync.Mutex
	out   io.Writer
	what  string
	n     int64
	total int64 // 0: not known
	begun time.Time
	said  time.Time
}

const progressEvery = 2 * time.Second

func newProgress(out io.Writer) *progress {
	if out == nil {
		out = io.Discard
	}
	return &progress{out: out}
}

// phase ends the phase before and begins one; what is counted in it is named for people.
func (p *progress) phase(what string, total ...int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
	p.what, p.n, p.total = what, 0, 0
	if len(total) > 0 {
		p.total = total[0]
	}
	p.begun = time.Now()
	p.said = p.begun
}

func (p *progress) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n += n
	if p.n&0x3ff != 0 && n == 1 {
		return // the clock is not read for every record
	}
	if now := time.Now(); now.Sub(p.said) >= progressEvery {
		p.said = now
		p.say()
	}
}

func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
	p.what = ""
}

func (p *progress) end() {
	if p.what != "" && (p.n > 0 || p.total > 0) {
		p.say()
	}
}

func (p *progress) say() {
	of := ""
	if p.total > 0 {
		of = fmt.Sprintf(" of %s (%d %%)", grouped(p.total), 100*p.n/p.total)
	}
	seconds := max(time.Since(p.begun).Seconds(), 0.001)
	fmt.Fprintf(p.out, "%s%s %s, %s/s\n", grouped(p.n), of, p.what, grouped(int64(float64(p.n)/seconds)))
}

// grouped writes 1234567 as 1,234,567.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
