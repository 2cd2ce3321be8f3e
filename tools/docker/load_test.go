package docker_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	firstclick "firstclick/internal/cli"
)

// top is the repository's top directory, where the compose file stands.
func top(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top(t), path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// load reads the compose file as `docker compose` does. Without profiles those of .env.example, as
// make has it. The variables are all that there are: this machine's have no say.
func load(t *testing.T, vars map[string]string, profiles ...string) *types.Project {
	t.Helper()
	var env []string
	for name, value := range vars {
		env = append(env, name+"="+value)
	}
	with := cli.WithDefaultProfiles()
	if len(profiles) > 0 {
		with = cli.WithProfiles(profiles)
	}
	options, err := cli.NewProjectOptions([]string{filepath.Join(top(t), "docker-compose.yml")},
		cli.WithWorkingDirectory(top(t)), cli.WithEnv(env), cli.WithEnvFiles(filepath.Join(top(t),
			".env.example")), cli.WithDotEnv, with)
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatalf("profiles %v: %v", profiles, err)
	}
	return project
}

// everything is the compose file with all of its services.
func everything(t *testing.T) *types.Project {
	t.Helper()
	return load(t, nil, "core", "generator", "monitoring", "scale")
}

// environment is what a service's container is given.
func environment(service types.ServiceConfig) map[string]string {
	vars := map[string]string{}
	for name, value := range service.Environment {
		if value != nil {
			vars[name] = *value
		}
	}
	return vars
}

// ours lists the services that run firstclick.
func ours(project *types.Project) map[string]types.ServiceConfig {
	found := map[string]types.ServiceConfig{}
	for name, service := range project.Services {
		if strings.HasPrefix(service.Image, "firstclick:") {
			found[name] = service
		}
	}
	return found
}

// surface is what a command of the program takes, by its own help. Flags without a value look for
// their variables in the order of their names: last is the variable of the last one.
type surface struct {
	flags, variables map[string]bool
	last             string
}

func help(t *testing.T, command string) surface {
	t.Helper()
	var out strings.Builder
	none := func(string) (string, bool) { return "", false }
	if err := firstclick.Run(t.Context(), []string{command, "--help"},
		firstclick.Streams{Out: &out, Err: &out, Env: none}); err != nil {
		t.Fatalf("firstclick %s --help: %v", command, err)
	}
	s := surface{flags: map[string]bool{}, variables: map[string]bool{}}
	var lastFlag string
	for _, m := range regexp.MustCompile(`(?m)^ `+
		`+--([a-z][a-z-]*).*\[([A-Z][A-Z_]+)`).FindAllStringSubmatch(out.String(), -1) {
		if m[1] > lastFlag {
			lastFlag, s.last = m[1], m[2]
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z][a-z-]*)`).FindAllStringSubmatch(out.String(), -1) {
		s.flags[m[1]] = true
	}
	for _, name := range regexp.MustCompile(`\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*\b`).FindAllString(out.String(), -1) {
		s.variables[name] = true
	}
	if !s.flags["log-level"] || !s.variables["LOG_LEVEL"] {
		t.Fatalf("firstclick %s --help is not read right: %v", command, s)
	}
	return s
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
