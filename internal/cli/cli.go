package cli

import (
	"context"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
)

// Streams is what a command has of the outside world. Env reads a variable as os.LookupEnv does.
type Streams struct {
	In       io.Reader // nil: none
	Out, Err io.Writer
	Env      func(name string) (value string, ok bool)
}

// Run does what args (without the program's name) ask for, writing results to Out and log lines, progress and help after a
// mistake to Err. It prints no error that it returns. The errors: [*UsageError] for what was typed wrong, those of the
// pipeline as they came.
func Run(ctx context.Context, args []string, streams Streams) error {
	root := newRoot(streams)
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

// command is what every command has: the streams and the flags of logging.
type command struct {
	Streams

	logFormat string
	logLevel  slog.Level
}

func newRoot(streams Streams) *cobra.Command {
	shared := &command{Streams: streams}
	root := &cobra.Command{
		Use:   "firstclick",
		Short: "For every checkout, which click led to it?",
		Long: `firstclick reads clicks and checkouts from Kafka and writes, for every checkout, the first
click of the same user on the same product within the hour before it to
commerce.attributed_checkouts in Postgres, exactly once.

Every flag can also be given by the environment variable in brackets behind it; the flag wins.`,
		Example: `  firstclick demo                     # Kafka, Postgres, events and the pipeline, nothing to install
  firstclick run                      # against localhost:9093 and localhost:5432
  firstclick verify                   # recompute everything from Kafka and compare
  firstclick explain CHECKOUT_ID      # why has this checkout this click?`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return fromEnvironment(cmd, streams.Env)
		},
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	root.SetFlagErrorFunc(flagError)
	shared.logFlags(root.PersistentFlags())
	root.AddCommand(
		shared.demo(),
		shared.run(),
		shared.migrate(),
		shared.generate(),
		shared.verify(),
		shared.repair(),
		shared.explain(),
		shared.deadLetters(),
		shared.doctor(),
		shared.healthcheck(),
		shared.version(),
	)
	return root
}

// machine is the root of the file system, where memory limits are read from.
func machine() fs.FS { return os.DirFS("/") }
