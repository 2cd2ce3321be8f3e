package cli

import (
	"bytes"
	"io"
	"regexp"
)

// colours are what a terminal is told; empty where nothing is to be coloured.
type colours struct{ bold, red, green, yellow, plain string }

// coloured says whether to colour what goes to a terminal or elsewhere: see https://no-color.org. A terminal that says it is dumb
// knows no colours.
func coloured(terminal bool, env lookup) bool {
	_, unwanted := env.get("NO_COLOR")
	kind, _ := env.get("TERM")
	return terminal && !unwanted && kind != "dumb"
}

func coloursFor(w io.Writer, env lookup) colours {
	if !coloured(isTerminal(w), env) {
		return colours{}
	}
	return colours{bold: "\x1b[1m", red: "\x1b[31m", green: "\x1b[32m", yellow: "\x1b[33m", plain: "\x1b[0m"}
}

func (c colours) in(colour, text string) string { return colour + text + c.plain }

// verdicts are the words of our reports that say at a glance how it is, at the beginning of a line.
var verdicts = regexp.MustCompile(`(?m)^(ok  |warn|fail|NOT as it should be\.|CANNOT TELL[^\n]*|Nothing wrong[^\n]*|Everything [^\n]*as it should be[^\n]*)`)

// paint colours the verdicts of a report.
func (c colours) paint(report []byte) []byte {
	if c.plain == "" {
		return report
	}
	return verdicts.ReplaceAllFunc(report, func(word []byte) []byte {
		colour := c.green
		switch {
		case bytes.HasPrefix(word, []byte("fail")), bytes.HasPrefix(word, []byte("NOT")):
			colour = c.red
		case bytes.HasPrefix(word, []byte("warn")), bytes.HasPrefix(word, []byte("Nothing")), bytes.HasPrefix(word, []byte("CANNOT")):
			colour = c.yellow
		}
		return []byte(c.in(colour, string(word)))
	})
}
