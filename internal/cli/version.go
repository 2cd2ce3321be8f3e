package cli

import (
	"fmt"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
)

// Set by the linker in releases: -ldflags "-X firstclick/internal/cli.version=v1.2.3 -X firstclick/internal/cli.commit=...".
var version, commit string

// build is what this binary was made from.
type build struct{ version, commit, goVersion string }

func thisBuild() build {
	b := build{version: version, commit: commit, goVersion: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if ok {
		b.goVersion = info.GoVersion
		if b.version == "" {
			b.version = info.Main.Version // of `go install module@version`
		}
		modified := ""
		for _, s := range info.Settings {
			if s.Key == "vcs.modified" && s.Value == "true" {
				modified = "+modified"
			}
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && b.commit == "" {
				b.commit = s.Value + modified
			}
		}
	}
	if b.version == "" || b.version == "(devel)" {
		b.version = "dev"
	}
	if b.commit == "" {
		b.commit = "unknown"
	}
	return b
}

func (b build) String() string {
	return fmt.Sprintf("firstclick %s, commit %s, %s", b.version, b.commit, b.goVersion)
}

// metric is firstclick_build_info: always 1, with the versions as labels, as Prometheus' own programs have it.
func (b build) metric() prometheus.Collector {
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "firstclick_build_info",
		Help:        "Always 1; the labels say what this binary was built from.",
		ConstLabels: prometheus.Labels{"version": b.version, "revision": b.commit, "goversion": b.goVersion},
	})
	gauge.Set(1)
	return gauge
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
