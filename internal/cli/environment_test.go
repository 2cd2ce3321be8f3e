package cli

import (
	"errors"
	"io"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// A wrong variable is one line and exit code 2 for a command that needs it, and no error for
// others. Nothing is parsed while the commands are built.
func TestEveryVariableWrongByItself(t *testing.T) {
	const nonsense = "/nowhere/n0nsense\x01"
	free := map[string]bool{ // any text is a value of these
		"KAFKA_USER": true, "KAFKA_PASSWORD": true, "KAFKA_GROUP": true, "KAFKA_GROUP_INSTANCE": true,
	}
	need := map[string]map[string]string{
		"KAFKA_CA":   {"KAFKA_TLS": "1"},
		"KAFKA_CERT": {"KAFKA_TLS": "1", "KAFKA_KEY": "x"},
		"KAFKA_KEY":  {"KAFKA_TLS": "1", "KAFKA_CERT": "x"},
	}
	run, _, err := newRoot(Streams{Out: io.Discard, Err: io.Discard, Env: environment(nil)}).Find([]string{"run"})
	if err != nil {
		t.Fatal(err)
	}
	refused := func(t *testing.T, vars map[string]string, name string) {
		t.Helper()
		_, _, err := invoke(t.Context(), vars, "run", "--dry-run")
		var usage *UsageError
		if !errors.As(err, &usage) || strings.Contains(err.Error(), "\n") ||
			strings.Contains(err.Error(), "n0nsense") && strings.HasPrefix(name, "PG") && name != "PGPASSWORD_FILE" {
			t.Errorf("run: %v", err)
		}
		if _, _, err := invoke(t.Context(), vars, "version"); err != nil && !strings.HasPrefix(name, "LOG_") &&
			name != "CONFIG" {
			t.Errorf("version: %v", err)
		}
	}
	seen := 0
	run.Flags().VisitAll(func(flag *pflag.Flag) {
		names := []string{optionOf(flag).env}
		if optionOf(flag).secret {
			names = append(names, names[0]+"_FILE")
		}
		for _, name := range names {
			if name == "" || free[name] {
				continue
			}
			seen++
			t.Run(name, func(t *testing.T) {
				vars := map[string]string{name: nonsense}
				maps.Copy(vars, need[name])
				refused(t, vars, name)
			})
		}
	})
	if seen < 20 {
		t.Errorf("only %d variables", seen)
	}
	for _, name := range []string{"PGPORT", "PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGSSLCERTMODE",
		"PGSSLNEGOTIATION", "PGSSLSNI", "PGCONNECT_TIMEOUT",
		"PGTARGETSESSIONATTRS", "PGMINPROTOCOLVERSION", "PGMAXPROTOCOLVERSION", "PGCHANNELBINDING", "PGREQUIREAUTH",
		"PGSERVICE"} {
		t.Run(name, func(t *testing.T) {
			for _, pair := range os.Environ() {
				if other, _, _ := strings.Cut(pair, "="); strings.HasPrefix(other, "PG") {
					t.Setenv(other, "")
				}
			}
			if err := os.Unsetenv("PGSSLCERTMODE"); err != nil { // the driver refuses an empty one
				t.Fatal(err)
			}
			t.Setenv(name, nonsense)
			// The default, like most values, has no port.
			refused(t, map[string]string{"DATABASE_URL": "postgres://app@db/shop"}, name)
		})
	}
	t.Run(
		"PGPASSWORD_FILE",
		func(t *testing.T) { refused(t, map[string]string{"PGPASSWORD_FILE": nonsense}, "PGPASSWORD_FILE") },
	)
}
