package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (c *command) completion() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print what makes a shell complete commands, flags and their values",
		Long: `Prints a script for the shell. Load it in the running shell as in the examples, or put it where the
shell looks for such scripts:

  bash  /usr/share/bash-completion/completions/firstclick (needs the package bash-completion)
  zsh   a file _firstclick in a directory of $fpath, with compinit loaded
  fish  ~/.config/fish/completions/firstclick.fish`,
		Example: `  source <(firstclick completion bash)
  source <(firstclick completion zsh)
  firstclick completion fish | source`,
		ValidArgs: shells,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef(cmd, "completion needs a shell: bash, zsh or fish")
			}
			return nil
		},
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(c.Out, true)
			case "zsh":
				return root.GenZshCompletion(c.Out)
			case "fish":
				return root.GenFishCompletion(c.Out, true)
			}
			return usagef(cmd, "there is no completion for %s: bash, zsh or fish", typedWord(args[0]))
		},
	}
}

// completeFlags tells completion what every flag takes: words, files, directories, or something that nobody can guess.
func completeFlags(cmd *cobra.Command) {
	register := func(flag *pflag.Flag) {
		words, directive := flag.Annotations[annotationWords], cobra.ShellCompDirectiveNoFileComp
		switch flag.Value.Type() {
		case kindSwitch:
			return
		case "file":
			directive = cobra.ShellCompDirectiveDefault
		case "dir":
			directive = cobra.ShellCompDirectiveFilterDirs
		}
		err := cmd.RegisterFlagCompletionFunc(flag.Name, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return words, directive
		})
		if err != nil {
			panic(fmt.Sprintf("completion of --%s: %v", flag.Name, err)) // registered twice: found by the first test
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
