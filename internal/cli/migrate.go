package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"firstclick/migrations"
)

func (c *command) migrate() *cobra.Command {
	var database string
	var status bool
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Create or update the tables",
		Long: `Creates what is missing in schemas commerce and firstclick, and updates firstclick's own tables.
Tables of an existing commerce schema stay as they are. run does the same at its start. Only this command
makes tables again that were dropped: they are empty.`,
		Example: `  firstclick migrate
  firstclick migrate --status
  DATABASE_URL_FILE=/run/secrets/database firstclick migrate`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dsn, err := connection(cmd, database, c.Env)
			if err != nil {
				return err
			}
			ctx, logger := cmd.Context(), c.logger()
			if err := reachDatabase(ctx, logger, dsn); err != nil {
				return err
			}
			if !status {
				if err := migrations.Up(ctx, dsn, logger); err != nil {
					return err
				}
				return migrations.Remake(ctx, dsn, logger)
			}
			files, err := migrations.Status(ctx, dsn)
			for _, f := range files {
				when := "missing"
				if !f.Applied.IsZero() {
					when = f.Applied.UTC().Format(time.DateTime)
				}
				fmt.Fprintf(c.Out, "%-32s %s\n", f.File, when)
			}
			return err
		},
	}
	databaseFlag(cmd.Flags(), &database)
	defineSwitch(cmd.Flags(), &status, "status", "", "only show which migrations the database has")
	return cmd
}
