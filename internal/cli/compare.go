package cli

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"firstclick/audit"
)

// errDiffers ends compare when the report shows a difference.
var errDiffers = errors.New("the compared table is not what Kafka's records say: see the report")

func (c *command) compare() *cobra.Command {
	a := auditFlags{ownTable: true}
	var other audit.Other
	cmd := &cobra.Command{
		Use:   "compare",
		Short: "Compare another job's table with what Kafka's records say",
		Long: `Recomputes the click of every checkout from all that Kafka holds, however late, and compares it with a
table that another job writes: what is missing, extra, doubled, and which rows have another click, with
examples. It needs no rows of firstclick, so it can run before firstclick ever did. The table or view must
have checkout_id, click_id and click_time; checkout_time is used if it exists.
It changes nothing. Exit code 1: something differs.`,
		Example: `  firstclick compare --table commerce.attributed_checkouts           # what the old job misses
  firstclick compare --table legacy.attributed --since 24h --json | jq '{missing, extra, different}'
  firstclick compare --table legacy.attributed --examples 1000000 --json > differences.json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case other.Table == "":
				return usagef(cmd, "--table names the table to compare, as in --table legacy.attributed_checkouts")
			case !other.Since.IsZero() && !other.Until.IsZero() && !other.Since.Before(other.Until):
				return usagef(cmd, "--since is not before --until")
			}
			return a.run(cmd, c, func(ctx context.Context, config audit.Config) (io.WriterTo, error) {
				report, err := audit.Compare(ctx, config, other)
				switch {
				case errors.Is(err, audit.ErrTable):
					return nil, usagef(cmd, "--table: %v", err)
				case err != nil:
					return nil, err
				case !report.OK():
					return report, errDiffers
				}
				return report, nil
			})
		},
	}
	fs := cmd.Flags()
	a.where(fs)
	a.report(fs)
	define(fs, &other.Table, "table", "", "schema.table", "", parseText, "the table or view to compare")
	define(fs, &other.Since, "since", "", "when", "", parseMoment,
		"only checkouts with an event time since then: a time (RFC 3339), or how long ago (24h)")
	define(fs, &other.Until, "until", "", "when", "", parseMoment,
		"only checkouts with an event time before then, likewise")
	define(fs, &other.Grace, "grace", "", "duration", "1m", parseDuration(0),
		"records younger than this need not be in the table yet")
	return cmd
}

func (c *command) whatIf() *cobra.Command {
	a := auditFlags{ownTable: true}
	var scenario audit.Scenario
	var model string
	cmd := &cobra.Command{
		Use:   "whatif",
		Short: "Recompute with another window or model, into a table of its own",
		Long: `Recomputes every checkout that Kafka holds with another window or model, writes the result to a table of
its own, and shows what would change in commerce.attributed_checkouts, which it does not change.

Models: first, the least click by time and click_id, as firstclick run; last, the greatest; linear, every
click in the window with the same weight. The table has a row per checkout and click. The weights of a
checkout sum to 1; a checkout without a click has one row of weight 1 and no click. Columns:
checkout_id, user_id, product_id, total_amount, checkout_time, click_id, click_time, clicks, weight.`,
		Example: `  firstclick whatif --window 30m --into scratch.half_hour
  firstclick whatif --model last --into scratch.last_click --examples 20
  firstclick whatif --model linear --into scratch.linear --replace --json | jq .split`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch strings.ToLower(scenario.Into) {
			case "":
				return usagef(cmd, "--into names the table to make, as in --into scratch.half_hour")
			case "commerce.attributed_checkouts":
				return usagef(cmd, "--into: table commerce.attributed_checkouts is not for this: "+
					"name one of your own, as in scratch.half_hour")
			}
			scenario.Model = audit.Model(model)
			return a.run(cmd, c, func(ctx context.Context, config audit.Config) (io.WriterTo, error) {
				outcome, err := audit.WhatIf(ctx, config, scenario)
				switch {
				case errors.Is(err, audit.ErrTable):
					return nil, usagef(cmd, "--into: %v", err)
				case err != nil:
					return nil, err
				}
				return outcome, nil
			})
		},
	}
	fs := cmd.Flags()
	a.where(fs)
	a.report(fs)
	var models []string
	for _, m := range audit.Models() {
		models = append(models, string(m))
	}
	defineWord(fs, &model, "model", "", "model", string(audit.ModelFirst), "first, last or linear", models...)
	define(fs, &scenario.Into, "into", "", "schema.table", "", parseText, "the table to make")
	defineSwitch(fs, &scenario.Replace, "replace", "", "replace the table if an earlier whatif made it")
	return cmd
}
