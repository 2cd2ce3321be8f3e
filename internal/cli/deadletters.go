package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"firstclick/deadletters"
	"firstclick/join/event"
)

// letterFilter is the flags of list, retry and drop that select dead letters.
type letterFilter struct {
	database     string
	group        string
	reasons      []string
	topic        string
	since, until time.Time
	status       string
	json         bool
}

func (f *letterFilter) flags(fs *pflag.FlagSet) {
	databaseFlag(fs, &f.database)
	groupFlag(fs, &f.group, "consumer group of the dead letters")
	define(fs, &f.reasons, "reason", "", "word,...", "", parseReasons,
		"only these reasons, such as json,future (docs/operations.md has them all)")
	define(fs, &f.topic, "topic", "", "name", "", parseText, "only from this topic")
	define(fs, &f.since, "since", "", "when", "", parseMoment,
		"only those since then: a time (RFC 3339), or how long ago (2h)")
	define(fs, &f.until, "until", "", "when", "", parseMoment, "only those before then, likewise")
	defineWord(fs, &f.status, "status", "", "status", "open",
		"open, retried, dropped or any", "open", "retried", "dropped", "any")
	defineSwitch(fs, &f.json, "json", "", "print JSON")
}

// parseReasons takes words, separated by commas. It refuses a word that is not a reason: with a
// typing error the answer would be "no dead letters".
func parseReasons(text string) ([]string, error) {
	var known []string
	for _, r := range event.Reasons() {
		known = append(known, string(r))
	}
	words := commaList(text)
	for _, word := range words {
		if _, err := oneOf(known...)(word); err != nil {
			return nil, err
		}
	}
	return words, nil
}

func (f *letterFilter) of(ids []int64) deadletters.Filter {
	return deadletters.Filter{
		IDs: ids, Group: f.group, Reasons: f.reasons, Topic: f.topic,
		Since: f.since, Until: f.until, Status: deadletters.Status(f.status),
	}
}

func (c *command) deadLetters() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead-letters",
		Short: "Show records that could become no row; send them again",
		Long: `Records that could become no row are kept in firstclick.dead_letters with reason and payload.
list and show display them, retry sends them to their topic again, drop marks them as dropped.`,
		Example: `  firstclick dead-letters list
  firstclick dead-letters show 17
  firstclick dead-letters retry 17 --edit mended.json`,
		Args: subcommandNeeded,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.deadLettersList(), c.deadLettersShow(), c.deadLettersRetry(), c.deadLettersDrop())
	return cmd
}

// withLetters calls do with the table. An unknown group is a usage error: with a typing error the
// answer would be "no dead letters". An empty group is not checked.
func (c *command) withLetters(cmd *cobra.Command, database, group string,
	do func(ctx context.Context, store *deadletters.Store) error,
) (err error) {
	dsn, err := connection(cmd, database, c.Env)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if err := reachDatabase(ctx, c.quietLogger(cmd), dsn); err != nil {
		return err
	}
	store, err := deadletters.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close(ctx)) }()
	if group != "" {
		err := store.CheckGroup(ctx, group)
		if unknown := new(deadletters.UnknownGroupError); errors.As(err, &unknown) {
			return usagef(cmd, "%v", err)
		}
		if err != nil {
			return err
		}
	}
	return do(ctx, store)
}

