package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"firstclick/deadletters"
	"firstclick/internal/kafkaconn"
)

// editAtMost is the largest edited payload in bytes: more than a record may have.
const editAtMost = 2 << 20

// resolveFlags are the flags of retry and drop.
type resolveFlags struct {
	letterFilter
	yes, all bool
}

func (r *resolveFlags) flags(fs *pflag.FlagSet) {
	r.letterFilter.flags(fs)
	defineSwitch(fs, &r.yes, "yes", "", "with a filter: also for more than one")
	defineSwitch(fs, &r.all, "all", "", "without ids and filters: all of the group")
}

// ids returns the IDs that were typed. Letters must be selected by IDs, by a filter or by --all.
func (r *resolveFlags) ids(cmd *cobra.Command, args []string) ([]int64, error) {
	ids, err := letterIDs(cmd, args)
	filtered := len(r.reasons) > 0 || r.topic != "" || !r.since.IsZero() || !r.until.IsZero()
	switch {
	case err != nil:
		return nil, err
	case len(ids) > 0 && (filtered || r.all):
		return nil, usagef(cmd, "%s takes IDs or filters, not both", cmd.Name())
	case len(ids) == 0 && !filtered && !r.all:
		return nil, usagef(cmd, "%s needs IDs, a filter (--reason, --topic, --since, --until) or --all", cmd.Name())
	}
	return ids, nil
}

// run calls do with the selected letters. More than one letter selected by a filter needs --yes.
func (r *resolveFlags) run(cmd *cobra.Command, c *command, ids []int64,
	do func(context.Context, *deadletters.Store, deadletters.Filter) error,
) error {
	return c.withLetters(cmd, r.database, r.group, func(ctx context.Context, store *deadletters.Store) error {
		filter := r.of(ids)
		if !r.yes && ids == nil {
			n, err := store.Count(ctx, filter)
			if err != nil {
				return err
			}
			if n > 1 {
				return usagef(cmd, "this would %s %d dead letters: "+
					"look at them with firstclick dead-letters list, then add --yes", cmd.Name(), n)
			}
		}
		return do(ctx, store, filter)
	})
}

// printSkipped says how many letters were named and have another status than --status.
func (r *resolveFlags) printSkipped(out io.Writer, n int64) {
	if n > 0 {
		fmt.Fprintf(out, "%d left alone, as they are not %s (--status)\n", n, r.status)
	}
}

func (c *command) deadLettersRetry() *cobra.Command {
	var r resolveFlags
	var kafka kafkaconn.Config
	var edit string
	cmd := &cobra.Command{
		Use:   "retry [ID...]",
		Short: "Send dead letters to their topic again",
		Long: `Sends the payloads to their topics again, with the current time as the record's timestamp, and marks the
dead letters as retried. Events are idempotent: sending one twice changes nothing. A record that is still
bad becomes a new dead letter. Rows that are already final and would change are left to firstclick repair.
--edit sends another payload instead of the one that was kept, from a file or (-) from standard input.`,
		Example: `  firstclick dead-letters retry 17 18
  firstclick dead-letters retry --reason refused --since 2h --yes
  firstclick dead-letters show 17 --raw | jq '.total_amount = 12' | firstclick dead-letters retry 17 --edit -`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := r.ids(cmd, args)
			if err == nil {
				err = checkKafka(cmd, kafka)
			}
			if err != nil {
				return err
			}
			edited, err := c.edited(cmd, edit, ids)
			if err != nil {
				return err
			}
			return r.run(cmd, c, ids, func(ctx context.Context, store *deadletters.Store, f deadletters.Filter) error {
				if err := reachKafka(ctx, c.quietLogger(cmd), kafka); err != nil {
					return err
				}
				done, err := store.Retry(ctx, deadletters.Retry{Kafka: kafka, Filter: f, Edited: edited})
				if r.json {
					return errors.Join(err, c.printJSON(done))
				}
				fmt.Fprintf(c.Out, "%d sent again\n", done.Sent)
				if err == nil { // else the error says why the others were not sent
					r.printSkipped(c.Out, int64(len(ids))-done.Sent)
				}
				if n := len(done.NotKept); n > 0 {
					fmt.Fprintf(c.Out, "%d left open, such as %d: the payload was not kept and is no longer in Kafka, "+
						"or it is over 1 MiB; give one with --edit\n", n, done.NotKept[0])
				}
				return err
			})
		},
	}
	r.flags(cmd.Flags())
	kafkaFlags(cmd.Flags(), &kafka)
	define(cmd.Flags(), &edit, "edit", "", "file", "", parseText,
		"for one ID: send this payload instead; - is standard input")
	return cmd
}

// edited reads the payload that --edit names; nil if the flag was not given.
func (c *command) edited(cmd *cobra.Command, name string, ids []int64) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	if len(ids) != 1 {
		return nil, usagef(cmd, "--edit is for one ID")
	}
	from := c.In
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, usagef(cmd, "--edit: %v", err)
		}
		defer file.Close()
		from = file
	}
	if from == nil {
		return nil, usagef(cmd, "--edit -: there is no standard input")
	}
	payload, err := io.ReadAll(io.LimitReader(from, editAtMost))
	if err != nil {
		return nil, fmt.Errorf("read the edited payload: %w", err)
	}
	return append([]byte{}, payload...), nil // an empty payload is not nil
}

func (c *command) deadLettersDrop() *cobra.Command {
	var r resolveFlags
	cmd := &cobra.Command{
		Use:   "drop [ID...]",
		Short: "Mark dead letters as dropped: nothing will be done about them",
		Long: `Marks dead letters as dropped, so that they are no longer listed as open. They stay in the table, and
can still be sent again: retry ID --status dropped.`,
		Example: `  firstclick dead-letters drop 17 18
  firstclick dead-letters drop --reason empty --until 24h --yes`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := r.ids(cmd, args)
			if err != nil {
				return err
			}
			return r.run(cmd, c, ids, func(ctx context.Context, store *deadletters.Store, f deadletters.Filter) error {
				n, err := store.Drop(ctx, f)
				if err != nil {
					return err
				}
				if r.json {
					return c.printJSON(map[string]int64{"dropped": n})
				}
				_, err = fmt.Fprintf(c.Out, "%d dropped\n", n)
				if r.status != "dropped" && r.status != "any" { // else the rest was dropped before
					r.printSkipped(c.Out, int64(len(ids))-n)
				}
				return err
			})
		},
	}
	r.flags(cmd.Flags())
	return cmd
}
