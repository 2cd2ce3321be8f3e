package cli

import (
	"context"
	"errors"
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
	root.SetArgs(append([]string{}, args...)) // nil would be taken for the process' own
	err := root.ExecuteContext(ctx)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return stopped(err)
	}
	return advised(err)
}

// command is what every command has: the streams and the flags of logging.
type command struct {
	Streams

	logFormat  string
	logLevel   slog.Level
	configFile string
}

func newRoot(streams Streams) *cobra.Command {
	shared := &command{Streams: streams}
	root := &cobra.Command{
		Use:   "firstclick",
		Short: "For every checkout, which click led to it?",
		Long: `firstclick reads clicks and checkouts from Kafka and writes, for every checkout, the first
click of the same user on the same product within the hour before it to
commerce.attributed_checkouts in Postgres, exactly once.

A flag with a variable in brackets behind it can also be given by that variable, or stand in a YAML file
that --config names: the flag wins over the variable, the variable over the file. firstclick run --dry-run
shows what comes from where.`,
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
			if cmd.Name() == cobra.ShellCompRequestCmd || cmd.Name() == cobra.ShellCompNoDescRequestCmd {
				return nil // what is wrong with variables or the file is for the command itself to say
			}
			return resolve(cmd, streams.Env)
		},
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Version:           thisBuild().String(),
	}
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	root.SetFlagErrorFunc(flagError)
	root.Flags().Bool("version", false, "print version, commit and Go version")
	root.SetVersionTemplate("{{.Version}}\n")
	shared.logFlags(root.PersistentFlags())
	shared.configFlags(root.PersistentFlags())
	root.AddGroup(commandGroups()...)
	root.AddCommand(in(groupWork, shared.demo(), shared.run(), shared.migrate(), shared.generate())...)
	root.AddCommand(in(groupLook, shared.verify(), shared.repair(), shared.explain(), shared.compare(), shared.whatIf(), shared.deadLetters(), shared.doctor())...)
	root.AddCommand(in(groupShell, shared.healthcheck(), shared.completion(), shared.man(), shared.version())...)
	shared.dress(root)
	completeFlags(root)
	return root
}

// machine is the root of the file system, where memory limits are read from.
func machine() fs.FS { return os.DirFS("/") }