func (c *command) deadLettersList() *cobra.Command {
	var f letterFilter
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, the newest first",
		Example: `  firstclick dead-letters list
  firstclick dead-letters list --reason json,time --since 2h
  firstclick dead-letters list --status any --limit 0 --json | jq '.[].id'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withLetters(cmd, f.database, f.group, func(ctx context.Context, store *deadletters.Store) error {
				letters, err := store.List(ctx, f.of(nil), limit)
				if err != nil {
					return err
				}
				if f.json {
					return c.printJSON(append([]deadletters.Letter{}, letters...))
				}
				total, err := store.Count(ctx, f.of(nil))
				if err != nil {
					return err
				}
				return c.printLetters(letters, total, f.status)
			})
		},
	}
	f.flags(cmd.Flags())
	define(cmd.Flags(), &limit, "limit", "", "n", "100", parseWhole(0, 100_000_000), "list at most n; 0: all")
	return cmd
}

func (c *command) printLetters(letters []deadletters.Letter, total int64, status string) error {
	if len(letters) == 0 {
		if status == "any" {
			status = "such"
		}
		_, err := fmt.Fprintf(c.Out, "no %s dead letters\n", status)
		return err
	}
	table := tabwriter.NewWriter(c.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tSINCE\tREASON\tRECORD\tBYTES\tSTATUS\tDETAIL")
	for i := range letters {
		l := &letters[i]
		detail := strings.TrimSpace(printable(l.Detail))
		if runes := []rune(detail); len(runes) > 100 {
			detail = string(runes[:99]) + "…"
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%d\t%s\t%s\n", l.ID, l.CreatedAt.Format(time.DateTime),
			printable(l.Reason), printable(l.Place()), l.Size, l.Status, detail)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write the list: %w", err)
	}
	if rest := total - int64(len(letters)); rest > 0 {
		fmt.Fprintf(c.Out, "and %d more: --limit, or --reason, --topic, --since, --until\n", rest)
	}
	return nil
}

func (c *command) deadLettersShow() *cobra.Command {
	var database string
	var raw, asJSON bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show a dead letter with its payload",
		Long: `Shows a dead letter with its payload. Control characters are shown as escapes; --raw writes the
payload's bytes as they are, and nothing else.`,
		Example: `  firstclick dead-letters show 17
  firstclick dead-letters show 17 --raw > payload.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef(cmd, "show needs one ID, as list shows it")
			}
			ids, err := letterIDs(cmd, args)
			if err != nil {
				return err
			}
			if raw && asJSON {
				return usagef(cmd, "--raw and --json: give one")
			}
			return c.withLetters(cmd, database, "", func(ctx context.Context, store *deadletters.Store) error {
				letter, err := store.Show(ctx, ids[0])
				switch {
				case err != nil:
					return err
				case raw && !letter.Kept:
					return &deadletters.NotKeptError{ID: letter.ID, Size: letter.Size}
				case raw:
					_, err := c.Out.Write(letter.Payload)
					return err
				case asJSON:
					return c.printJSON(letter)
				}
				return c.printLetter(&letter)
			})
		},
	}
	databaseFlag(cmd.Flags(), &database)
	defineSwitch(cmd.Flags(), &raw, "raw", "", "write the payload's bytes and nothing else")
	defineSwitch(cmd.Flags(), &asJSON, "json", "", "print JSON, the payload in base64")
	return cmd
}

func (c *command) printLetter(l *deadletters.Letter) error {
	status, recorded, payload := string(l.Status), "unknown", printable(string(l.Payload))
	if l.ResolvedAt != nil {
		status += " " + l.ResolvedAt.Format(time.RFC3339)
	}
	if l.RecordTime != nil {
		recorded = l.RecordTime.Format(time.RFC3339Nano)
	}
	switch {
	case !l.Kept:
		payload = "(not kept: larger than 1 MiB)"
	case l.Payload == nil:
		payload = "(the record had no value)"
	}
	_, err := fmt.Fprintf(c.Out, `id           %d
group        %s
record       %s
record time  %s
since        %s
reason       %s
detail       %s
status       %s
payload      %d bytes, sha256 %s

%s
`, l.ID, printable(l.Group), printable(l.Place()), recorded, l.CreatedAt.Format(time.RFC3339),
		printable(l.Reason), printable(l.Detail), status, l.Size, l.SHA256, payload)
	return err
}

// letterIDs returns the IDs that were typed, sorted, each once.
func letterIDs(cmd *cobra.Command, args []string) ([]int64, error) {
	var ids []int64
	for _, arg := range args {
		id, err := strconv.ParseInt(arg, 10, 64)
		if err != nil || id < 1 {
			return nil, usagef(cmd, "%s is not the ID of a dead letter: a whole number, as list shows it",
				quoteWord(arg))
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}
