package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/spf13/cobra"
)

// Streams is what a command has of the outside world. Env reads a variable as os.LookupEnv does.
type Streams struct {
	In       io.Reader // nil: none
	Out, Err io.Writer
	Env      func(name string) (value string, ok bool)
}

// Run executes the command that args (without the program's name) say. It writes results to Out;
// log lines, progress and the help after a mistake to Err. It does not print the error that it
// returns: a [*UsageError] for a mistake of the user, else the error of the package that failed.
func Run(ctx context.Context, args []string, streams Streams) error {
	root := newRoot(streams)
	root.SetArgs(append([]string{}, args...)) // for nil cobra takes the process' own
	err := root.ExecuteContext(ctx)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return stopped(err)
	}
	return withNextStep(err)
}

// command is what every command has: the streams, and the flags of logging and of the
// configuration file.
type command struct {
	Streams

	logFormat  string
	logLevel   slog.Level
	configFile string
}

// Groups of commands in the help.
const (
	groupWork  = "work"
	groupLook  = "look"
	groupShell = "shell"
)

func newRoot(streams Streams) *cobra.Command {
	c := &command{Streams: streams}
	root := &cobra.Command{
		Use:   "firstclick",
		Short: "For every checkout, which click led to it?",
		Long: `firstclick reads clicks and checkouts from Kafka and writes, for every checkout, the first
click of the same user on the same product within the hour before it to
commerce.attributed_checkouts in Postgres, exactly once.

A flag with a variable in brackets can also be set by that variable, or in the YAML file that --config
names. The flag wins over the variable, the variable over the file. firstclick run --dry-run shows the
source of every setting.`,
		Example: `  firstclick demo                     # Kafka, Postgres, events and the pipeline, nothing to install
  firstclick run                      # against localhost:9093 and localhost:5432
  firstclick verify                   # recompute everything from Kafka and compare
  firstclick explain CHECKOUT_ID      # why has this checkout this click?`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          subcommandNeeded,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Name() == cobra.ShellCompRequestCmd || cmd.Name() == cobra.ShellCompNoDescRequestCmd {
				return ignoreSettings(cmd, args)
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
	all := root.PersistentFlags()
	defineWord(all, &c.logFormat, "log-format", "LOG_FORMAT", "format", "auto",
		"text, json, or auto: text on a terminal, else json", "auto", "text", "json")
	level := define(all, &c.logLevel, "log-level", "LOG_LEVEL", "level", "info", parseLevel,
		"debug, info, warn or error")
	level.words = []string{"debug", "info", "warn", "error"}
	define(all, &c.configFile, configFlag, "CONFIG", "file", "", parseText,
		"YAML file with settings, a line each, such as \"window: 30m\"; flags and variables win")
	add := func(group, title string, commands ...*cobra.Command) {
		root.AddGroup(&cobra.Group{ID: group, Title: title})
		for _, cmd := range commands {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	add(groupWork, "Set up and run", c.demo(), c.run(), c.migrate(), c.generate())
	add(groupLook, "Check, explain, repair",
		c.verify(), c.repair(), c.explain(), c.compare(), c.whatIf(), c.deadLetters(), c.doctor())
	add(groupShell, "This program", c.healthcheck(), c.completion(), c.man(), c.version())
	c.setHelp(root)
	completeFlags(root)
	return root
}

// ignoreSettings takes the place of resolve for commands that must work although a variable or the
// configuration file is wrong.
func ignoreSettings(*cobra.Command, []string) error { return nil }
