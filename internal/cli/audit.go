package cli

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"firstclick/audit"
)

// errNotOK ends verify when the report shows an error in the table.
var errNotOK = errors.New("the table is not what Kafka's records say: see the report")

// ErrCannotTell ends verify when it found no error, and could not check enough rows to exclude one.
var ErrCannotTell = errors.New("cannot tell whether the table is what Kafka's records say: see the report")

// errUnexplained ends explain when the checkout is unknown or its row is wrong.
var errUnexplained = errors.New("the checkout is not as it should be: see the explanation")

// auditFlags are the flags of the commands that recompute rows from Kafka.
type auditFlags struct {
	jobFlags
	tempDir  string
	examples int
	json     bool
	names    bool
	ownTable bool // compares or writes another table than the pipeline's: the group may not exist
}

// where adds the flags that say what is examined. A setting that is not given is the one stored
// with the group.
func (a *auditFlags) where(fs *pflag.FlagSet) {
	a.places(fs)
	a.rule(fs)
	note, stored := " (not given: as stored with the group)", []string{"window", "time-zone"}
	if a.ownTable {
		note = " (not given: as stored with the group, if there is one)"
		stored = append(stored, "clicks-topic", "checkouts-topic")
	} else {
		a.finality(fs)
		stored = append(stored, "lateness", "out-of-order", "max-future-skew")
	}
	for _, name := range stored {
		fs.Lookup(name).Usage += note
	}
}

// report adds the flags that say how the report is made and shown.
func (a *auditFlags) report(fs *pflag.FlagSet) {
	define(fs, &a.tempDir, "temp-dir", "", "dir", "", parseText, "where large sorts spill; default: the system's")
	define(fs, &a.examples, "examples", "", "n", "5", parseWhole(0, 1_000_000), "how many of each finding to show")
	defineSwitch(fs, &a.json, "json", "", "print the report as JSON")
}

// config leaves out the settings that were not given: the audit then reads those of the group.
func (a *auditFlags) config(cmd *cobra.Command, c *command) (audit.Config, error) {
	if err := a.check(cmd, c.Env); err != nil {
		return audit.Config{}, err
	}
	config := audit.Config{
		Kafka: a.kafka, Database: a.database,
		ClicksTopic: a.clicksTopic, CheckoutsTopic: a.checkoutsTopic, Group: a.group,
		TempDir: a.tempDir, Examples: a.examples, Names: a.names, Logger: c.quietLogger(cmd),
	}
	if config.Examples == 0 {
		config.Examples = -1 // 0 means the default
	}
	if isTerminal(c.Err) {
		config.Progress = c.Err
	}
	given := func(name string) bool {
		flag := cmd.Flags().Lookup(name)
		return flag != nil && flag.Changed
	}
	for name, set := range map[string]struct{ to, from *time.Duration }{
		"window":          {&config.Window, &a.window},
		"lateness":        {&config.Lateness, &a.lateness},
		"out-of-order":    {&config.OutOfOrder, &a.outOfOrder},
		"max-future-skew": {&config.MaxSkew, &a.skew},
	} {
		if given(name) {
			*set.to = *set.from
		}
	}
	if given("time-zone") {
		config.Zone = a.zone
	}
	if a.ownTable && !given("clicks-topic") {
		config.ClicksTopic = ""
	}
	if a.ownTable && !given("checkouts-topic") {
		config.CheckoutsTopic = ""
	}
	return config, nil
}

// run waits for the servers, calls do and prints the report. The error of do beside a report says
// what the report found. Settings that do not fit the group's are a usage error (exit code 2): exit
// code 1 would mean that the table is wrong.
func (a *auditFlags) run(cmd *cobra.Command, c *command,
	do func(context.Context, audit.Config) (io.WriterTo, error),
) error {
	ctx := cmd.Context()
	config, err := a.config(cmd, c)
	if err == nil {
		err = reach(ctx, config.Logger, config.Kafka, config.Database)
	}
	if err != nil {
		return err
	}
	report, err := do(ctx, config)
	var settings *audit.SettingsError
	switch {
	case report != nil:
		return errors.Join(c.print(report, a.json), err)
	case errors.As(err, &settings), errors.Is(err, audit.ErrCheckoutID):
		return usagef(cmd, "%v", err)
	}
	return err
}

