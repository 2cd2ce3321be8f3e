package cli

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"firstclick/internal/kafkaconn"
)

// The defaults are those of DESIGN.md; the default database is the one that the readers of the old pipeline know.
const (
	defaultDatabase = "postgres://postgres:postgres@localhost:5432/postgres"
	databaseEnv     = "DATABASE_URL"
)

func kafkaFlags(fs *pflag.FlagSet, c *kafkaconn.Config) {
	define(fs, &c.Brokers, "kafka", "KAFKA_BROKERS", "host:port,...", "localhost:9093", parseBrokers, "brokers to begin with")
	defineSwitch(fs, &c.TLS, "kafka-tls", "KAFKA_TLS", "connect by TLS")
	define(fs, &c.CAFile, "kafka-ca", "KAFKA_CA", "file", "", parseText, "certificates (PEM) that sign the brokers'; default: the system's")
	define(fs, &c.CertFile, "kafka-cert", "KAFKA_CERT", "file", "", parseText, "our certificate (PEM), where brokers ask for one")
	define(fs, &c.KeyFile, "kafka-key", "KAFKA_KEY", "file", "", parseText, "the key (PEM) of --kafka-cert")
	mechanisms := []string{"plain", "scram-sha-256", "scram-sha-512"}
	offering(define(fs, &c.SASL, "kafka-sasl", "KAFKA_SASL", "mechanism", "", oneOf(append(mechanisms, "")...),
		"plain, scram-sha-256 or scram-sha-512"), mechanisms...)
	define(fs, &c.User, "kafka-user", "KAFKA_USER", "name", "", parseText, "user for SASL")
	alsoFromFile(define(fs, &c.Password, "kafka-password", "KAFKA_PASSWORD", "secret", "", parseText,
		"password for SASL; better by its variable or file than on the command line"))
}

// topics are where the events are.
type topics struct{ clicks, checkouts string }

func (t *topics) flags(fs *pflag.FlagSet) {
	define(fs, &t.clicks, "clicks-topic", "CLICKS_TOPIC", "name", "clicks", parseTopic, "topic of the clicks")
	define(fs, &t.checkouts, "checkouts-topic", "CHECKOUTS_TOPIC", "name", "checkouts", parseTopic, "topic of the checkouts")
}

func (t *topics) check(cmd *cobra.Command) error {
	if t.clicks == t.checkouts {
		return usagef(cmd, "--clicks-topic and --checkouts-topic are both %q: they must differ", t.clicks)
	}
	return nil
}

// meaning is what decides which click belongs to a checkout, and when that is final.
type meaning struct {
	group                        string
	window, lateness, outOfOrder time.Duration
	zone                         *time.Location
}

func (m *meaning) flags(fs *pflag.FlagSet) {
	m.ruleFlags(fs)
	define(fs, &m.lateness, "lateness", "LATENESS", "duration", "15m", parseDuration(time.Millisecond),
		"how much event time a row stays open for clicks that come late")
	define(fs, &m.outOfOrder, "out-of-order", "OUT_OF_ORDER", "duration", "15s", parseDuration(time.Millisecond),
		"how far clicks may be out of order by event time")
}

// ruleFlags say which click a checkout has, whenever it is looked at.
func (m *meaning) ruleFlags(fs *pflag.FlagSet) {
	define(fs, &m.group, "group", "KAFKA_GROUP", "name", "firstclick", parseNonEmpty, "consumer group; its offsets are kept in Postgres")
	define(fs, &m.window, "window", "WINDOW", "duration", "1h", parseDuration(time.Second),
		"how long before a checkout its first click may be")
	define(fs, &m.zone, "time-zone", "TIME_ZONE", "zone", "UTC", parseZone, "zone of event times that carry none")
}

func databaseFlag(fs *pflag.FlagSet, target *string) {
	alsoFromFile(define(fs, target, "database", databaseEnv, "url", defaultDatabase, parseDatabase,
		"Postgres; its password may also come by PGPASSWORD or PGPASSWORD_FILE"))
}

// ownPassword finds a password in a connection string of keyword=value pairs.
var ownPassword = regexp.MustCompile(`(^|\s)password\s*=`)

// connection is the connection string for a command: with its password, and in UTF-8 whatever the database's encoding is. Without that Postgres
// takes our bytes for the database's own, and writes every letter beyond ASCII wrong.
func connection(cmd *cobra.Command, dsn string, env lookup) (string, error) {
	dsn, err := withPassword(cmd, dsn, env)
	if err != nil {
		return "", err
	}
	const utf8 = "client_encoding=UTF8"
	switch { // of several the last one counts
	case !isURL(dsn):
		return dsn + " " + utf8, nil
	case strings.Contains(dsn, "?"):
		return dsn + "&" + utf8, nil
	}
	return dsn + "?" + utf8, nil
}

func isURL(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

// withPassword puts the password of PGPASSWORD or PGPASSWORD_FILE into a connection string that has none, and into the
// default one, whose password nobody asked for.
func withPassword(cmd *cobra.Command, dsn string, env lookup) (string, error) {
	password, _, ok, err := env.orFile("PGPASSWORD")
	if err != nil {
		return "", usagef(cmd, "%v", err)
	}
	if !ok {
		return dsn, nil
	}
	if !isURL(dsn) {
		if ownPassword.MatchString(dsn) {
			return dsn, nil
		}
		quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password)
		return dsn + " password='" + quoted + "'", nil
	}
	parsed, err := url.Parse(dsn)
	if err != nil {
		return "", usagef(cmd, "--database: is not a URL")
	}
	_, has := parsed.User.Password()
	given := cmd.Flags().Lookup("database").Changed
	if has && given || parsed.Query().Has("password") {
		return dsn, nil
	}
	parsed.User = url.UserPassword(parsed.User.Username(), password)
	return parsed.String(), nil
}

// shownDatabase is the connection string as it may be shown: without any password.
func shownDatabase(dsn string) string {
	config, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return "(unreadable)"
	}
	return fmt.Sprintf("postgres://%s@%s:%d/%s", config.User, config.Host, config.Port, config.Database)
}

// checkKafka finds combinations that make no sense, and files that cannot be read.
func checkKafka(cmd *cobra.Command, c kafkaconn.Config) error {
	if _, err := c.Opts(); err != nil {
		return usagef(cmd, "%v", err)
	}
	return nil
}
