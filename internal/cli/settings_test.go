package cli

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func parseRun(t *testing.T, vars map[string]string, args ...string) (runFlags, error) {
	t.Helper()
	var r runFlags
	err := parseArgs(vars, args, r.flags, func(*cobra.Command) error { return nil })
	return r, err
}

// The flags with variable, default, another value and its result.
func TestFlagElseEnvironmentElseDefault(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		flag, variable string
		get            func(runFlags) any
		fallback       any
		text           string
		want           any
	}{
		{"kafka", "KAFKA_BROKERS", func(r runFlags) any { return r.kafka.Brokers }, []string{"localhost:9093"},
			"a:1, b", []string{"a:1", "b:9092"}},
		{"kafka-tls", "KAFKA_TLS", func(r runFlags) any { return r.kafka.TLS }, false, "true", true},
		{"kafka-ca", "KAFKA_CA", func(r runFlags) any { return r.kafka.CAFile }, "", "ca.pem", "ca.pem"},
		{"kafka-cert", "KAFKA_CERT", func(r runFlags) any { return r.kafka.CertFile }, "", "c.pem", "c.pem"},
		{"kafka-key", "KAFKA_KEY", func(r runFlags) any { return r.kafka.KeyFile }, "", "k.pem", "k.pem"},
		{"kafka-sasl", "KAFKA_SASL", func(r runFlags) any { return r.kafka.SASL }, "", "scram-sha-512",
			"scram-sha-512"},
		{"kafka-user", "KAFKA_USER", func(r runFlags) any { return r.kafka.User }, "", "shop", "shop"},
		{"kafka-password", "KAFKA_PASSWORD", func(r runFlags) any { return r.kafka.Password }, "", "pw", "pw"},
		{"database", "DATABASE_URL", func(r runFlags) any { return r.database },
			"postgres://postgres:postgres@localhost:5432/postgres", "host=db user=x", "host=db user=x"},
		{"database-replication", "DATABASE_REPLICATION", func(r runFlags) any { return r.replication }, "",
			"host=db user=y", "host=db user=y"},
		{"clicks-topic", "CLICKS_TOPIC", func(r runFlags) any { return r.clicksTopic }, "clicks", "shop.clicks",
			"shop.clicks"},
		{"checkouts-topic", "CHECKOUTS_TOPIC", func(r runFlags) any { return r.checkoutsTopic }, "checkouts", "orders",
			"orders"},
		{"group", "KAFKA_GROUP", func(r runFlags) any { return r.group }, "firstclick", "other", "other"},
		{"start", "START", func(r runFlags) any { return r.start }, "earliest", "2026-01-31T15:04:05+01:00",
			"2026-01-31T15:04:05+01:00"},
		{"group-instance", "KAFKA_GROUP_INSTANCE", func(r runFlags) any { return r.groupInstance }, "", "shop-0",
			"shop-0"},
		{"window", "WINDOW", func(r runFlags) any { return r.window }, time.Hour, "90m", 90 * time.Minute},
		{"lateness", "LATENESS", func(r runFlags) any { return r.lateness }, 15 * time.Minute, "5m", 5 * time.Minute},
		{"max-future-skew", "MAX_FUTURE_SKEW", func(r runFlags) any { return r.skew }, 5 * time.Minute, "90s",
			90 * time.Second},
		{"out-of-order", "OUT_OF_ORDER", func(r runFlags) any { return r.outOfOrder }, 15 * time.Second, "1s",
			time.Second},
		{"users-cache", "USERS_CACHE", func(r runFlags) any { return r.usersCache }, 100_000, "1_000", 1000},
		{"dead-letter-payloads", "DEAD_LETTER_PAYLOADS", func(r runFlags) any { return r.payloads }, int64(64 << 20),
			"1GB", int64(1e9)},
		{"dead-letters-retention", "DEAD_LETTERS_RETENTION", func(r runFlags) any { return r.retention },
			time.Duration(0), "720h", 720 * time.Hour},
		{"memory-limit", "MEMORY_LIMIT", func(r runFlags) any { return r.memoryLimit }, int64(0), "512MiB",
			int64(512 << 20)},
		{"time-zone", "TIME_ZONE", func(r runFlags) any { return r.zone }, time.UTC, "Europe/Berlin", berlin},
		{"listen", "LISTEN", func(r runFlags) any { return r.page.listen }, ":8081", "127.0.0.1:0", "127.0.0.1:0"},
	} {
		t.Run(row.flag, func(t *testing.T) {
			try := func(from string, want any, vars map[string]string, args ...string) {
				r, err := parseRun(t, vars, args...)
				if err != nil {
					t.Errorf("%s: %v", from, err)
				} else if got := row.get(r); !reflect.DeepEqual(got, want) {
					t.Errorf("%s: got %v, want %v", from, got, want)
				}
			}
			try("default", row.fallback, nil)
			try("empty variable", row.fallback, map[string]string{row.variable: ""})
			try("variable", row.want, map[string]string{row.variable: row.text})
			try("flag", row.want, nil, "--"+row.flag+"="+row.text)
			// With the flag the variable is not read.
			try(
				"flag over variable",
				row.want,
				map[string]string{row.variable: "\x00 no such value"},
				"--"+row.flag+"="+row.text,
			)
		})
	}
}

