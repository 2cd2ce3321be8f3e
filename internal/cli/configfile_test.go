package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// written makes a temporary file.
func written(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "firstclick.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// dryRun returns the lines of run --dry-run by setting: value and source, separated by a bar.
func dryRun(t *testing.T, vars map[string]string, args ...string) map[string]string {
	t.Helper()
	out, log, err := invoke(t.Context(), vars, append([]string{"run", "--dry-run"}, args...)...)
	if err != nil || log != "" {
		t.Fatalf("%v, log %q", err, log)
	}
	lines := map[string]string{}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		name := strings.TrimPrefix(fields[0], "--")
		rest := strings.TrimSpace(strings.TrimPrefix(line, fields[0]))
		value, source, ok := strings.Cut(rest, "  ")
		if !ok {
			t.Fatalf("line %q", line)
		}
		lines[name] = value + "|" + strings.TrimSpace(source)
	}
	return lines
}

// Flag over environment over file over default, in every combination.
func TestPrecedence(t *testing.T) {
	file := written(t, "# what holds for all\nwindow: 10m\ngroup: of-the-file\n")
	for name, row := range map[string]struct {
		flag, variable, file bool
		want                 string
	}{
		"flag over all":             {true, true, true, "30m|flag"},
		"flag over environment":     {true, true, false, "30m|flag"},
		"flag over file":            {true, false, true, "30m|flag"},
		"flag alone":                {true, false, false, "30m|flag"},
		"environment over file":     {false, true, true, "20m|environment WINDOW"},
		"environment alone":         {false, true, false, "20m|environment WINDOW"},
		"file alone":                {false, false, true, "10m|file " + file + ":2"},
		"default":                   {false, false, false, "1h|default"},
		"empty variable, then file": {false, false, true, "10m|file " + file + ":2"},
	} {
		t.Run(name, func(t *testing.T) {
			vars := map[string]string{"WINDOW": ""}
			var args []string
			if row.flag {
				args = append(args, "--window", "30m")
			}
			if row.variable {
				vars["WINDOW"] = "20m"
			}
			if row.file {
				vars["CONFIG"] = file
			}
			got := dryRun(t, vars, args...)
			if got["window"] != row.want {
				t.Errorf("got %q, want %q", got["window"], row.want)
			}
			if want := map[bool]string{true: "of-the-file|file " + file + ":3",
				false: "firstclick|default"}[row.file]; got["group"] != want {
				t.Errorf("group: got %q, want %q", got["group"], want)
			}
		})
	}
}

