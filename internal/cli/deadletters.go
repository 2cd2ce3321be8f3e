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
	"firstclick/join"
)

// selecting is what the flags of list, retry and drop say about which letters are meant.
type selecting struct {
	database     string
	group        string
	reasons      []string
	topic        string
	since, until moment
	status       string
	json         bool
}

func (s *selecting) flags(fs *pflag.FlagSet, status string) {
	databaseFlag(fs, &s.database)
	define(fs, &s.group, "group", "KAFKA_GROUP", "name", "firstclick", parseNonEmpty, "consumer group whose dead letters are meant")
	define(fs, &s.reasons, "reason", "", "word,...", "", parseReasons, "only these reasons, such as json,future (docs/operations.md has them all)")
	define(fs, &s.topic, "topic", "", "name", "", parseText, "only of this topic")
	define(fs, &s.since, "since", "", "when", "", parseAgo, "only those since then: a time (RFC 3339), or how long ago (2h)")
	define(fs, &s.until, "until", "", "when", "", parseAgo, "only those before then, likewise")
	offering(define(fs, &s.status, "status", "", "status", status, oneOf("open", "retried", "dropped", "any"), "open, retried, dropped or any"),
		"open", "retried", "dropped", "any")
	defineSwitch(fs, &s.json, "json", "", "print JSON")
}

// parseReasons takes words, separated by commas. It refuses one that no dead letter can have: a mistyped one must not pass for "there are none".
func parseReasons(text string) ([]string, error) {
	var known []string
	for _, r := range join.Reasons() {
		known = append(known, string(r))
	}
	var words []string
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		if _, err := oneOf(known...)(word); err != nil {
			return nil, err
		}
		words = append(words, word)
	}
	return words, nil
}

func (s *selecting) filter(ids []int64) deadletters.Filter {
	now := time.Now()
	return deadletters.Filter{
		IDs: ids, Group: s.group, Reasons: s.reasons, Topic: s.topic, Since: s.since.at(now), Until: s.until.at(now),
		Status: deadletters.Status(s.status),
	}
}

// narrows says whether anything but the group was asked for.
func (s *selecting) narrows() bool {
	return len(s.reasons) > 0 || s.topic != "" || s.since != moment{} || s.until != moment{}
}

func (c *command) deadLetters() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead-letters",
		Short: "Look at records that could become no row; send them again",
		Long: `Records that could become no row are kept in firstclick.dead_letters with reason and payload.
list and show look at them, retry sends them to their topic again, drop puts them aside.`,
		Example: `  firstclick dead-letters list
  firstclick dead-letters show 17
  firstclick dead-letters retry 17 --edit mended.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.deadLettersList(), c.deadLettersShow(), c.deadLettersRetry(), c.deadLettersDrop())
	return cmd
}

// withLetters opens the table for fn.
func (c *command) withLetters(cmd *cobra.Command, database string, fn func(ctx context.Context, store *deadletters.Store) error) (err error) {
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
	return fn(ctx, store)
}

// withGroup opens it for the letters of a group, which must be there: a mistyped one must not pass for one without dead letters.
func (c *command) withGroup(cmd *cobra.Command, s *selecting, fn func(ctx context.Context, store *deadletters.Store) error) error {
	return c.withLetters(cmd, s.database, func(ctx context.Context, store *deadletters.Store) error {
		err := store.Group(ctx, s.group)
		if unknown := new(deadletters.UnknownGroupError); errors.As(err, &unknown) {
			return usagef(cmd, "%v", err)
		}
		if err != nil {
			return err
		}
		return fn(ctx, store)
	})
}

func (c *command) deadLettersList() *cobra.Command {
	var s selecting
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, the newest first",
		Example: `  firstclick dead-letters list
  firstclick dead-letters list --reason json,time --since 2h
  firstclick dead-letters list --status any --limit 0 --json | jq '.[].id'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withGroup(cmd, &s, func(ctx context.Context, store *deadletters.Store) error {
				letters, err := store.List(ctx, s.filter(nil), limit)
				if err != nil {
					return err
				}
				if s.json {
					if letters == nil {
						letters = []deadletters.Letter{}
					}
					return c.printJSON(letters)
				}
				total, err := store.Count(ctx, s.filter(nil))
				if err != nil {
					return err
				}
				return c.printLetters(letters, total, s.status)
			})
		},
	}
	s.flags(cmd.Flags(), "open")
	define(cmd.Flags(), &limit, "limit", "", "n", "100", parseWhole(0, 100_000_000), "list at most so many; 0: all")
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
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%d\t%s\t%s\n", l.ID, l.CreatedAt.Format("2006-01-02 15:04:05"), harmless(l.Reason),
			harmless(l.Place()), l.Size, l.Status, cut(harmless(l.Detail), 100))
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
		Long: `Shows a dead letter with its payload. Characters that a terminal would obey are shown as escapes;
--raw writes the payload's bytes as they are, and nothing else.`,
		Example: `  firstclick dead-letters show 17
  firstclick dead-letters show 17 --raw > payload.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef(cmd, "show needs one ID, as list shows it")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := letterIDs(cmd, args)
			if err != nil {
				return err
			}
			if raw && asJSON {
				return usagef(cmd, "--raw and --json: give one")
			}
			return c.withLetters(cmd, database, func(ctx context.Context, store *deadletters.Store) error {
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
	resolved := ""
	if l.ResolvedAt != nil {
		resolved = " " + l.ResolvedAt.Format(time.RFC3339)
	}
	recorded := "unknown"
	if l.RecordTime != nil {
		recorded = l.RecordTime.Format(time.RFC3339Nano)
	}
	payload := harmless(string(l.Payload))
	switch {
	case !l.Kept:
		payload = "(not kept: larger than 1 MiB)"
	case l.Payload == nil:
		payload = "(the record had no value)"
	}
	_, err := fmt.Fprintf(c.Out, "id           %d\ngroup        %s\nrecord       %s\nrecord time  %s\nsince        %s\nreason       %s\ndetail       %s\n"+
		"status       %s%s\npayload      %d bytes, sha256 %s\n\n%s\n", l.ID, harmless(l.Group), harmless(l.Place()), recorded, l.CreatedAt.Format(time.RFC3339),
		harmless(l.Reason), harmless(l.Detail), l.Status, resolved, l.Size, l.SHA256, payload)
	return err
}

// letterIDs reads the IDs that were typed, each once.
func letterIDs(cmd *cobra.Command, args []string) ([]int64, error) {
	var ids []int64
	for _, arg := range args {
		id, err := strconv.ParseInt(arg, 10, 64)
		if err != nil || id < 1 {
			return nil, usagef(cmd, "%s is not the ID of a dead letter, a whole number as list shows it", typedWord(arg))
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

func harmless(text string) string { return deadletters.Printable([]byte(text)) }

// cut shortens a text to n characters.
func cut(text string, n int) string {
	if runes := []rune(text); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return strings.TrimSpace(text)
}
