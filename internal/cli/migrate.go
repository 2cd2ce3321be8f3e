package cli

import (
	"context"
	"fmt"

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
Tables of an existing commerce schema are taken as they are. run does the same at its start.
What was dropped since is made again, empty; that is left to this command.`,
		Example: `  firstclick migrate
  firstclick migrate --status
  DATABASE_URL_FILE=/run/secrets/database firstclick migrate`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dsn, err := connection(cmd, database, c.Env)
			if err != nil {
				return err
			}
			return c.runMigrate(cmd.Context(), dsn, status)
		},
	}
	databaseFlag(cmd.Flags(), &database)
	defineSwitch(cmd.Flags(), &status, "status", "", "only show which migrations the database has")
	return cmd
}

func (c *command) runMigrate(ctx context.Context, dsn string, status bool) error {
	logger := c.logger()
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
	if err != nil {
		return err
	}
	for _, f := range files {
		when := "missing"
		if !f.Applied.IsZero() {
			when = f.Applied.UTC().Format("2006-01-02 15:04:05")
		}
		fmt.Fprintf(c.Out, "%-32s %s\n", f.File, when)
	}
	return nil
}
