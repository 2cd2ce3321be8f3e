package pgsession

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// settings are what our statements depend on, in every session.
// https://www.postgresql.org/docs/current/runtime-config-client.html
func settings() map[string]string {
	return map[string]string{
		// Values that are sent as text have one meaning.
		"client_encoding":             "UTF8", // as events are, whatever the database's own encoding is
		"TimeZone":                    "UTC",
		"DateStyle":                   "ISO, MDY",
		"IntervalStyle":               "postgres",
		"bytea_output":                "hex",
		"extra_float_digits":          "1",
		"standard_conforming_strings": "on",
		"array_nulls":                 "on",
		// A transaction that a timeout ends each time never gets done.
		"statement_timeout":                   "0",
		"lock_timeout":                        "0",
		"idle_in_transaction_session_timeout": "0",
		"default_transaction_isolation":       "read committed",
		"default_transaction_read_only":       "off",
		"default_transaction_deferrable":      "off",
		// A policy is an error: a hidden row would pass for a row that is not there.
		"row_security": "off",
	}
}

const connectTimeout = 10 * time.Second

// PoolerError says that something between us and Postgres shares sessions among its clients.
type PoolerError struct{ Seen string }

func (e *PoolerError) Error() string {
	return "a connection pooler stands between firstclick and Postgres (" + e.Seen + "): sessions, their locks and " +
		"their settings are not its own there; give --database the address of Postgres itself"
}

// Config is the driver's configuration of a session with the connection string, the environment
// (PG...) and our settings. application is its application_name. The error names what cannot be
// used, and quotes nothing of it.
func Config(dsn, application string) (*pgx.ConnConfig, error) {
	text, err := canonical(strings.TrimSpace(dsn))
	if err != nil {
		return nil, fmt.Errorf("the database's connection string %w", err)
	}
	config, err := pgx.ParseConfig(text)
	if err != nil {
		return nil, explainRefusal(text, err)
	}
	// The driver does not check these two.
	if n := config.SSLNegotiation; n != "" && n != "postgres" && n != "direct" {
		return nil,
			errors.New("PGSSLNEGOTIATION, or sslnegotiation of the connection string, is neither postgres nor direct")
	}
	if sni := os.Getenv("PGSSLSNI"); sni != "" && sni != "0" && sni != "1" {
		return nil, errors.New("PGSSLSNI is neither 0 nor 1")
	}
	if misplaced(config) {
		return nil, errMisplaced
	}
	applySettings(config, application)
	return config, nil
}

func applySettings(config *pgx.ConnConfig, application string) {
	ours := settings()
	ours["application_name"] = application
	lower := map[string]bool{"replication": true}
	for name := range ours {
		lower[strings.ToLower(name)] = true
	}
	// Names have no case in Postgres, and the last of several counts: only ours may be there.
	maps.DeleteFunc(config.RuntimeParams, func(name, _ string) bool { return lower[strings.ToLower(name)] })
	maps.Copy(config.RuntimeParams, ours)
	config.AfterConnect = examine
	config.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	// When the server's host is gone, reads fail after half a minute instead of never.
	dialer := &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 4},
	}
	config.DialFunc = dialer.DialContext
}

// PoolConfig is Config for a pool of at most so many sessions.
func PoolConfig(dsn, application string, most int) (*pgxpool.Config, error) {
	conn, err := Config(dsn, application)
	if err != nil {
		return nil, err
	}
	text, err := canonical(strings.TrimSpace(dsn))
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.ParseConfig(text)
	if err != nil {
		return nil, explainRefusal(text, err)
	}
	pool.ConnConfig, pool.MaxConns, pool.MinConns = conn, int32(most), 0
	return pool, nil
}

// Connect opens a session.
func Connect(ctx context.Context, dsn, application string) (*pgx.Conn, error) {
	config, err := Config(dsn, application)
	if err != nil {
		return nil, err
	}
	return Open(ctx, config)
}

