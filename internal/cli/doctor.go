package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"firstclick/doctor"
)

// errUnwell ends doctor when a check fails.
var errUnwell = errors.New("some checks failed: see the lines that say fail")

func (c *command) doctor() *cobra.Command {
	var j jobFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Examine Kafka and Postgres: find problems, and how to fix them",
		Long: `Examines Kafka and Postgres from outside, before the first run or while instances run, and shows for each
check ok, warn or fail, with the fix to paste. Give it the flags of run. It changes nothing, and ends
within ten seconds, even without an answer. Exit code 1: a check fails.`,
		Example: `  firstclick doctor
  firstclick doctor --kafka broker:9093 --kafka-tls --database postgres://app@db:5432/shop
  firstclick doctor --json | jq -r '.findings[] | select(.status == "fail") | .fix'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := j.check(cmd, c.Env); err != nil {
				return err
			}
			report := doctor.Run(cmd.Context(), doctor.Config{
				Kafka: j.kafka, Database: j.database, Replication: j.replication,
				ClicksTopic: j.clicksTopic, CheckoutsTopic: j.checkoutsTopic, Group: j.group,
				Window: j.window, Lateness: j.lateness, OutOfOrder: j.outOfOrder, MaxSkew: j.skew, Zone: j.zone,
			})
			if err := c.print(report, asJSON); err != nil {
				return err
			}
			if !report.OK() {
				return errUnwell
			}
			return nil
		},
	}
	j.places(cmd.Flags())
	j.replicationFlag(cmd.Flags())
	j.rule(cmd.Flags())
	j.finality(cmd.Flags())
	defineSwitch(cmd.Flags(), &asJSON, "json", "", "print the report as JSON")
	return cmd
}
