package cli

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// mistyped is the secret in every value of these tests. No message may repeat it.
const mistyped = "hush-hush"

// malformedBrokers and malformedDatabases are invalid: each is a usage error.
var malformedBrokers = []string{
	"SASL_SSL://app:hush-hush@b:9093", "app:hush-hush@b:9093", "b:9092,app:hush-hush@b:9092",
	"b:9092,SASL_PLAINTEXT://hush-hush@b",
	"app:hush-hush", "b:9092:hush-hush", "b:9092;password=hush-hush", "b:9092 password=hush-hush", `"hush-hush"`,
	"hush-hush@b", "kafka://hush-hush:x",
	"b:9092/hush-hush", "[hush-hush", "\ufeffapp:hush-hush@b:1", "b:9092?sasl.password=hush-hush",
	"SASL_SSL://app:hush-hush@b:9093\n", "b:9092\nhush-hush:9092:9",
}

var malformedDatabases = []string{
	"postgres://app:hush-hush@[db/shop", "postgresql+psycopg://app:hush-hush@db/shop",
	"jdbc:postgresql://db/shop?password=hush-hush",
	"'postgres://app:hush-hush@db/shop'", `"postgres://app:hush-hush@db/shop"`,
	"\ufeffpostgres://app:hush-hush@db/shop", "postgres://app:hush-hush@db:port/shop",
	"host=db passwort=hush-hush", "host=db port=x password=hush-hush", "postgres://app:hush-hush%zz@db/shop",
	"postgres://app:p@ss:hush-hush@db:x/shop",
	"postgres://app:p@hush-hush@db/shop", "postgres://app:p/hush-hush@db/shop", "postgres://app:p#hush-hush@db/shop",
	"postgres://app:p?hush-hush@db/shop",
	"postgres://app:%hush-hush@db/shop", "postgres://app:hush-hush\n@db/shop", "mysql://app:hush-hush@db/shop",
	"host=postgres://app:hush-hush@db/shop",
	"host=db dbname=postgres://app:hush-hush@db/shop", "dbname='host=db password=hush-hush'",
	"postgres://db/shop?host=app:hush-hush@db",
	"host=db,postgres://app:hush-hush@db",
}

// oddPasswords are odd, and valid.
var oddPasswords = []string{
	"hush-hush\n", "hush-hush\r\n", "\ufeffhush-hush", `"hush-hush"`, "'hush-hush", "hush-hush@b:9093", "a:hush-hush",
	"a/hush-hush", "%zzhush-hush", "SASL_SSL://app:hush-hush@b",
	"hush-hush\x00", "hush-hush\nsecond", "\x1b[31mhush-hush", "*hush-hush", "&hush-hush", "!hush-hush",
	"hush-hush: x", "{hush-hush", "[hush-hush", "- hush-hush", "|hush-hush", "@hush-hush", "`hush-hush",
}

// secretFlags returns the flags of a command that hold secrets or name their files, with mistyped
// values. wrong says that each value is a usage error.
func secretFlags(cmd *cobra.Command) map[string]struct {
	values []string
	wrong  bool
} {
	found := map[string]struct {
		values []string
		wrong  bool
	}{}
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		c := found[flag.Name]
		switch {
		case flag.Name == "kafka":
			c.values, c.wrong = malformedBrokers, true
		case strings.HasPrefix(flag.Name, "database") && optionOf(flag).secret:
			c.values, c.wrong = malformedDatabases, true
		case optionOf(flag).secret, flag.Name == "listen-auth-file", flag.Name == "kafka-key":
			c.values = oddPasswords
		default:
			return
		}
		found[flag.Name] = c
	})
	return found
}

// allCommands returns the commands by the line that runs each.
func allCommands(t *testing.T) map[string]*cobra.Command {
	t.Helper()
	all := map[string]*cobra.Command{}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if path := strings.TrimPrefix(cmd.CommandPath(), "firstclick"); path != "" {
			all[strings.TrimSpace(path)] = cmd
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(Streams{Out: os.Stdout, Err: os.Stderr, Env: environment(nil)}))
	for _, want := range []string{"run", "migrate", "demo", "doctor", "dead-letters retry"} {
		if all[want] == nil {
			t.Fatalf("no command %s among %v", want, slices.Sorted(maps.Keys(all)))
		}
	}
	return all
}

// needed has the arguments that a command requires.
var needed = map[string][]string{
	"explain": {
		"k",
	}, "compare": {"--table", "a.b"}, "whatif": {"--into", "a.b"}, "dead-letters show": {"1"}, "dead-letters " +
		"retry": {"1"}, "dead-letters drop": {"1"}, "completion": {"bash"},
}

// invokeInVain runs a command that must not reach a server: with valid values it would only try.
func invokeInVain(t *testing.T, vars map[string]string, args ...string) (said string, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out, log, err := invoke(ctx, vars, args...)
	said = out + log
	if err != nil {
		said += err.Error()
	}
	return said, err
}