// Open opens a session by what Config returned.
func Open(ctx context.Context, config *pgx.ConnConfig) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, config)
	return conn, asPoolerError(err)
}

// OpenReplication opens a session for replication of a database by what Config returned.
// https://www.postgresql.org/docs/current/protocol-replication.html
func OpenReplication(ctx context.Context, config *pgx.ConnConfig) (*pgconn.PgConn, error) {
	config = config.Copy()
	config.RuntimeParams["replication"] = "database"
	conn, err := pgconn.ConnectConfig(ctx, &config.Config)
	return conn, asPoolerError(err)
}

// AdmitsPhysical says whether Postgres admits the role for physical replication, by which it may
// copy the whole server.
func AdmitsPhysical(ctx context.Context, config *pgx.ConnConfig) bool {
	config = config.Copy()
	config.RuntimeParams["replication"] = "true"
	config.AfterConnect = nil // such a session runs no SQL
	conn, err := pgconn.ConnectConfig(ctx, &config.Config)
	if err != nil {
		return false
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(closing) // nothing was written
	return true
}

// OpenPool makes a pool by what PoolConfig returned. It opens no session yet.
func OpenPool(config *pgxpool.Config) (*pgxpool.Pool, error) {
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return nil, fmt.Errorf("prepare database sessions: %w", err)
	}
	return pool, nil
}

// TheirPathSQL sets the search_path that the role, the database or the connection string names,
// until the transaction ends. The customer's triggers find by it what they name. Invariant: a
// statement that runs under it names the schema of every function and operator. Else whoever may
// create one there could have it called by us (CVE-2018-1058).
const TheirPathSQL = `SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('firstclick.search_path'),
	true)`

// OurPathSQL goes back to the path of the session, within the transaction.
const OurPathSQL = `SELECT pg_catalog.set_config('search_path', 'pg_catalog', true)`

// examine finishes a new session. It sets what only newer versions have, and our search_path: our
// statements find nothing but Postgres' own, and TheirPathSQL finds the path that was set, with
// pg_catalog first. It refuses a session whose settings or process id are not ours.
func examine(ctx context.Context, conn *pgconn.PgConn) error {
	var major int // of "17.2 (Debian ...)" or "18beta1"; 0 if it is not Postgres itself
	_, _ = fmt.Sscanf(conn.ParameterStatus("server_version"), "%d", &major)
	sql := `SELECT pg_catalog.pg_backend_pid(),
		(SELECT source FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) 'row_security'),
		pg_catalog.set_config('search_path', CASE WHEN pg_catalog.set_config('firstclick.search_path',
			pg_catalog.concat_ws(', ', 'pg_catalog'::pg_catalog.text,
				NULLIF(pg_catalog.current_setting('search_path'), ''::pg_catalog.text)), false) IS NOT NULL
			THEN 'pg_catalog' END, false)`
	// An older version refuses a startup message that has one of these.
	for name, since := range map[string]int{"idle_session_timeout": 14, "transaction_timeout": 17} {
		if major >= since {
			sql += `, pg_catalog.set_config('` + name + `', '0', false)`
		}
	}
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return fmt.Errorf("prepare a database session: %w", err)
	}
	row := results[0].Rows[0]
	switch {
	case string(row[0]) != strconv.FormatUint(uint64(conn.PID()), 10):
		return &PoolerError{"the process that answers is not the one that took the connection"}
	case string(row[1]) != "client":
		return &PoolerError{"it kept our settings to itself"}
	}
	return nil
}

// asPoolerError recognizes a pooler's refusal of a startup message, which Postgres would have
// taken.
// https://www.pgbouncer.org/config.html#ignore_startup_parameters
func asPoolerError(err error) error {
	var answer *pgconn.PgError
	if errors.As(err, &answer) && answer.Code == "08P01" && answer.Routine == "" {
		return &PoolerError{"it refuses our settings: " + answer.Message}
	}
	return err
}
