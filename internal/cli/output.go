package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"firstclick/internal/escape"
)

// logger writes to Err, so that results on Out can be piped.
func (c *command) logger() *slog.Logger {
	options := &slog.HandlerOptions{Level: c.logLevel}
	if c.logFormat == "text" || c.logFormat == "auto" && isTerminal(c.Err) {
		return slog.New(slog.NewTextHandler(c.Err, options))
	}
	return slog.New(slog.NewJSONHandler(printableJSON{c.Err}, options))
}

// quietLogger is for commands whose output says everything: it logs warnings and errors, unless
// another level was given.
func (c *command) quietLogger(cmd *cobra.Command) *slog.Logger {
	if !cmd.Flags().Lookup("log-level").Changed {
		c.logLevel = slog.LevelWarn
	}
	return c.logger()
}

// printableJSON escapes what would control a terminal. The handler for text does so by itself.
type printableJSON struct{ io.Writer }

func (w printableJSON) Write(line []byte) (int, error) {
	if _, err := w.Writer.Write(escape.JSON(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// printable escapes what would control a terminal.
func printable(text string) string { return escape.Text([]byte(text)) }

// print writes a report to Out as text or JSON. Foreign text in it cannot control a terminal.
func (c *command) print(report io.WriterTo, asJSON bool) error {
	if asJSON {
		return c.printJSON(report)
	}
	var text bytes.Buffer
	_, err := report.WriteTo(&text)
	if err == nil {
		_, err = c.Out.Write(coloursFor(c.Out, c.Env).paint(escape.Lines(text.Bytes())))
	}
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// printJSON writes indented JSON. Foreign text in it cannot control a terminal.
func (c *command) printJSON(v any) error {
	encoder := json.NewEncoder(printableJSON{c.Out})
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// terminalWidth returns a function that reads the width of a terminal; nil if w is none.
func terminalWidth(w io.Writer) func() int {
	if !isTerminal(w) {
		return nil
	}
	return func() int {
		width, _, err := term.GetSize(int(w.(*os.File).Fd()))
		if err != nil || width <= 0 {
			return 80
		}
		return width
	}
}

// colours are escape sequences for a terminal; all are empty where nothing is coloured.
type colours struct{ bold, red, green, yellow, plain string }

// coloured follows https://no-color.org, and TERM=dumb.
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

// verdicts matches the verdict at the beginning of a line of a report: the red, the yellow and the
// green ones.
var verdicts = regexp.MustCompile(`(?m)^(?:(fail|NOT as it should be\.)|` +
	`(warn|CANNOT TELL[^\n]*|Nothing wrong[^\n]*)|(ok  |Everything [^\n]*as it should be[^\n]*))`)

// paint colours the verdicts of a report.
func (c colours) paint(report []byte) []byte {
	if c.plain == "" {
		return report
	}
	return verdicts.ReplaceAllFunc(report, func(verdict []byte) []byte {
		colour := c.green
		switch found := verdicts.FindSubmatch(verdict); {
		case found[1] != nil:
			colour = c.red
		case found[2] != nil:
			colour = c.yellow
		}
		return []byte(c.in(colour, string(verdict)))
	})
}