// Every setting can be in the file, and has the same effect as by its variable.
func TestEverySettingInTheFile(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := written(t, `
kafka: [a:1, "b"]
kafka-tls: true
kafka-sasl: scram-sha-512
kafka-user: shop
kafka-password-file: `+secret+`
database: postgres://app:hush@db:5433/shop
clicks-topic: shop.clicks
checkouts-topic: orders
group: g
group-instance: shop-0
start: 2026-01-31T15:04:05+01:00
window: 90m
lateness: 5m
out-of-order: 1s
users-cache: 1_000
memory-limit: 512MiB
time-zone: Europe/Berlin
listen: :9000
ui-actions: false
no-migrate: true
pprof: true
log-format: json
log-level: debug
`)
	got := dryRun(t, nil, "--config", file)
	for name, want := range map[string]string{
		"kafka": "a:1,b|file " + file + ":2", "kafka-tls": "true|file " + file + ":3",
		"kafka-password": "set, not shown|file " + file + ":6",
		"database":       "postgres://app@db:5433/shop|file " + file + ":7",
		"start":          "2026-01-31T15:04:05+01:00|file " + file + ":12",
		"users-cache":    "1_000|file " + file + ":16", "memory-limit": "512MiB|file " + file + ":17",
		"listen":    ":9000|file " + file + ":19",
		"log-level": "debug|file " + file + ":24", "config": file + "|flag", "until-caught-up": "false|default",
	} {
		if got[name] != want {
			t.Errorf("%s: got %q, want %q", name, got[name], want)
		}
	}
	for name, line := range got {
		if strings.Contains(line, "hush") {
			t.Errorf("%s shows a secret: %q", name, line)
		}
	}
	if n := len(settingNames(newRoot(Streams{Env: environment(nil)}))); n < 25 {
		t.Errorf("only %d settings can stand in a file", n)
	}
	// Other commands accept the same file and ignore keys that are not theirs. Flags of the same
	// name without a variable are not set.
	for _, args := range []string{"version", "generate --help"} {
		if _, _, err := invoke(t.Context(), map[string]string{"CONFIG": file}, strings.Fields(args)...); err != nil {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func TestConfigurationRefused(t *testing.T) {
	for name, row := range map[string]struct {
		content, says string
		vars          map[string]string
	}{
		"unknown key": {"window: 1h\nwindwo: 2h\n", `:2: unknown key "windwo"; did you mean window?`, nil},
		"nothing like it": {"colour: red\n",
			`:1: unknown key "colour"; allowed are checkouts-topic, clicks-topic,`, nil},
		"a variable":  {"KAFKA_BROKERS: a:1\n", `:1: unknown key "KAFKA_BROKERS"; did you mean kafka?`, nil},
		"underscores": {"log_level: warn\n", `:1: unknown key "log_level"; did you mean log-level?`, nil},
		"a flag for one call": {"until-caught-up: true\n",
			`:1: unknown key "until-caught-up"; --until-caught-up is for the command line`, nil},
		"itself": {"config: other.yaml\n", `unknown key "config"`, nil},
		"twice":  {"window: 1h\ngroup: g\nwindow: 2h\n", `:3: "window" is already in line 1`, nil},
		"value":  {"group: g\nwindow: soon\n", `:2: window: "soon" is not a duration`, nil},
		"a secret that is wrong": {"database: postgres://u:hush@[h/d\n",
			`:1: database: is not a Postgres connection string`, nil},
		"nested":         {"kafka:\n  brokers: a:1\n", `:1: kafka needs a plain value`, nil},
		"list in a list": {"kafka: [[a]]\n", `:1: kafka needs a plain value`, nil},
		"alias":          {"group: &a g\nkafka-user: *a\n", `:2: kafka-user needs a plain value`, nil},
		"no value":       {"group:\n", `:1: group has no value`, nil},
		"no mapping":     {"- window\n", `:1: expected lines such as`, nil},
		"two documents":  {"window: 1h\n---\nwindow: 2h\n", `more than one document`, nil},
		"no YAML":        {"window: 1h\n group: x: y\n", `line 2`, nil},
		"secret twice": {"kafka-password: hush\nkafka-password-file: f\n",
			`:2: kafka-password and kafka-password-file are both set`, nil},
		"secret's file": {"kafka-password-file: no/such/file\n",
			`:1: kafka-password-file: read the file that it names: no such file`, nil},
		"not for a file":      {"window-file: f\n", `unknown key "window-file"`, nil},
		"two that do not fit": {"clicks-topic: x\n", `must differ`, map[string]string{"CHECKOUTS_TOPIC": "x"}},
		"file of the page":    {"listen-auth-file: no/such/file\n", `--listen-auth-file: `, nil},
		"huge":                {"group: " + strings.Repeat("x", configAtMost), `larger than 1 MiB`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := invoke(t.Context(), row.vars, "run", "--dry-run", "--config", written(t, row.content))
			var usage *UsageError
			if !errors.As(err, &usage) {
				t.Fatalf("got %v, want a usage error", err)
			}
			if !strings.Contains(err.Error(), row.says) || strings.Contains(err.Error(), "hush") ||
				strings.Contains(err.Error(), "\n") {
				t.Errorf("%q does not say %q", err, row.says)
			}
		})
	}
	for name, content := range map[string]string{"empty": "", "comments": "# nothing\n", "marker": "---\n"} {
		if _, _, err := invoke(t.Context(), nil, "run", "--dry-run", "--config", written(t, content)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := invoke(t.Context(), map[string]string{"CONFIG": "no/such.yaml"}, "run", "--dry-run"); err == nil ||
		!strings.Contains(err.Error(), "no such file") {
		t.Errorf("a file that is not there: %v", err)
	}
	// A wrong file does not prevent help, completion and manual.
	for _, args := range []string{"help run", "run --help", "completion bash", "man", "__complete run --log-"} {
		if _, _, err := invoke(t.Context(), map[string]string{"CONFIG": "no/such.yaml", "WINDOW": "soon"},
			strings.Fields(args)...); err != nil {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// A dry run connects to nothing: nobody listens at the addresses, and it does not wait.
func TestDryRun(t *testing.T) {
	secret := written(t, "hush\n")
	got := dryRun(
		t,
		map[string]string{"KAFKA_PASSWORD_FILE": secret, "PGPASSWORD": "hush", "KAFKA_USER": "shop"},
		"--kafka",
		"192.0.2.1:9",
		"--kafka-sasl",
		"plain",
		"--database",
		"postgres://a@192.0.2.1/d",
		"--memory-limit",
		"half",
	)
	for name, want := range map[string]string{
		"kafka": "192.0.2.1:9|flag", "kafka-password": "set, not shown|environment KAFKA_PASSWORD_FILE",
		"kafka-user": "shop|environment KAFKA_USER",
		"database":   "postgres://a@192.0.2.1:5432/d|flag", "PGPASSWORD": "set, not shown|environment PGPASSWORD",
	} {
		if got[name] != want {
			t.Errorf("%s: got %q, want %q", name, got[name], want)
		}
	}
	if !strings.HasPrefix(got["memory-limit"], "half (") || !strings.HasSuffix(got["memory-limit"], " MiB)|flag") {
		t.Errorf("memory limit: %q", got["memory-limit"])
	}
	for _, args := range []string{"--window 1y", "--kafka-ca x", "--ui-actions",
		"--clicks-topic a --checkouts-topic a"} {
		_, _, err := invoke(t.Context(), nil, append([]string{"run", "--dry-run"}, strings.Fields(args)...)...)
		var usage *UsageError
		if !errors.As(err, &usage) {
			t.Errorf("%s: %v", args, err)
		}
	}
}
