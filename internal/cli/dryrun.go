package cli

import (
	"fmt"
	"log/slog"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"firstclick/pipeline"
)

// notShown stands where a secret would.
const notShown = "set, not shown"

// shown is a flag's value as it may be shown.
func shown(flag *pflag.Flag) string {
	value := flag.Value.String()
	switch {
	case flag.Name == "database", flag.Name == "database-replication" && value != "":
		return shownDatabase(value)
	case value != "" && (strings.Contains(flag.Name, "password") || flag.Annotations[annotationFile] != nil):
		return notShown
	}
	return value
}

// dryRun prints every setting with its source, after having judged all that can be judged without a connection.
func (c *command) dryRun(cmd *cobra.Command, r running) error {
	limit := memoryLimit(r.memoryLimit, machine())
	if _, err := pipeline.New(r.pipelineConfig(limit, r.listen, slog.New(slog.DiscardHandler))); err != nil {
		return err
	}
	table := tabwriter.NewWriter(c.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SETTING\tVALUE\tFROM")
	for _, s := range sections(cmd) {
		s.flags.VisitAll(func(flag *pflag.Flag) {
			if flag.Name == "help" || flag.Name == "dry-run" {
				return
			}
			value := orText(shown(flag), "(none)")
			if flag.Name == "memory-limit" && r.memoryLimit == 0 {
				value = fmt.Sprintf("half (%d MiB)", limit>>20)
			}
			fmt.Fprintf(table, "--%s\t%s\t%s\n", flag.Name, harmless(value), harmless(sourceOf(flag)))
		})
	}
	if _, source, ok, _ := lookup(c.Env).orFile("PGPASSWORD"); ok { // both at once was refused before
		fmt.Fprintf(table, "PGPASSWORD\t%s\tenvironment %s\n", notShown, source)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write the settings: %w", err)
	}
	return nil
}