// Every flag with a variable says so in its help, with the default; every command has an example.
func TestHelpNamesVariablesAndDefaults(t *testing.T) {
	root := newRoot(Streams{Out: &strings.Builder{}, Err: &strings.Builder{}, Env: environment(nil)})
	for _, cmd := range root.Commands() {
		if cmd.Name() == "help" || cmd.Name() == "completion" {
			continue
		}
		if cmd.Example == "" || cmd.Short == "" {
			t.Errorf("%s has no example or no description", cmd.Name())
		}
		help := cmd.UsageString()
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" {
				return
			}
			if variable := optionOf(f).env; variable != "" && !strings.Contains(help, "["+variable) {
				t.Errorf("%s --%s: the help does not name %s", cmd.Name(), f.Name, variable)
			}
			if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && !strings.Contains(help, f.DefValue) {
				t.Errorf("%s --%s: the help does not name the default %s", cmd.Name(), f.Name, f.DefValue)
			}
		})
	}
}

func TestSecretsFromFiles(t *testing.T) {
	file := func(content string) string {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	r, err := parseRun(t, map[string]string{
		"KAFKA_PASSWORD_FILE": file("pass word\n"), "DATABASE_URL_FILE": file("postgres://app:pw@db:5433/shop\r\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.kafka.Password != "pass word" || r.database != "postgres://app:pw@db:5433/shop" {
		t.Errorf("got password %q, database %q", r.kafka.Password, r.database)
	}
	if r, err = parseRun(t, map[string]string{"KAFKA_PASSWORD_FILE": file("theirs")}, "--kafka-password",
		"mine"); err != nil ||
		r.kafka.Password != "mine" {
		t.Errorf("flag over file: %q, %v", r.kafka.Password, err)
	}
}

func TestPasswordOfPostgres(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pw")
	if err := os.WriteFile(file, []byte("from file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		vars map[string]string
		args []string
		want string
	}{
		"none":                   {nil, nil, "postgres postgres localhost"},
		"replaces the default's": {map[string]string{"PGPASSWORD": "x/y"}, nil, "postgres x/y localhost"},
		"from a file": {map[string]string{"PGPASSWORD_FILE": file}, nil,
			"postgres from file localhost"},
		"not over one that was given": {map[string]string{"PGPASSWORD": "x"},
			[]string{"--database", "postgres://a:b@h/d"}, "a b h"},
		"into a URL without": {map[string]string{"PGPASSWORD": "x"},
			[]string{"--database", "postgres://a@h/d"}, "a x h"},
		"into keywords without": {map[string]string{"PGPASSWORD": `x'\`},
			[]string{"--database", "host=h user=a"}, `a x'\ h`},
		"not over keywords": {map[string]string{"PGPASSWORD": "x"},
			[]string{"--database", "host=h user=a password=b"}, "a b h"},
		"variable counts as given": {map[string]string{"PGPASSWORD": "x", "DATABASE_URL": "postgres://a:b@h/d"},
			nil, "a b h"},
	} {
		t.Run(name, func(t *testing.T) {
			var dsn, got string
			err := parseArgs(
				row.vars,
				row.args,
				func(fs *pflag.FlagSet) { databaseFlag(fs, &dsn) },
				func(cmd *cobra.Command) (err error) {
					got, err = withPassword(cmd, dsn, environment(row.vars))
					return err
				},
			)
			if err != nil {
				t.Fatal(err)
			}
			config, err := pgx.ParseConfig(got)
			if err != nil || strings.Join([]string{config.User, config.Password, config.Host}, " ") != row.want {
				t.Errorf("got %q, %v; want %q", got, err, row.want)
			}
			if strings.Contains(shownDatabase(got), "from file") || strings.Contains(shownDatabase(got), ":b@") {
				t.Errorf("shown with its password: %s", shownDatabase(got))
			}
		})
	}
}
