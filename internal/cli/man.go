package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
		RunE: func(cmd *cobra.Command, args []string) error {
			about, err := named(cmd.Root(), args)
			switch {
			case err != nil:
				return err
			case dir == "":
				return manPage(c.Out, about)
			case len(args) > 0:
				return usagef(cmd, "--dir writes the pages of all commands: leave out %s", strings.Join(args, " "))
			}
			return manPages(dir, cmd.Root())
		},
	}
	define(cmd.Flags(), &dir, "dir", "", "dir", "", parseText, "write all pages to this directory, which is made where it is missing")
	return cmd
}

// manPages writes a page for the command and for each below it.
func manPages(dir string, cmd *cobra.Command) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the directory of the manual pages: %w", err)
	}
	var page strings.Builder
	if err := manPage(&page, cmd); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, manName(cmd)+".1"), []byte(page.String()), 0o644); err != nil {
		return fmt.Errorf("write a manual page: %w", err)
	}
	for _, sub := range visible(cmd) {
		if err := manPages(dir, sub); err != nil {
			return err
		}
	}
	return nil
}

func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manPage writes the page of one command. It is written by hand rather than by cobra's own generator, which goes by Markdown and would
// bring two Markdown packages into the binary for what is a page of code, and knows nothing of our variables, sources and
// exit codes. The requests are those of man(7). No date stands in it: the same source gives the same page.
func manPage(w io.Writer, cmd *cobra.Command) error {
	cmd.InitDefaultHelpFlag()
	var m manual
	fmt.Fprintf(&m, ".TH %q 1 \"\" \"firstclick %s\" \"firstclick manual\"\n", strings.ToUpper(manName(cmd)), roff(thisBuild().version))
	m.section("NAME")
	fmt.Fprintf(&m, "%s \\- %s\n", roff(manName(cmd)), roff(cmd.Short))
	m.section("SYNOPSIS")
	if subs := visible(cmd); len(subs) > 0 {
		fmt.Fprintf(&m, ".B %s\n.I COMMAND\n[flags]\n", roff(cmd.CommandPath()))
	} else {
		fmt.Fprintf(&m, ".B %s\n%s\n", roff(cmd.CommandPath()), roff(strings.TrimPrefix(cmd.UseLine(), cmd.CommandPath()+" ")))
	}
	m.section("DESCRIPTION")
	m.text(orText(cmd.Long, cmd.Short))
	if subs := visible(cmd); len(subs) > 0 {
		m.section("COMMANDS")
		for _, sub := range subs {
			fmt.Fprintf(&m, ".TP\n.B %s\n%s; see\n.BR %s (1)\n", roff(sub.Name()), roff(sub.Short), roff(manName(sub)))
		}
	}
	m.section("OPTIONS")
	for _, s := range sections(cmd) {
		fmt.Fprintf(&m, ".SS %s\n", roff(s.title))
		s.flags.VisitAll(m.flag)
	}
	m.section("EXAMPLES")
	m.verbatim(cmd.Example)
	m.section("EXIT STATUS")
	for _, line := range exitCodes {
		fmt.Fprintf(&m, ".TP\n.B %d\n%s\n", line.code, roff(line.meaning))
	}
	m.section("SEE ALSO")
	m.seeAlso(cmd)
	_, err := io.WriteString(w, m.String())
	return err
}

// exitCodes are those of main, in words.
var exitCodes = []struct {
	code    int
	meaning string
}{
	{0, "done, or stopped in good order"},
	{1, "failed, or what was looked at is not as it should be"},
	{2, "usage: a flag, variable or setting that does not exist or does not fit"},
	{3, "fenced again and again: another instance takes the same shards"},
	{4, "data gap: records that were not read yet are gone"},
}

// manual is a page as it grows.
type manual struct{ strings.Builder }

func (m *manual) section(title string) { fmt.Fprintf(m, ".SH %s\n", title) }

// text writes paragraphs; lines that are indented stand as they are.
func (m *manual) text(text string) {
	for i, paragraph := range strings.Split(text, "\n\n") {
		if i > 0 {
			m.WriteString(".PP\n")
		}
		if strings.HasPrefix(paragraph, " ") {
			m.verbatim(paragraph)
			continue
		}
		for line := range strings.Lines(paragraph) {
			m.WriteString(roff(strings.TrimSpace(line)) + "\n")
		}
	}
}

func (m *manual) verbatim(text string) {
	m.WriteString(".nf\n")
	for line := range strings.Lines(text) {
		m.WriteString(roff(strings.TrimRight(line, "\n")) + "\n")
	}
	m.WriteString(".fi\n")
}

func (m *manual) flag(flag *pflag.Flag) {
	m.WriteString(".TP\n.BR ")
	if flag.Shorthand != "" {
		m.WriteString(roff("-"+flag.Shorthand) + ", ")
	}
	m.WriteString(roff("--" + flag.Name))
	if flag.Value.Type() != kindSwitch {
		m.WriteString(` " \fI` + roff(flag.Value.Type()) + `\fR"`)
	}
	m.WriteString("\n" + roff(flag.Usage))
	if flag.DefValue != "" && flag.DefValue != "false" {
		m.WriteString("; default: " + roff(flag.DefValue))
	}
	m.WriteString("\n")
}

func (m *manual) seeAlso(cmd *cobra.Command) {
	var pages []string
	if cmd.HasParent() {
		pages = append(pages, manName(cmd.Parent()))
	}
	for _, sub := range visible(cmd) {
		pages = append(pages, manName(sub))
	}
	for i, page := range pages {
		comma := ","
		if i == len(pages)-1 {
			comma = ""
		}
		fmt.Fprintf(m, ".BR %s (1)%s\n", roff(page), comma)
	}
}

// roff protects a line of text: hyphens stay hyphens, so that what is copied from a page can be typed, and nothing at the beginning
// of a line is a request.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`, "`", "\\`", `"`, `\(dq`).Replace(text)
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	return text
}