func (c *command) verify() *cobra.Command {
	var a auditFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Recompute every row from Kafka and compare",
		Long: `Reads both topics again, computes the rows by other code than the pipeline's, and compares them with
commerce.attributed_checkouts: what is missing, extra, different, and what firstclick.late explains.
It changes nothing and may run while the pipeline runs.

Exit code 0: nothing is wrong (green). 1: something is wrong (red). 5: nothing wrong was found, but too
little could be checked: no row at all, or not every row whose records Kafka should still hold. Rows
older than what Kafka holds count as unverifiable and do not change the exit code. A row that keeps a
later click because the first came too late is explained, not wrong: firstclick repair corrects it.`,
		Example: `  firstclick verify
  firstclick verify --examples 50
  firstclick verify --json | jq -r '.verdict, .missing'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.run(cmd, c, func(ctx context.Context, config audit.Config) (io.WriterTo, error) {
				report, err := audit.Verify(ctx, config)
				if err != nil {
					return nil, err
				}
				switch report.Verdict {
				case audit.VerdictRed:
					return report, errNotOK
				case audit.VerdictCannotTell:
					return report, ErrCannotTell
				}
				return report, nil
			})
		},
	}
	a.where(cmd.Flags())
	a.report(cmd.Flags())
	defineSwitch(cmd.Flags(), &a.names, "names", "",
		"require that each user_name is the user's name now (only if nobody was renamed)")
	return cmd
}

func (c *command) repair() *cobra.Command {
	var a auditFlags
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Recompute the rows that late events could have changed",
		Long: `Some events come after the rows that they could change are final; firstclick.late lists them. repair
recomputes those rows from Kafka and moves them to the earlier click. It may run while the pipeline
runs, and more than once.`,
		Example: `  firstclick repair
  firstclick repair --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.run(cmd, c, func(ctx context.Context, config audit.Config) (io.WriterTo, error) {
				report, err := audit.Repair(ctx, config)
				if err != nil {
					return nil, err
				}
				return report, nil
			})
		},
	}
	a.where(cmd.Flags())
	a.report(cmd.Flags())
	return cmd
}

func (c *command) explain() *cobra.Command {
	var a auditFlags
	cmd := &cobra.Command{
		Use:   "explain CHECKOUT_ID",
		Short: "Why has this checkout this click?",
		Long: `Shows a checkout's row, and the clicks in and near its window with their times and offsets: which one won
and why, and which was second; where the user's name comes from, when the row was written, whether it may
still change, and whether it is what Kafka's records say. For a checkout without a row it shows where the
checkout is: not read yet, a dead letter, or nowhere.

It changes nothing. It reads Kafka around the checkout's time, or the whole topic if the records'
timestamps do not lead there (a backlog that was produced later, or an id without a row).
Exit code 1: the checkout is unknown, missing or wrong.`,
		Example: `  firstclick explain 5f0c3c3e-6c55-4a9f-9b7e-0d3b0f6f2a11
  firstclick explain --json 5f0c3c3e-6c55-4a9f-9b7e-0d3b0f6f2a11 | jq .clicks
  firstclick explain -- -an-id-that-begins-with-a-hyphen`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef(cmd, "explain takes one checkout_id, but was given %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.run(cmd, c, func(ctx context.Context, config audit.Config) (io.WriterTo, error) {
				explanation, err := audit.Explain(ctx, config, args[0])
				if err != nil {
					return nil, err
				}
				switch explanation.Verdict {
				case audit.VerdictWrong, audit.VerdictMissing, audit.VerdictUnknown:
					return explanation, errUnexplained
				}
				return explanation, nil
			})
		},
	}
	a.where(cmd.Flags())
	defineSwitch(cmd.Flags(), &a.json, "json", "", "print the explanation as JSON")
	return cmd
}
