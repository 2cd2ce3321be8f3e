package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"firstclick/internal/kafkaconn"
	"firstclick/internal/pgsession"
)

// The defaults are those of DESIGN.md; the default database is the one that the readers of the old pipeline know.
const (
	defaultDatabase = "postgres://postgres:postgres@localhost:5432/postgres"
	databaseEnv     = "DATABASE_URL"
	application     = "firstclick" // application_name of the sessions that look whether Postgres is there
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
	skew                         time.Duration
	zone                         *time.Location
}

func (m *meaning) flags(fs *pflag.FlagSet) {
	m.ruleFlags(fs)
	define(fs, &m.lateness, "lateness", "LATENESS", "duration", "15m", parseDuration(time.Millisecond),
		"how much event time a row stays open for clicks that come late")
	define(fs, &m.outOfOrder, "out-of-order", "OUT_OF_ORDER", "duration", "15s", parseDuration(time.Millisecond),
		"how far clicks may be out of order by event time")
	define(fs, &m.skew, "max-future-skew", "MAX_FUTURE_SKEW", "duration", "5m", parseDuration(time.Second),
		"how far an event may be dated ahead: of its record, or it is a dead letter; of this machine's clock, or it decides nothing for others")
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

func replicationFlag(fs *pflag.FlagSet, target *string) {
	alsoFromFile(define(fs, target, "database-replication", "DATABASE_REPLICATION", "url", "", parseReplication,
		"the same database as a role of its own that replicates, so that the one of --database need not"))
}

// checkReplication finds what --database-replication cannot mean.
func checkReplication(cmd *cobra.Command, dsn string) error {
	if dsn == "" {
		return nil
	}
	if _, err := pgsession.Config(dsn, application); err != nil {
		return usagef(cmd, "--database-replication: %v", err)
	}
	return nil
}

// connection is the connection string for a command, with its password. What it, the environment (PG...) or the files that they name cannot
// mean is found here, before anything is connected to.
func connection(cmd *cobra.Command, dsn string, env lookup) (string, error) {
	dsn, err := withPassword(cmd, dsn, env)
	if err != nil {
		return "", err
	}
	if _, err := pgsession.Config(dsn, application); err != nil {
		return "", usagef(cmd, "--database: %v", err)
	}
	return dsn, nil
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
	return pgsession.AddPassword(dsn, password, !cmd.Flags().Lookup("database").Changed), nil
}

// shownDatabase is the connection string as it may be shown: without any password.
func shownDatabase(dsn string) string {
	config, err := pgsession.Config(dsn, application)
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
