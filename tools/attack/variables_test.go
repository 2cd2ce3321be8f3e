//go:build attack

package attack

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A variable of the environment that is wrong ends what needs it with one line and exit code 2, and
// harms nothing else.
func TestWrongVariables(t *testing.T) {
	for _, variable := range []string{
		"PGSSLROOTCERT=/nope", "PGSSLMODE=bogus", "PGSERVICE=nope", "PGCONNECT_TIMEOUT=abc", "PGPORT=abc",
		"PGTARGETSESSIONATTRS=bogus",
		"PGSSLCERT=/nope", "PGSERVICEFILE=/nope", "KAFKA_BROKERS=:::", "KAFKA_CA_FILE=/nope", "KAFKA_SASL=bogus",
		"DATABASE_URL=jdbc:nonsense",
	} {
		name, _, _ := strings.Cut(variable, "=")
		run := func(args ...string) (code int, said string) {
			t.Helper()
			command := exec.CommandContext(t.Context(), built, args...)
			command.Env = []string{"PATH=" + os.Getenv("PATH"), variable}
			if name != "PGSERVICE" { // which is looked up in the file
				command.Env = append(command.Env, "HOME="+t.TempDir())
			}
			out, err := command.CombinedOutput()
			if command.ProcessState == nil {
				t.Fatal(err)
			}
			return command.ProcessState.ExitCode(), string(out)
		}
		for _, args := range [][]string{{"version"}, {"run", "--help"}} {
			if code, said := run(args...); code != 0 || strings.Contains(said, "panic") {
				t.Errorf("%s: %v ended with %d: %.120q", variable, args, code, said)
			}
		}
		code, said := run("run", "--dry-run")
		if strings.Contains(said, "panic") || strings.Contains(said, "goroutine ") || code != 0 &&
			(code != 2 || strings.Count(said, "\n") != 1) {
			t.Errorf("%s: run ended with %d: %.120q", variable, code, said)
		}
	}
}
