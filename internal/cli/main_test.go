package cli

import (
	"bytes"
	"context"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// environment returns a map as the environment.
func environment(vars map[string]string) lookup {
	return func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
}

// invoke runs the command line and returns what it wrote.
func invoke(ctx context.Context, vars map[string]string, args ...string) (out, log string, err error) {
	var outBuffer, logBuffer bytes.Buffer
	err = Run(ctx, args, Streams{Out: &outBuffer, Err: &logBuffer, Env: environment(vars)})
	return outBuffer.String(), logBuffer.String(), err
}

// parseArgs parses args and variables for a command with the flags that flags adds, and then calls
// check.
func parseArgs(vars map[string]string, args []string, flags func(*pflag.FlagSet),
	check func(*cobra.Command) error,
) error {
	cmd := &cobra.Command{
		Use: "run", SilenceErrors: true, SilenceUsage: true, Args: noArguments,
		PreRunE: func(cmd *cobra.Command, _ []string) error { return resolve(cmd, environment(vars)) },
		RunE:    func(cmd *cobra.Command, _ []string) error { return check(cmd) },
	}
	flags(cmd.Flags())
	cmd.SetFlagErrorFunc(flagError)
	cmd.SetArgs(append([]string{}, args...))
	return cmd.Execute()
}
