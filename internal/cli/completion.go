package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (c *command) completion() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a script with which a shell completes commands, flags and values",
		Long: `Prints a script for the shell. Load it in the running shell as in the examples, or put it where the
shell looks for such scripts:

  bash  /usr/share/bash-completion/completions/firstclick (needs the package bash-completion)
  zsh   a file _firstclick in a directory of $fpath, with compinit loaded
  fish  ~/.config/fish/completions/firstclick.fish`,
		Example: `  source <(firstclick completion bash)
  source <(firstclick completion zsh)
  firstclick completion fish | source`,
		ValidArgs:         []string{"bash", "zsh", "fish"},
		PersistentPreRunE: ignoreSettings,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef(cmd, "completion needs a shell: bash, zsh or fish")
			}
			switch root := cmd.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(c.Out, true)
			case "zsh":
				return root.GenZshCompletion(c.Out)
			case "fish":
				return root.GenFishCompletion(c.Out, true)
			}
			return usagef(cmd, "there is no completion for %s: bash, zsh or fish", quoteWord(args[0]))
		},
	}
}

// completeFlags says how to complete the value of every flag: by words, files, directories or not
// at all.
func completeFlags(cmd *cobra.Command) {
	register := func(flag *pflag.Flag) {
		words, directive := optionOf(flag).words, cobra.ShellCompDirectiveNoFileComp
		switch flag.Value.Type() {
		case kindSwitch:
			return
		case "file":
			directive = cobra.ShellCompDirectiveDefault
		case "dir":
			directive = cobra.ShellCompDirectiveFilterDirs
		}
		if err := cmd.RegisterFlagCompletionFunc(flag.Name, cobra.FixedCompletions(words, directive)); err != nil {
			panic(fmt.Sprintf("completion of --%s: %v", flag.Name, err)) // registered twice
		}
	}
	cmd.LocalNonPersistentFlags().VisitAll(register)
	cmd.PersistentFlags().VisitAll(register)
	if cmd.ValidArgsFunction == nil && len(cmd.ValidArgs) == 0 {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, sub := range cmd.Commands() {
		completeFlags(sub)
	}
}
