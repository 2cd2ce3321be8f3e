package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"firstclick/doctor"
)

// errUnwell ends doctor when a check fails.
var errUnwell = errors.New("something is in the way: see the lines that say fail")

func (c *command) doctor() *cobra.Command {
	var j jobFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Examine Kafka and Postgres: what is in the way, and what mends it",
		Long: `Looks at Kafka and Postgres from outside, before the first run or while instances run, and says for
each thing ok, warn or fail, with the fix to paste. Takes the flags that run would be given. Changes
nothing; is done within ten seconds, also when nobody answers. Exit code 1 when something fails.`,
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
