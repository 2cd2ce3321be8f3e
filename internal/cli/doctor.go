package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"firstclick/doctor"
	"firstclick/internal/kafkaconn"
)

// errUnwell ends doctor when something fails: the report has said what.
var errUnwell = errors.New("something is in the way: see the lines that say fail")

func (c *command) doctor() *cobra.Command {
	var kafka kafkaconn.Config
	var database, replication string
	var where topics
	var means meaning
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
			if err := errors.Join(where.check(cmd), checkKafka(cmd, kafka), checkReplication(cmd, replication)); err != nil {
				return err
			}
			dsn, err := connection(cmd, database, c.Env)
			if err != nil {
				return err
			}
			report := doctor.Run(cmd.Context(), doctor.Config{
				Kafka: kafka, Database: dsn, Replication: replication, ClicksTopic: where.clicks, CheckoutsTopic: where.checkouts, Group: means.group,
				Window: means.window, Lateness: means.lateness, OutOfOrder: means.outOfOrder, MaxSkew: means.skew, Zone: means.zone,
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
	kafkaFlags(cmd.Flags(), &kafka)
	databaseFlag(cmd.Flags(), &database)
	replicationFlag(cmd.Flags(), &replication)
	where.flags(cmd.Flags())
	means.flags(cmd.Flags())
	defineSwitch(cmd.Flags(), &asJSON, "json", "", "print the report as JSON")
	return cmd
}