// No command repeats any part of a secret, however it is written and wherever it is: flag,
// variable, the file that a variable names, in place of that file, or the configuration file. An
// invalid one is a usage error.
func TestNoCommandQuotesASecret(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	certificate := write("cert.pem", "")
	tried := 0
	for command, cmd := range allCommands(t) {
		args := append(strings.Fields(command), needed[command]...)
		for name, secret := range secretFlags(cmd) {
			flag := cmd.Flags().Lookup(name)
			variable := optionOf(flag).env
			fromFile := optionOf(flag).secret
			for i, value := range secret.values {
				type way struct {
					vars map[string]string
					args []string
				}
				ways := map[string]way{
					"flag":     {nil, []string{"--" + name, value}},
					"variable": {map[string]string{variable: value}, nil},
				}
				if !strings.ContainsAny(value[:1], `"'`) || !secret.wrong { // else YAML's quotes, which make it right
					ways["configuration"] = way{nil, []string{"--config", write("config.yaml", name+": "+value+"\n")}}
				}
				if fromFile {
					ways["file"] = way{map[string]string{variable + "_FILE": write("secret", value)}, nil}
				}
				if fromFile && i < 6 { // they are no files, whatever they are
					ways["in place of the file"] = way{map[string]string{variable + "_FILE": value}, nil}
					ways["in place of the file of the configuration"] = way{
						nil,
						[]string{
							"--config",
							write("config-file.yaml", name+"-file: '"+strings.ReplaceAll(value, "'", "''")+"'\n"),
						},
					}
				}
				for by, w := range ways {
					tried++
					said, err := invokeInVain(t, w.vars, slices.Concat(args, w.args)...)
					if strings.Contains(said, mistyped) {
						t.Errorf("%s, --%s as %s, %q: quoted: %.300q", command, name, by, value, said)
					}
					var usage *UsageError
					if (secret.wrong || strings.HasPrefix(by, "in place")) && !errors.As(err, &usage) {
						t.Errorf("%s, --%s as %s, %q: %v, want a usage error", command, name, by, value, err)
					}
				}
			}
		}
		for _, value := range slices.Concat(malformedDatabases[:6], malformedBrokers[:6]) { // whoever forgets the flag
			if said, _ := invokeInVain(t, nil, append(strings.Fields(command), value)...); strings.Contains(
				said,
				mistyped,
			) &&
				command != "explain" {
				t.Errorf("%s %q: quoted: %.300q", command, value, said)
			}
		}
	}
	t.Logf("%d tries", tried)
	for _, args := range [][]string{
		{"run", "--kafka-password", mistyped}, {"run", "--kafka-sasl", "plain", "--kafka-password", mistyped},
		{"doctor", "--kafka-user", "u", "--kafka-password", mistyped},
		{"run", "--kafka-tls", "--kafka-cert", certificate, "--kafka-key", mistyped}, {"verify", "--kafka-sasl", "md5",
			"--kafka-user", "u", "--kafka-password", mistyped}, {"postgres://app:" + mistyped + "@db/shop"},
		{"help", "app:" + mistyped + "@db"},
	} {
		if said, err := invokeInVain(t, nil, args...); err == nil || strings.Contains(said, mistyped) {
			t.Errorf("%s: %v", slices.DeleteFunc(args, func(s string) bool { return s == mistyped }), err)
		}
	}
}

// Postgres' own variables, which the driver reads from the environment of the process.
func TestNoCommandQuotesAVariableOfPostgres(t *testing.T) {
	passfile := filepath.Join(t.TempDir(), "pass")
	if err := os.WriteFile(passfile, []byte("db:*:*:*:hush-hush:hush-hush\n\ufeffhush-hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	service := filepath.Join(t.TempDir(), "service")
	if err := os.WriteFile(service, []byte("[shop]\npassword=hush-hush\nhost=app:hush-hush@db\nhush-hush\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	variables := map[string][]string{"PGPASSFILE": {passfile, mistyped}, "PGSERVICEFILE": {service, mistyped}}
	for _, name := range []string{"PGPASSWORD", "PGSSLPASSWORD", "PGSERVICE", "PGHOST", "PGPORT", "PGDATABASE",
		"PGUSER", "PGSSLKEY", "PGSSLCERT", "PGSSLROOTCERT", "PGSSLMODE", "PGOPTIONS",
		"PGCONNECT_TIMEOUT", "PGTARGETSESSIONATTRS", "PGAPPNAME", "PGREQUIREAUTH"} {
		variables[name] = []string{
			"postgres://app:hush-hush@db/shop",
			"host=db password=hush-hush",
			"jdbc:postgresql://db/shop?password=hush-hush",
			"\ufeffpostgres://app:hush-hush@db\n",
		}
	}
	for _, name := range []string{"PGPASSWORD", "PGSSLPASSWORD"} {
		variables[name] = append(
			variables[name],
			"hush-hush\n",
			"\ufeffhush-hush",
			"'hush-hush",
			"hush-hush@db",
			"a:hush-hush",
			"a/hush-hush",
			"%zzhush-hush",
			"hush-hush\\",
		)
	}
	for command, cmd := range allCommands(t) {
		if cmd.Flags().Lookup("database") == nil {
			continue
		}
		args := append(strings.Fields(command), needed[command]...)
		for name, values := range variables {
			for _, value := range values {
				for _, dsn := range []string{"postgres:///", "dbname=x user=y"} {
					t.Setenv(name, value)
					if name == "PGSERVICEFILE" {
						t.Setenv("PGSERVICE", "shop")
					}
					vars := map[string]string{"DATABASE_URL": dsn}
					if name == "PGPASSWORD" {
						vars[name] = value
					}
					if said, _ := invokeInVain(t, vars, args...); strings.Contains(said, mistyped) {
						t.Errorf("%s, %s, %s=%q: quoted: %.300q", command, dsn, name, value, said)
					}
					os.Unsetenv("PGSERVICE")
				}
			}
			os.Unsetenv(name)
		}
	}
}
