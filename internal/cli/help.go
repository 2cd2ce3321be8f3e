package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Groups of commands, in the order of the help.
const (
	groupWork  = "work"
	groupLook  = "look"
	groupShell = "shell"
)

func commandGroups() []*cobra.Group {
	return []*cobra.Group{
		{ID: groupWork, Title: "Set up and run"},
		{ID: groupLook, Title: "Look closer, put right, change over"},
		{ID: groupShell, Title: "This program"},
	}
}

// in puts commands into a group.
func in(group string, commands ...*cobra.Command) []*cobra.Command {
	for _, cmd := range commands {
		cmd.GroupID = group
	}
	return commands
}

// section is some of a command's flags under a title.
type section struct {
	title string
	flags *pflag.FlagSet
}

// titles says under which title a setting stands. What is not named here is the command's own.
var titles = map[string]string{
	"clicks-topic": "Kafka", "checkouts-topic": "Kafka", "group": "Kafka", "group-instance": "Kafka", "start": "Kafka",
	"database": "Postgres", "database-replication": "Postgres", "no-migrate": "Postgres", "users-cache": "Postgres",
	"dead-letter-payloads": "Postgres", "dead-letters-retention": "Postgres",
	"window": "What a row means", "lateness": "What a row means", "out-of-order": "What a row means", "max-future-skew": "What a row means", "time-zone": "What a row means",
	"listen": "The page", "listen-auth-file": "The page", "ui-actions": "The page", "pprof": "The page",
}

const titleGlobal = "Every command"

// sections are the command's visible flags: its own, the settings by what they are about, those that every command has.
func sections(cmd *cobra.Command) []section {
	order := []string{"Flags", "What a row means", "Kafka", "Postgres", "The page", titleGlobal}
	var list []section
	for _, title := range order {
		list = append(list, section{title, pflag.NewFlagSet(title, pflag.ContinueOnError)})
	}
	add := func(title string, flag *pflag.Flag) {
		if !flag.Hidden {
			list[slices.Index(order, title)].flags.AddFlag(flag)
		}
	}
	shared := func(name string) bool {
		return name == "help" || name == configFlag || strings.HasPrefix(name, "log-")
	}
	cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
		title := titles[flag.Name]
		switch {
		case shared(flag.Name):
			title = titleGlobal
		case len(flag.Annotations[annotationEnv]) == 0:
			title = "Flags"
		case strings.HasPrefix(flag.Name, "kafka"):
			title = "Kafka"
		case title == "":
			title = "Flags"
		}
		add(title, flag)
	})
	cmd.InheritedFlags().VisitAll(func(flag *pflag.Flag) { add(titleGlobal, flag) })
	return slices.DeleteFunc(list, func(s section) bool { return !s.flags.HasFlags() })
}

// visible are the commands below cmd that help and completion show.
func visible(cmd *cobra.Command) []*cobra.Command {
	return slices.DeleteFunc(slices.Clone(cmd.Commands()), func(sub *cobra.Command) bool { return !sub.IsAvailableCommand() })
}

// usageText is the help after the description. Columns of 0 wrap nothing.
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
	if len(groups) == 0 {
		groups = []*cobra.Group{{Title: "Commands"}}
	}
	for _, group := range groups {
		mine := slices.DeleteFunc(slices.Clone(subs), func(sub *cobra.Command) bool { return sub.GroupID != group.ID })
		if len(mine) == 0 {
			continue
		}
		title(group.Title)
		for _, sub := range mine {
			fmt.Fprintf(&b, "  %-*s  %s\n", width, sub.Name(), sub.Short)
		}
	}
	for _, s := range sections(cmd) {
		title(s.title)
		// pflag says of a switch that it may be given a value; that it need not is what matters.
		const may = "[=true|false]"
		b.WriteString(strings.ReplaceAll(s.flags.FlagUsagesWrapped(columns), may, strings.Repeat(" ", len(may))))
	}
	if len(subs) > 0 {
		fmt.Fprintf(&b, "\n%s COMMAND --help says more about one.\n", cmd.CommandPath())
	}
	return b.String()
}

// dress gives all commands their help.
func (c *command) dress(root *cobra.Command) {
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
		Use:     "help [COMMAND...]",
		Short:   "Help about a command",
		Example: "  firstclick help run\n  firstclick help dead-letters retry",
		GroupID: groupShell,
		// What is wrong with variables or the configuration file does not keep anybody from reading help.
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			below, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, sub := range visible(below) {
				names = append(names, sub.Name()+"\t"+sub.Short)
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

// named finds the command that the words lead to.
func named(root *cobra.Command, words []string) (*cobra.Command, error) {
	at := root
	for _, word := range words {
		i := slices.IndexFunc(at.Commands(), func(sub *cobra.Command) bool { return sub.Name() == word })
		if i < 0 {
			return nil, unknownCommand(at, word)
		}
		at = at.Commands()[i]
	}
	at.InitDefaultHelpFlag() // what Execute would have done
	return at, nil
}

func orText(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
