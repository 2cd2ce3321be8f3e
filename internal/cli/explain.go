package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"firstclick/audit"
)

// errUnexplained ends explain when the checkout is unknown or its row is wrong: the explanation has said what.
var errUnexplained = errors.New("the checkout is not as it should be: see the explanation")

func (c *command) explain() *cobra.Command {
	var a auditing
	cmd := &cobra.Command{
		Use:   "explain CHECKOUT_ID",
		Short: "Why has this checkout this click?",
		Long: `Shows a checkout's row, the clicks in its window and just outside with their times and offsets, which one
won and why, who was runner-up, where the user's name comes from, when the row was written and whether it
may still move; and whether it is what Kafka's records say. Of a checkout without a row it says where it
is: not read yet, a dead letter, or nowhere.

Changes nothing. Reads Kafka around the checkout's time; where the records' timestamps do not lead there
(a backlog that was produced later, or an id that has no row), the whole topic.
Exit code 1 when the checkout is unknown, missing or wrong.`,
		Example: `  firstclick explain 5f0c3c3e-6c55-4a9f-9b7e-0d3b0f6f2a11
  firstclick explain --json 5f0c3c3e-6c55-4a9f-9b7e-0d3b0f6f2a11 | jq .clicks
  firstclick explain -- -an-id-that-begins-with-a-hyphen`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef(cmd, "explain takes one checkout_id, but was given %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			config, err := a.config(cmd, c)
			if err != nil {
				return err
			}
			err = c.runExplain(cmd.Context(), config, args[0], a.json)
			if errors.Is(err, audit.ErrCheckoutID) {
				return usagef(cmd, "%v", err)
			}
			return settingsAsUsage(cmd, err)
		},
	}
	a.whereFlags(cmd.Flags())
	defineSwitch(cmd.Flags(), &a.json, "json", "", "print the explanation as JSON")
	return cmd
}

func (c *command) runExplain(ctx context.Context, config audit.Config, id string, asJSON bool) error {
	if err := reach(ctx, config.Logger, config.Kafka, config.Database); err != nil {
		return err
	}
	explanation, err := audit.Explain(ctx, config, id)
	if err != nil {
		return err
	}
	if err := c.print(explanation, asJSON); err != nil {
		return err
	}
	switch explanation.Verdict {
	case audit.VerdictWrong, audit.VerdictMissing, audit.VerdictUnknown:
		return errUnexplained
	}
	return nil
}
