package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"firstclick/audit"
	"firstclick/deadletters"
	"firstclick/internal/kafkaconn"
)

// errNotOK ends verify when something is wrong that nothing explains: the report has said what.
var errNotOK = errors.New("the table is not what Kafka's records say: see the report")

// ErrCannotTell ends verify when nothing wrong was found and too little could be judged to say that nothing is.
var ErrCannotTell = errors.New("cannot tell whether the table is what Kafka's records say: see the report")

// auditing is what verify and repair have in common.
type auditing struct {
	kafka    kafkaconn.Config
	database string
	topics   topics
	meaning  meaning
	tempDir  string
	examples int
	json     bool
	names    bool
}

func (a *auditing) flags(fs *pflag.FlagSet) {
	a.whereFlags(fs)
	a.reportFlags(fs)
}

// reportFlags say how it is done and shown.
func (a *auditing) reportFlags(fs *pflag.FlagSet) {
	define(fs, &a.tempDir, "temp-dir", "", "dir", "", parseText, "where large sorts spill; default: the system's")
	define(fs, &a.examples, "examples", "", "n", "5", parseWhole(0, 1_000_000), "how many of each finding to show")
	defineSwitch(fs, &a.json, "json", "", "print the report as JSON")
}

// whereFlags say what is looked at.
func (a *auditing) whereFlags(fs *pflag.FlagSet) {
	kafkaFlags(fs, &a.kafka)
	databaseFlag(fs, &a.database)
	a.topics.flags(fs)
	a.meaning.flags(fs)
	// What a group was begun with is stored with it.
	for _, name := range []string{"window", "lateness", "out-of-order", "max-future-skew", "time-zone"} {
		fs.Lookup(name).Usage += " (where not given: as the group was begun with)"
	}
}

// config leaves what was not given as it is stored with the group.
func (a *auditing) config(cmd *cobra.Command, c *command) (audit.Config, error) {
	if err := errors.Join(a.topics.check(cmd), checkKafka(cmd, a.kafka)); err != nil {
		return audit.Config{}, err
	}
	dsn, err := connection(cmd, a.database, c.Env)
	if err != nil {
		return audit.Config{}, err
	}
	config := audit.Config{
		Kafka: a.kafka, Database: dsn,
		ClicksTopic: a.topics.clicks, CheckoutsTopic: a.topics.checkouts, Group: a.meaning.group,
		TempDir: a.tempDir, Examples: a.examples, Names: a.names,
		Progress: c.progress(), Logger: c.quietLogger(cmd),
	}
	if config.Examples == 0 {
		config.Examples = -1 // there 0 stands for the default
	}
	given := func(name string) bool {
		flag := cmd.Flags().Lookup(name)
		return flag != nil && flag.Changed
	}
	for name, set := range map[string]struct{ to, from *time.Duration }{
		"window":          {&config.Window, &a.meaning.window},
		"lateness":        {&config.Lateness, &a.meaning.lateness},
		"out-of-order":    {&config.OutOfOrder, &a.meaning.outOfOrder},
		"max-future-skew": {&config.MaxSkew, &a.meaning.skew},
	} {
		if given(name) {
			*set.to = *set.from
		}
	}
	if given("time-zone") {
		config.Zone = a.meaning.zone
	}
	return config, nil
}

// settingsAsUsage makes a usage error (exit code 2, as with run) of flags that do not fit what the group was begun with: exit code 1 would
// say that the table is wrong.
func settingsAsUsage(cmd *cobra.Command, err error) error {
	var settings *audit.SettingsError
	if errors.As(err, &settings) {
		return usagef(cmd, "%v", err)
	}
	return err
}

// progress is where lines about how far it is go: nowhere when nobody looks.
func (c *command) progress() io.Writer {
	if isTerminal(c.Err) {
		return c.Err
	}
	return nil
}

func (c *command) verify() *cobra.Command {
	var a auditing
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Recompute every row from Kafka and compare",
		Long: `Reads both topics again, computes the rows by other code than the pipeline's, and compares them with
commerce.attributed_checkouts: what is missing, extra, different, and what firstclick.late explains.
Changes nothing; may run while the pipeline runs.

Exit code 0 when nothing is wrong (green), 1 when something is (red), and 5 when nothing wrong was found
but nobody can tell: no row could be judged, or rows could not of which Kafka should still hold the
records. Rows older than what Kafka holds are counted as unverifiable and change nothing. A row that
keeps a later click because the first came too late is explained, not wrong: firstclick repair mends it.`,
		Example: `  firstclick verify
  firstclick verify --examples 50
  firstclick verify --json | jq -r '.verdict, .missing'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := a.config(cmd, c)
			if err != nil {
				return err
			}
			return settingsAsUsage(cmd, c.runVerify(cmd.Context(), config, a.json))
		},
	}
	a.flags(cmd.Flags())
	defineSwitch(cmd.Flags(), &a.names, "names", "", "demand that each user_name is the name now (right where nobody was renamed)")
	return cmd
}

func (c *command) runVerify(ctx context.Context, config audit.Config, asJSON bool) error {
	if err := reach(ctx, config.Logger, config.Kafka, config.Database); err != nil {
		return err
	}
	report, err := audit.Verify(ctx, config)
	if err != nil {
		return err
	}
	if err := c.print(report, asJSON); err != nil {
		return err
	}
	switch report.Verdict {
	case audit.VerdictRed:
		return errNotOK
	case audit.VerdictCannotTell:
		return ErrCannotTell
	}
	return nil
}

func (c *command) repair() *cobra.Command {
	var a auditing
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Recompute the rows that late events could have changed",
		Long: `Some events come after the rows they could change were final; firstclick.late has them. repair
recomputes those rows from Kafka and moves them to the earlier click. May run while the pipeline runs,
and again.`,
		Example: `  firstclick repair
  firstclick repair --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := a.config(cmd, c)
			if err != nil {
				return err
			}
			if err := reach(cmd.Context(), config.Logger, config.Kafka, config.Database); err != nil {
				return err
			}
			report, err := audit.Repair(cmd.Context(), config)
			if err != nil {
				return settingsAsUsage(cmd, err)
			}
			return c.print(report, a.json)
		},
	}
	a.flags(cmd.Flags())
	return cmd
}

// print writes a report to Out, for people or for programs. Whatever foreign text is in it, a terminal shows it and does not obey it.
func (c *command) print(report io.WriterTo, asJSON bool) error {
	if asJSON {
		return c.printJSON(report)
	}
	var text bytes.Buffer
	if _, err := report.WriteTo(&text); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if _, err := c.Out.Write(coloursFor(c.Out, c.Env).paint(deadletters.PrintableLines(text.Bytes()))); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// printJSON writes indented JSON that a terminal only shows.
func (c *command) printJSON(v any) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	if _, err := c.Out.Write(deadletters.PrintableJSON(text.Bytes())); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}
