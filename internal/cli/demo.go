package cli

import (
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
downloaded one), shoppers who click and buy, and the pipeline. Ports 9093, 5432 and 8081, or free ones
where those are taken. Shows the latest rows and what to paste to look for yourself. Ctrl-C stops
everything; started again it goes on where it was. Disk use is bounded: Kafka keeps the events of the
last 2 hours, Postgres the rows of the last 4.`,
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
	define(fs, &config.Dir, "dir", "", "dir", "", parseText, "where the data is kept; default: firstclick/demo in the user's data directory")
	define(fs, &config.Rate, "rate", "", "n", "200", parsePositive, "events a second")
	define(fs, &config.Listen, "listen", "LISTEN", "host:port", demo.DefaultListen, parseListen, "where the page, /livez and /metrics are served; port 0 picks one")
	hostsFlag(fs, &config.Hosts)
	define(fs, &config.KafkaPort, "kafka-port", "", "port", strconv.Itoa(demo.DefaultKafkaPort), parseWhole(0, 65535), "port of the broker; 0 picks one")
	define(fs, &config.DatabasePort, "database-port", "", "port", strconv.Itoa(demo.DefaultDatabasePort), parseWhole(0, 65535), "port of Postgres; 0 picks one")
	return cmd
}
