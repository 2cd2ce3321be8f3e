package progress

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/term"
)

// Line is where progress is shown. Not safe for concurrent use.
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

// Every is how often it is worth showing something: a second on a terminal, else ten.
func (l *Line) Every() time.Duration {
	if l.terminal {
		return time.Second
	}
	return 10 * time.Second
}

// Show shows text, in place of what was shown before on a terminal. A line that can't be written is no harm.
func (l *Line) Show(text string) {
	if l.terminal {
		_, _ = fmt.Fprint(l.out, "\r"+text+"\x1b[K")
		l.open = true
		return
	}
	_, _ = fmt.Fprintln(l.out, text)
}

// End leaves the last text standing.
func (l *Line) End() {
	if l.open {
		_, _ = fmt.Fprintln(l.out)
		l.open = false
	}
}

// Grouped writes 1234567 as 1,234,567.
func Grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
