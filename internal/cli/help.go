package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// section is a titled group of the flags of a command.
type section struct {
	title string
	flags *pflag.FlagSet
}

// Titles of sections, in the order of the help.
const (
	titleOwn      = "Flags"
	titleRule     = "What a row means"
	titleKafka    = "Kafka"
	titlePostgres = "Postgres"
	titlePage     = "The page"
	titleGlobal   = "Every command"
)

// titles has the section of a flag that has a variable. Other flags are the command's own.
var titles = map[string]string{
	"clicks-topic": titleKafka, "checkouts-topic": titleKafka, "start": titleKafka,
	"group": titleKafka, "group-instance": titleKafka,
	"database": titlePostgres, "database-replication": titlePostgres, "no-migrate": titlePostgres,
	"users-cache": titlePostgres, "dead-letter-payloads": titlePostgres, "dead-letters-retention": titlePostgres,
	"window": titleRule, "lateness": titleRule, "out-of-order": titleRule, "max-future-skew": titleRule,
	"time-zone": titleRule,
	"listen":    titlePage, "listen-auth-file": titlePage, "ui-actions": titlePage, "pprof": titlePage,
	configFlag: titleGlobal, "log-format": titleGlobal, "log-level": titleGlobal,
}

// sections returns the visible flags of a command by section.
func sections(cmd *cobra.Command) []section {
	var list []section
	for _, title := range []string{titleOwn, titleRule, titleKafka, titlePostgres, titlePage, titleGlobal} {
		list = append(list, section{title, pflag.NewFlagSet(title, pflag.ContinueOnError)})
	}
	cmd.InheritedFlags() // cobra then has them in Flags
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		title := titles[flag.Name]
		switch {
		case flag.Hidden:
			return
		case flag.Name == "help":
			title = titleGlobal
		case optionOf(flag).env == "":
			title = titleOwn
		case strings.HasPrefix(flag.Name, "kafka"):
			title = titleKafka
		case title == "":
			title = titleOwn
		}
		list[slices.IndexFunc(list, func(s section) bool { return s.title == title })].flags.AddFlag(flag)
	})
	return slices.DeleteFunc(list, func(s section) bool { return !s.flags.HasFlags() })
}

// visible returns the commands below cmd that help and completion show.
func visible(cmd *cobra.Command) []*cobra.Command {
	return slices.DeleteFunc(slices.Clone(cmd.Commands()),
		func(sub *cobra.Command) bool { return !sub.IsAvailableCommand() })
}

// usageText is the help after the description. It wraps at columns; 0 wraps nothing.
func usageText(cmd *cobra.Command, c colours, columns int) string {
	var b strings.Builder
	title := func(text string) { fmt.Fprintf(&b, "\n%s\n", c.in(c.bold, text+":")) }
	title("Usage")
	if cmd.Runnable() && (cmd.HasParent() || !cmd.HasSubCommands()) {
		fmt.Fprintf(&b, "  %s\n", cmd.UseLine())
	}
	subs := visible(cmd)
	if len(subs) > 0 {
		fmt.Fprintf(&b, "  %s COMMAND [flags]\n", cmd.CommandPath())
	}
	if cmd.Example != "" {
		title("Examples")
		fmt.Fprintln(&b, cmd.Example)
	}
	width := 0
	for _, sub := range subs {
		width = max(width, len(sub.Name()))
	}
	groups := cmd.Groups()
	if len(groups) == 0 && len(subs) > 0 {
		groups = []*cobra.Group{{Title: "Commands"}}
	}
	for _, group := range groups {
		title(group.Title)
		for _, sub := range subs {
			if sub.GroupID == group.ID {
				fmt.Fprintf(&b, "  %-*s  %s\n", width, sub.Name(), sub.Short)
			}
		}
	}
	for _, s := range sections(cmd) {
		title(s.title)
		// pflag shows that a switch may be given a value, which nobody needs to know.
		const may = "[=true|false]"
		b.WriteString(strings.ReplaceAll(s.flags.FlagUsagesWrapped(columns), may, strings.Repeat(" ", len(may))))
	}
	if len(subs) > 0 {
		fmt.Fprintf(&b, "\n%s COMMAND --help says more about one.\n", cmd.CommandPath())
	}
	return b.String()
}

// setHelp replaces cobra's help for all commands.
func (c *command) setHelp(root *cobra.Command) {
	show := func(cmd *cobra.Command, w io.Writer, description string) {
		columns := 0
		if width := terminalWidth(w); width != nil {
			columns = width()
		}
		fmt.Fprint(w, description, usageText(cmd, coloursFor(w, c.Env), columns))
	}
	root.SetUsageFunc(func(cmd *cobra.Command) error {
		show(cmd, cmd.OutOrStderr(), "")
		return nil
	})
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		show(cmd, cmd.OutOrStdout(), orText(cmd.Long, cmd.Short)+"\n")
	})
	root.SetHelpCommand(&cobra.Command{
		Use:               "help [COMMAND...]",
		Short:             "Help about a command",
		Example:           "  firstclick help run\n  firstclick help dead-letters retry",
		GroupID:           groupShell,
		PersistentPreRunE: ignoreSettings,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			if below, err := named(cmd.Root(), args); err == nil {
				for _, sub := range visible(below) {
					names = append(names, sub.Name()+"\t"+sub.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			about, err := named(cmd.Root(), args)
			if err != nil {
				return err
			}
			return about.Help()
		},
	})
}

// named returns the command that the words lead to.
func named(root *cobra.Command, words []string) (*cobra.Command, error) {
	cmd, rest, err := root.Find(words)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, unknownCommand(cmd, rest[0])
	}
	cmd.InitDefaultHelpFlag() // Execute does so only for the command that runs
	return cmd, nil
}

func orText(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
