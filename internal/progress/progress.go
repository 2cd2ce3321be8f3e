package progress

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/term"
)

// Line shows progress. Not safe for concurrent use.
type Line struct {
	out      io.Writer
	terminal bool
	open     bool
}

// New returns a line on out; nil shows nothing.
func New(out io.Writer) *Line {
	if out == nil {
		out = io.Discard
	}
	f, ok := out.(*os.File)
	return &Line{out: out, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

// Every is how often to show something: each second on a terminal, else every ten.
func (l *Line) Every() time.Duration {
	if l.terminal {
		return time.Second
	}
	return 10 * time.Second
}

// Show shows text. On a terminal it replaces the text before. Write errors are ignored.
func (l *Line) Show(text string) {
	if l.terminal {
		_, _ = fmt.Fprint(l.out, "\r"+text+"\x1b[K")
		l.open = true
		return
	}
	_, _ = fmt.Fprintln(l.out, text)
}

// End ends the line with the last text.
func (l *Line) End() {
	if l.open {
		_, _ = fmt.Fprintln(l.out)
		l.open = false
	}
}

// Grouped formats 1234567 as 1,234,567.
func Grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
