package cli

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Set by the linker in releases: -ldflags "-X firstclick/internal/cli.version=v1.2.3 -X
// firstclick/internal/cli.commit=...".
var version, commit string

// build is what this binary was made from.
type build struct{ version, commit, goVersion string }

func thisBuild() build {
	b := build{version, commit, "unknown"}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.goVersion = info.GoVersion
		b.version = orText(b.version, info.Main.Version) // of `go install module@version`
		vcs := map[string]string{}
		for _, s := range info.Settings {
			vcs[s.Key] = s.Value
		}
		if b.commit == "" && vcs["vcs.revision"] != "" {
			b.commit = vcs["vcs.revision"]
			if vcs["vcs.modified"] == "true" {
				b.commit += "+modified"
			}
		}
	}
	if b.version == "" || b.version == "(devel)" {
		b.version = "dev"
	}
	b.commit = orText(b.commit, "unknown")
	return b
}

func (b build) String() string {
	return fmt.Sprintf("firstclick %s, commit %s, %s", b.version, b.commit, b.goVersion)
}

func (c *command) version() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print version, commit and Go version",
		Example: "  firstclick version",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(c.Out, thisBuild())
			return err
		},
	}
}
