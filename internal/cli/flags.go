package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"firstclick/internal/kafkaconn"
	"firstclick/internal/pgsession"
)

const (
	defaultDatabase = "postgres://postgres:postgres@localhost:5432/postgres"
	application     = "firstclick" // application_name of the sessions that this package opens
)

func kafkaFlags(fs *pflag.FlagSet, c *kafkaconn.Config) {
	define(fs, &c.Brokers, "kafka", "KAFKA_BROKERS", "host:port,...", "localhost:9093", parseBrokers,
		"bootstrap brokers")
	defineSwitch(fs, &c.TLS, "kafka-tls", "KAFKA_TLS", "connect by TLS")
	define(fs, &c.CAFile, "kafka-ca", "KAFKA_CA", "file", "", parseText,
		"certificates (PEM) that sign the brokers'; default: the system's")
	define(fs, &c.CertFile, "kafka-cert", "KAFKA_CERT", "file", "", parseText,
		"our certificate (PEM), if brokers require one")
	define(fs, &c.KeyFile, "kafka-key", "KAFKA_KEY", "file", "", parseText, "the key (PEM) of --kafka-cert")
	defineWord(fs, &c.SASL, "kafka-sasl", "KAFKA_SASL", "mechanism", "",
		"plain, scram-sha-256 or scram-sha-512", "plain", "scram-sha-256", "scram-sha-512")
	define(fs, &c.User, "kafka-user", "KAFKA_USER", "name", "", parseText, "user for SASL")
	defineSecret(fs, &c.Password, "kafka-password", "KAFKA_PASSWORD", "secret", "", parseText,
		"password for SASL; its variable or file is safer than the command line")
}

func databaseFlag(fs *pflag.FlagSet, target *string) {
	defineSecret(fs, target, "database", "DATABASE_URL", "url", defaultDatabase, parseDatabase,
		"Postgres; its password may also come from PGPASSWORD or PGPASSWORD_FILE")
}

func groupFlag(fs *pflag.FlagSet, target *string, usage string) {
	define(fs, target, "group", "KAFKA_GROUP", "name", "firstclick", parseNonEmpty, usage)
}

// jobFlags are the flags that most commands share: where a job reads and writes, and what a row
// means.
type jobFlags struct {
	kafka                       kafkaconn.Config
	database                    string // connection string; "": none is used
	replication                 string // connection string; "": as database
	clicksTopic, checkoutsTopic string
	group                       string
	window                      time.Duration
	lateness, outOfOrder, skew  time.Duration
	zone                        *time.Location
}

// places adds the flags of servers and topics.
func (j *jobFlags) places(fs *pflag.FlagSet) {
	kafkaFlags(fs, &j.kafka)
	databaseFlag(fs, &j.database)
	define(fs, &j.clicksTopic, "clicks-topic", "CLICKS_TOPIC", "name", "clicks", parseTopic, "topic of the clicks")
	define(fs, &j.checkoutsTopic, "checkouts-topic", "CHECKOUTS_TOPIC", "name", "checkouts", parseTopic,
		"topic of the checkouts")
}

func (j *jobFlags) replicationFlag(fs *pflag.FlagSet) {
	parse := func(text string) (string, error) {
		if text == "" {
			return "", nil
		}
		return parseDatabase(text)
	}
	defineSecret(fs, &j.replication, "database-replication", "DATABASE_REPLICATION", "url", "", parse,
		"the same database with a role that may replicate, so that the role of --database need not")
}

// rule adds the flags that say which click a checkout has.
func (j *jobFlags) rule(fs *pflag.FlagSet) {
	groupFlag(fs, &j.group, "consumer group; its offsets are kept in Postgres")
	define(fs, &j.window, "window", "WINDOW", "duration", "1h", parseDuration(time.Second),
		"how long before a checkout its first click may be")
	define(fs, &j.zone, "time-zone", "TIME_ZONE", "zone", "UTC", parseZone, "zone of event times without one")
}

// finality adds the flags that say when a row is final.
func (j *jobFlags) finality(fs *pflag.FlagSet) {
	define(fs, &j.lateness, "lateness", "LATENESS", "duration", "15m", parseDuration(time.Millisecond),
		"how long in event time a row stays open for late clicks")
	define(fs, &j.outOfOrder, "out-of-order", "OUT_OF_ORDER", "duration", "15s", parseDuration(time.Millisecond),
		"how far clicks may be out of order by event time")
	define(fs, &j.skew, "max-future-skew", "MAX_FUTURE_SKEW", "duration", "5m", parseDuration(time.Second),
		"how far an event's time may be ahead: of its record's timestamp, else it is a dead letter; "+
			"of this machine's clock, else it does not move the watermark")
}

// check refuses values that do not fit together, and adds the password to the connection string. It
// connects to nothing.
func (j *jobFlags) check(cmd *cobra.Command, env lookup) (err error) {
	if j.clicksTopic == j.checkoutsTopic {
		return usagef(cmd, "--clicks-topic and --checkouts-topic are both %q: they must differ", j.clicksTopic)
	}
	if err := checkKafka(cmd, j.kafka); err != nil {
		return err
	}
	if j.replication != "" {
		if _, err := pgsession.Config(j.replication, application); err != nil {
			return usagef(cmd, "--database-replication: %v", err)
		}
	}
	if j.database != "" {
		j.database, err = connection(cmd, j.database, env)
	}
	return err
}

// checkKafka refuses settings that do not fit together, and files that cannot be read.
func checkKafka(cmd *cobra.Command, c kafkaconn.Config) error {
	if _, err := c.Opts(); err != nil {
		return usagef(cmd, "%v", err)
	}
	return nil
}

// connection returns a connection string with its password. It refuses a string, variables (PG...)
// and files that make no valid configuration.
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

// withPassword puts the password of PGPASSWORD or PGPASSWORD_FILE into a connection string that has
// none. It replaces the password of the default string.
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

// shownDatabase returns a connection string without any password.
func shownDatabase(dsn string) string {
	config, err := pgsession.Config(dsn, application)
	if err != nil {
		return "(unreadable)"
	}
	return fmt.Sprintf("postgres://%s@%s:%d/%s", config.User, config.Host, config.Port, config.Database)
}
