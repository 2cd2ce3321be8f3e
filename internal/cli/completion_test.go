package cli

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// completions are what __complete gives, without descriptions.
func completions(t *testing.T, args ...string) (words []string, directive string) {
	t.Helper()
	out, _, err := invoke(
		t.Context(),
		map[string]string{"CONFIG": "no/such.yaml"},
		append([]string{"__complete"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if strings.HasPrefix(word, ":") {
			return words, word
		}
		words = append(words, word)
	}
	t.Fatalf("no directive: %q", out)
	return nil, ""
}

func TestCompletions(t *testing.T) {
	const words, files, dirs = ":4", ":0", ":16"
	for _, row := range []struct {
		args      []string
		has       []string
		directive string
	}{
		{[]string{""}, []string{"run", "verify", "dead-letters", "completion", "help"}, words},
		{[]string{"ver"}, []string{"verify", "version"}, words},
		{[]string{"run", ""}, nil, words},
		{[]string{"run", "--wind"}, []string{"--window"}, words},
		{[]string{"run", "--kafka-sasl", ""}, []string{"plain", "scram-sha-256", "scram-sha-512"}, words},
		{[]string{"run", "--start", ""}, []string{"earliest", "latest"}, words},
		{[]string{"run", "--kafka-ca", ""}, nil, files},
		{[]string{"run", "--config", ""}, nil, files},
		{[]string{"verify", "--temp-dir", ""}, nil, dirs},
		{[]string{"verify", "--log-level", ""}, []string{"debug", "info", "warn", "error"}, words},
		{[]string{"run", "--group", ""}, nil, words},
		{[]string{"dead-letters", ""}, []string{"list", "show", "retry", "drop"}, words},
		{[]string{"dead-letters", "list", "--status", ""}, []string{"open", "retried", "dropped", "any"}, words},
		{[]string{"completion", ""}, []string{"bash", "zsh", "fish"}, words},
		{[]string{"help", "dead-letters", ""}, []string{"retry"}, words},
	} {
		got, directive := completions(t, row.args...)
		for _, want := range row.has {
			if !slices.Contains(got, want) {
				t.Errorf("%q: %q is not among %q", row.args, want, got)
			}
		}
		if directive != row.directive || len(row.has) == 0 && len(got) > 0 {
			t.Errorf("%q: directive %s, %q", row.args, directive, got)
		}
	}
}

// bash reads the script and finds nothing wrong; zsh and fish do in shells_test.go.
func TestBashReadsItsScript(t *testing.T) {
	checkScript(t, "bash")
}

func checkScript(t *testing.T, shell string) {
	t.Helper()
	script, _, err := invoke(t.Context(), nil, "completion", shell)
	if err != nil || !strings.Contains(script, "__complete") {
		t.Fatalf("%v, %q", err, script)
	}
	cmd := exec.CommandContext(t.Context(), shell, "-n")
	if shell == "fish" {
		cmd.Args = []string{"fish", "--no-execute"}
	}
	cmd.Stdin = strings.NewReader(script)
	if said, err := cmd.CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("%s: %v: %s", shell, err, said)
	}
}
