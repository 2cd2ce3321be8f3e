package cli

import (
	"io"
	"log/slog"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"firstclick/internal/demo"
	"firstclick/internal/kafkaconn"
	"firstclick/web"
)

func (c *command) demo() *cobra.Command {
	var config demo.Config
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Kafka, Postgres, events and the pipeline in one go, nothing to install",
		Long: `Starts a Kafka broker (in this process, its data on disk), a real Postgres (the one installed, else a
downloaded one), shoppers who click and buy, and the pipeline. It uses ports 9093, 5432 and 8081, or free
ones if those are taken. It shows the latest rows, and lines to paste to look for yourself. Ctrl-C stops
everything; the next start goes on where it was. Disk use is bounded: Kafka keeps the events of the last
2 hours, Postgres the rows of the last 4.`,
		Example: `  firstclick demo
  firstclick demo --rate 2000
  firstclick demo --dir ./demo-data`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config.Out = c.Out
			config.NewLogger = c.demoLogger(cmd)
			config.Registry = newRegistry()
			config.Version = thisBuild().version
			config.Program = os.Args[0]
			config.LetterActions = func(database string, kafka kafkaconn.Config) []web.Action {
				return letterActions(database, "firstclick", kafka)
			}
			config.Width = terminalWidth(c.Out)
			return demo.Run(cmd.Context(), config)
		},
	}
	fs := cmd.Flags()
	port := func(target *int, name string, def int, usage string) {
		define(fs, target, name, "", "port", strconv.Itoa(def), parseWhole(0, 65535), usage+"; 0 picks one")
	}
	define(fs, &config.Dir, "dir", "", "dir", "", parseText,
		"where the data is kept; default: firstclick/demo in the user's data directory")
	define(fs, &config.Rate, "rate", "", "n", "200", parsePositive, "events a second")
	listenFlags(fs, &config.Listen, demo.DefaultListen, &config.Hosts)
	port(&config.KafkaPort, "kafka-port", demo.DefaultKafkaPort, "port of the broker")
	port(&config.DatabasePort, "database-port", demo.DefaultDatabasePort, "port of Postgres")
	return cmd
}

// demoLogger makes a quiet logger, to keep the screen for the demo's table. If Err is the terminal
// that shows the table, the lines go above the table.
func (c *command) demoLogger(cmd *cobra.Command) func(above io.Writer) *slog.Logger {
	quiet := c.quietLogger(cmd)
	return func(above io.Writer) *slog.Logger {
		if above == nil || !isTerminal(c.Err) {
			return quiet
		}
		onTable := *c
		onTable.Err = above
		if c.logFormat == "auto" {
			onTable.logFormat = "text"
		}
		return onTable.logger()
	}
}
