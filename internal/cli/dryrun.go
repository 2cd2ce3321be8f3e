package cli

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"firstclick/pipeline"
)

// notShown takes the place of a secret.
const notShown = "set, not shown"

// shownValue returns the value of a flag without any secret.
func shownValue(flag *pflag.Flag) string {
	value := flag.Value.String()
	switch {
	case flag.Name == "database", flag.Name == "database-replication" && value != "":
		return shownDatabase(value)
	case value != "" && (strings.Contains(flag.Name, "password") || optionOf(flag).secret):
		return notShown
	}
	return value
}

// printSettings prints every setting with its source. It refuses what can be refused without a
// connection.
func (c *command) printSettings(cmd *cobra.Command, r runFlags) error {
	limit := memoryLimit(r.memoryLimit, os.DirFS("/"))
	if _, err := pipeline.New(r.pipelineConfig(limit, r.page.listen, slog.New(slog.DiscardHandler))); err != nil {
		return err
	}
	table := tabwriter.NewWriter(c.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SETTING\tVALUE\tFROM")
	for _, s := range sections(cmd) {
		s.flags.VisitAll(func(flag *pflag.Flag) {
			if flag.Name == "help" || flag.Name == "dry-run" {
				return
			}
			value := orText(shownValue(flag), "(none)")
			if flag.Name == "memory-limit" && r.memoryLimit == 0 {
				value = fmt.Sprintf("half (%d MiB)", limit>>20)
			}
			fmt.Fprintf(table, "--%s\t%s\t%s\n", flag.Name, printable(value), printable(sourceOf(flag)))
		})
	}
	if _, source, ok, _ := lookup(c.Env).orFile("PGPASSWORD"); ok { // check has refused an error
		fmt.Fprintf(table, "PGPASSWORD\t%s\tenvironment %s\n", notShown, source)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write the settings: %w", err)
	}
	return nil
}
