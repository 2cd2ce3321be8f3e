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

// editAtMost is how much of an edited payload is read: more than fits into a record that is not a dead letter again.
const editAtMost = 2 << 20

// resolving is what retry and drop have in common: which letters, and whether that many are meant.
type resolving struct {
	selecting
	yes, all bool
}

func (r *resolving) flags(fs *pflag.FlagSet) {
	r.selecting.flags(fs, "open")
	defineSwitch(fs, &r.yes, "yes", "", "by a filter: do it also for more than one")
	defineSwitch(fs, &r.all, "all", "", "without ids and filters: all of the group")
}

// check refuses what says too little about what is meant.
func (r *resolving) check(cmd *cobra.Command, args []string) (ids []int64, err error) {
	if ids, err = letterIDs(cmd, args); err != nil {
		return nil, err
	}
	switch {
	case len(ids) > 0 && (r.narrows() || r.all):
		return nil, usagef(cmd, "%s takes IDs or filters, not both", cmd.Name())
	case len(ids) == 0 && !r.narrows() && !r.all:
		return nil, usagef(cmd, "%s needs IDs, a filter (--reason, --topic, --since, --until) or --all", cmd.Name())
	}
	return ids, nil
}

// agreed counts what is meant: more than one by a filter needs --yes. IDs speak for themselves.
func (r *resolving) agreed(ctx context.Context, cmd *cobra.Command, store *deadletters.Store, f deadletters.Filter) error {
	if r.yes || f.IDs != nil {
		return nil
	}
	n, err := store.Count(ctx, f)
	if err != nil {
		return err
	}
	if n > 1 {
		return usagef(cmd, "this would %s %d dead letters: look at them with firstclick dead-letters list, then add --yes", cmd.Name(), n)
	}
	return nil
}

func (c *command) deadLettersRetry() *cobra.Command {
	var r resolving
	var kafka kafkaconn.Config
	var edit string
	cmd := &cobra.Command{
		Use:   "retry [ID...]",
		Short: "Send dead letters to their topic again",
		Long: `Sends the payloads to their topics again, with the time of now as the record's, and marks the dead
letters as retried. Events are idempotent: sending one twice changes nothing. What is still wrong
becomes a new dead letter. Rows that are final already and would move are left to firstclick repair.
--edit sends a mended payload in place of the one that was kept, from a file or (-) from standard input.`,
		Example: `  firstclick dead-letters retry 17 18
  firstclick dead-letters retry --reason refused --since 2h --yes
  firstclick dead-letters show 17 --raw | jq '.total_amount = 12' | firstclick dead-letters retry 17 --edit -`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := r.check(cmd, args)
			if err != nil {
				return err
			}
			if err := checkKafka(cmd, kafka); err != nil {
				return err
			}
			edited, err := c.edited(cmd, edit, ids)
			if err != nil {
				return err
			}
			return c.withGroup(cmd, &r.selecting, func(ctx context.Context, store *deadletters.Store) error {
				filter := r.filter(ids)
				if err := r.agreed(ctx, cmd, store, filter); err != nil {
					return err
				}
				if err := reachKafka(ctx, c.quietLogger(cmd), kafka); err != nil {
					return err
				}
				done, err := store.Retry(ctx, deadletters.Retry{Kafka: kafka, Filter: filter, Edited: edited})
				return errors.Join(err, c.printRetries(&r, ids, done, err == nil))
			})
		},
	}
	r.flags(cmd.Flags())
	kafkaFlags(cmd.Flags(), &kafka)
	define(cmd.Flags(), &edit, "edit", "", "file", "", parseText, "for one ID: send this payload instead; - is standard input")
	return cmd
}

func (c *command) printRetries(r *resolving, ids []int64, done deadletters.Retries, all bool) error {
	if r.json {
		return c.printJSON(done)
	}
	fmt.Fprintf(c.Out, "%d sent again\n", done.Sent)
	if all { // else the error says why the others were not sent
		c.printLeftAlone(r, int64(len(ids))-done.Sent)
	}
	if n := len(done.NotKept); n > 0 {
		fmt.Fprintf(c.Out, "%d left open, as their payload was not kept and Kafka has it no more, or it is over 1 MiB, such as %d: give one with --edit\n", n, done.NotKept[0])
	}
	return nil
}

// printLeftAlone says how many of the letters that were named have another status than was meant.
func (c *command) printLeftAlone(r *resolving, rest int64) {
	if rest > 0 {
		fmt.Fprintf(c.Out, "%d left alone, as they are not %s (--status)\n", rest, r.status)
	}
}

// edited reads the payload that --edit names; nil: the flag was not given.
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
	if payload == nil {
		payload = []byte{}
	}
	return payload, nil
}

func (c *command) deadLettersDrop() *cobra.Command {
	var r resolving
	cmd := &cobra.Command{
		Use:   "drop [ID...]",
		Short: "Mark dead letters as dropped: nothing will be done about them",
		Long: `Marks dead letters as dropped, so that they are no longer listed as open. They stay in the table,
and can still be sent again: retry ID --status dropped.`,
		Example: `  firstclick dead-letters drop 17 18
  firstclick dead-letters drop --reason empty --until 24h --yes`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := r.check(cmd, args)
			if err != nil {
				return err
			}
			return c.withGroup(cmd, &r.selecting, func(ctx context.Context, store *deadletters.Store) error {
				filter := r.filter(ids)
				if err := r.agreed(ctx, cmd, store, filter); err != nil {
					return err
				}
				n, err := store.Drop(ctx, filter)
				if err != nil {
					return err
				}
				if r.json {
					return c.printJSON(map[string]int64{"dropped": n})
				}
				_, err = fmt.Fprintf(c.Out, "%d dropped\n", n)
				if r.status != "dropped" && r.status != "any" { // what those mean and is left was dropped before
					c.printLeftAlone(&r, int64(len(ids))-n)
				}
				return err
			})
		},
	}
	r.flags(cmd.Flags())
	return cmd
}
