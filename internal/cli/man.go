package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

func (c *command) man() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "man [COMMAND...]",
		Short: "Print a manual page, or write them all",
		Long: `Prints the manual page of firstclick, or of one of its commands, in the format of man(7). With --dir it
writes a page for every command there.`,
		Example: `  firstclick man | man -l -
  firstclick man dead-letters retry | man -l -
  firstclick man --dir /usr/local/share/man/man1`,
		PersistentPreRunE: ignoreSettings,
		RunE: func(cmd *cobra.Command, args []string) error {
			about, err := named(cmd.Root(), args)
			switch {
			case err != nil:
				return err
			case dir == "":
				_, err := io.WriteString(c.Out, manPage(about))
				return err
			case len(args) > 0:
				return usagef(cmd, "--dir writes the pages of all commands: leave out %s", strings.Join(args, " "))
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("make the directory of the manual pages: %w", err)
			}
			return writeManPages(dir, about)
		},
	}
	define(cmd.Flags(), &dir, "dir", "", "dir", "", parseText,
		"write all pages to this directory, and make it if it is missing")
	return cmd
}

// writeManPages writes the page of a command and of all below it.
func writeManPages(dir string, cmd *cobra.Command) error {
	if err := os.WriteFile(filepath.Join(dir, manName(cmd)+".1"), []byte(manPage(cmd)), 0o644); err != nil {
		return fmt.Errorf("write a manual page: %w", err)
	}
	for _, sub := range visible(cmd) {
		if err := writeManPages(dir, sub); err != nil {
			return err
		}
	}
	return nil
}

func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// exitStatus is the list of main's exit codes as man(7) has it.
const exitStatus = `.SH EXIT STATUS
.TP
.B 0
done, or stopped in good order
.TP
.B 1
failed, or what was examined is not as it should be
.TP
.B 2
usage: a flag, variable or setting that does not exist or does not fit
.TP
.B 3
fenced again and again: another instance takes the same shards
.TP
.B 4
data gap: records that were not read yet are gone
`

// manPage is the help of a command in the format of man(7): the titles of the help become section
// headings. It has no date: the same source gives the same page.
func manPage(cmd *cobra.Command) string {
	cmd.InitDefaultHelpFlag()
	var page strings.Builder
	fmt.Fprintf(&page, ".TH %q 1 \"\" \"firstclick %s\" \"firstclick manual\"\n",
		strings.ToUpper(manName(cmd)), roff(thisBuild().version))
	fmt.Fprintf(&page, ".SH NAME\n%s \\- %s\n.SH DESCRIPTION\n", roff(manName(cmd)), roff(cmd.Short))
	for line := range strings.Lines(orText(cmd.Long, cmd.Short) + "\n") {
		page.WriteString(roff(line)) // man(7) keeps lines that begin with a space, and fills the others
	}
	page.WriteString(".nf\n")
	for line := range strings.Lines(usageText(cmd, colours{}, 78)) {
		if title, ok := strings.CutSuffix(line, ":\n"); ok && !strings.HasPrefix(line, " ") {
			line = ".SH " + strings.ToUpper(title) + "\n.nf\n"
		} else {
			line = roff(line)
		}
		page.WriteString(line)
	}
	page.WriteString(".fi\n" + exitStatus)
	return page.String()
}

// roff protects a line of text: a hyphen can be copied and typed, and no line is a request.
func roff(line string) string {
	line = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`, "`", "\\`", `"`, `\(dq`).Replace(line)
	if strings.HasPrefix(line, ".") {
		line = `\&` + line
	}
	return line
}
