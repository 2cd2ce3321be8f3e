package cli

import (
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"firstclick/deadletters"
)

func (c *command) logFlags(fs *pflag.FlagSet) {
	offering(define(fs, &c.logFormat, "log-format", "LOG_FORMAT", "format", "auto", oneOf("auto", "text", "json"),
		"text, json, or auto: text on a terminal, else json"), "auto", "text", "json")
	offering(define(fs, &c.logLevel, "log-level", "LOG_LEVEL", "level", "info", parseLevel, "debug, info, warn or error"),
		"debug", "info", "warn", "error")
}

// logger writes to Err, so that results on Out can be piped.
func (c *command) logger() *slog.Logger {
	options := &slog.HandlerOptions{Level: c.logLevel}
	if c.logFormat == "text" || c.logFormat == "auto" && isTerminal(c.Err) {
		return slog.New(slog.NewTextHandler(c.Err, options))
	}
	return slog.New(slog.NewJSONHandler(printableJSON{c.Err}, options))
}

// printableJSON makes log lines harmless for whoever looks at them on a terminal: JSON lets pass what is not ASCII, also if it gives
// orders or turns the direction of writing round. The handler for text quotes by itself.
type printableJSON struct{ io.Writer }

func (w printableJSON) Write(line []byte) (int, error) {
	if _, err := w.Writer.Write(deadletters.PrintableJSON(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// terminalWidth asks a terminal for its width, each time anew; nil where w is none.
func terminalWidth(w io.Writer) func() int {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil
	}
	return func() int {
		width, _, err := term.GetSize(int(file.Fd()))
		if err != nil || width <= 0 {
			return 80
		}
		return width
	}
}

// quietLogger is for commands whose output says it all: only what goes wrong is logged, unless a level was asked for.
func (c *command) quietLogger(cmd *cobra.Command) *slog.Logger {
	if !cmd.Flags().Lookup("log-level").Changed {
		c.logLevel = slog.LevelWarn
	}
	return c.logger()
}

// demoLogger is quiet, to keep the screen for the demo's table. Where the table is on the terminal that Err is too, lines go
// above it.
func (c *command) demoLogger(cmd *cobra.Command) func(above io.Writer) *slog.Logger {
	quiet := c.quietLogger(cmd)
	return func(above io.Writer) *slog.Logger {
		if above == nil || !isTerminal(c.Err) {
			return quiet
		}
		if c.logFormat == "auto" {
			c.logFormat = "text"
		}
		onTable := *c
		onTable.Err = above
		return onTable.logger()
	}
}
