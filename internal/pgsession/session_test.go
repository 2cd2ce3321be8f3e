package pgsession_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"firstclick/internal/pgsession"
	"firstclick/internal/pgtest"
)

func itoa(port uint16) string { return strconv.Itoa(int(port)) }

// clearEnvironment unsets the variables that a session depends on.
func clearEnvironment(t *testing.T) {
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "PG") {
			t.Setenv(name, "")
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// hostile are settings that a role or a database may have, each with a value that we cannot use.
func hostile() map[string]string {
	return map[string]string{
		"client_encoding": "LATIN1", "TimeZone": "America/St_Johns", "DateStyle": "SQL, DMY",
		"IntervalStyle": "sql_standard", "bytea_output": "escape",
		"extra_float_digits": "-15", "standard_conforming_strings": "off", "array_nulls": "off",
		"statement_timeout": "60s", "lock_timeout": "30s",
		"idle_in_transaction_session_timeout": "30s", "default_transaction_isolation": "serializable",
		"default_transaction_read_only":  "on",
		"default_transaction_deferrable": "on", "row_security": "on", "search_path": "evil, pg_catalog",
		"idle_session_timeout": "30s", "transaction_timeout": "30s",
	}
}

// setAll makes the settings that the server has the defaults of the database, or of the role.
func setAll(t *testing.T, dsn, whose string) {
	t.Helper()
	conn, err := pgsession.Connect(t.Context(), dsn, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for name, value := range hostile() {
		if _, err := conn.Exec(t.Context(), fmt.Sprintf("ALTER %s SET %s = %s", whose, name, value)); err != nil {
			if _, err = conn.Exec(t.Context(), fmt.Sprintf("ALTER %s SET %s = '%s'", whose, name, value)); err != nil &&
				!unknownSetting(err) {
				t.Fatal(err)
			}
		}
	}
}

func unknownSetting(err error) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && answer.Code == "42704"
}

// Whatever the role, the database, the environment and the connection string set, a session has our
// settings before its first statement and after RESET ALL. So has a replication session.
func TestSettingsWinOverAllOthers(t *testing.T) {
	dsn := pgtest.Empty(t)
	name := pgx.Identifier{dsn[strings.LastIndex(dsn, "/")+1 : strings.Index(dsn, "?")]}.Sanitize()
	setAll(t, dsn, "DATABASE "+name)
	setAll(t, dsn, "ROLE postgres IN DATABASE "+name)
	clearEnvironment(t)
	t.Setenv("PGTZ", "Asia/Tokyo")
	t.Setenv("PGOPTIONS", "-c statement_timeout=77s -c datestyle=German")
	dsn += "&options=-c%20lock_timeout%3D78s%20-c%20timezone%3DAsia%2FTokyo&statement_timeout=79000" +
		"&timezone=Asia/Tokyo&row_security=on&DATESTYLE=German&search_path=evil,pg_catalog"
	want := map[string]string{
		"client_encoding": "UTF8", "TimeZone": "UTC", "DateStyle": "ISO, MDY", "IntervalStyle": "postgres",
		"bytea_output": "hex", "extra_float_digits": "1",
		"standard_conforming_strings": "on", "array_nulls": "on", "statement_timeout": "0", "lock_timeout": "0",
		"idle_in_transaction_session_timeout": "0",
		"default_transaction_isolation":       "read committed", "transaction_isolation": "read committed",
		"default_transaction_read_only": "off",
		"transaction_read_only":         "off", "default_transaction_deferrable": "off", "row_security": "off",
		"application_name": "firstclick x",
		"search_path":      "pg_catalog", "firstclick.search_path": "pg_catalog, evil,pg_catalog",
		"idle_session_timeout": "0", "transaction_timeout": "0",
	}
	check := func(how string, show func(sql string) (string, error)) {
		for name, value := range want {
			got, err := show("SELECT coalesce(current_setting('" + name + "', true), '')")
			if err != nil {
				t.Fatal(err)
			}
			newer := name == "idle_session_timeout" || name == "transaction_timeout"
			if got != value && !(got == "" && newer) {
				t.Errorf("%s: %s is %s, not %s", how, name, got, value)
			}
		}
	}
	conn, err := pgsession.Connect(t.Context(), dsn, "firstclick x")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	ask := func(sql string) (text string, err error) {
		err = conn.QueryRow(t.Context(), sql).Scan(&text)
		return text, err
	}
	check("a session", ask)

	config, err := pgsession.PoolConfig(dsn, "firstclick x", 1)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgsession.OpenPool(config)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	check("a session of a pool", func(sql string) (text string, err error) {
		err = pool.QueryRow(t.Context(), sql).Scan(&text)
		return text, err
	})

	replication, err := pgsession.OpenReplication(t.Context(), config.ConnConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer replication.Close(context.Background())
	check("a replication session", func(sql string) (string, error) {
		results, err := replication.Exec(t.Context(), sql).ReadAll()
		if err != nil {
			return "", err
		}
		return string(results[0].Rows[0][0]), nil
	})
	if _, err := replication.Exec(t.Context(), "IDENTIFY_SYSTEM").ReadAll(); err != nil {
		t.Error(err)
	}
}

// Our statements call nothing in a schema of the search_path, however well its arguments fit. The
// customer's triggers find it.
func TestWhatIsOnTheSearchPath(t *testing.T) {
	dsn := pgtest.Empty(t)
	conn, err := pgsession.Connect(t.Context(), dsn, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	database := pgx.Identifier{conn.Config().Database}.Sanitize()
	if _, err := conn.Exec(t.Context(), `CREATE SCHEMA evil;
		CREATE FUNCTION evil.lower(varchar) RETURNS text LANGUAGE sql AS $$ SELECT 'evil' $$;
		CREATE FUNCTION evil.never(varchar, varchar) RETURNS bool LANGUAGE sql AS $$ SELECT false $$;
		CREATE OPERATOR evil.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = evil.never);
		CREATE TABLE evil.theirs (n int)`); err != nil {
		t.Fatal(err)
	}
	for path, kept := range map[string]string{"evil": "pg_catalog, evil",
		"evil, pg_catalog": "pg_catalog, evil, pg_catalog", "''": `pg_catalog, ""`} {
		if _, err := conn.Exec(t.Context(), `ALTER DATABASE `+database+` SET search_path = `+path); err != nil {
			t.Fatal(err)
		}
		ours, err := pgsession.Connect(t.Context(), dsn, "test")
		if err != nil {
			t.Fatal(err)
		}
		defer ours.Close(context.Background())
		var got string
		var equal bool
		if err := ours.QueryRow(t.Context(), `SELECT lower('A'::varchar), 'a'::varchar = 'a'::varchar`).Scan(&got,
			&equal); err != nil || got != "a" || !equal {
			t.Errorf("path %s: lower is %s, equal %v, %v", path, got, equal, err)
		}
		tx, err := ours.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, set := range []struct{ sql, want string }{{pgsession.TheirPathSQL, kept},
			{pgsession.OurPathSQL, "pg_catalog"}, {pgsession.TheirPathSQL, kept}} {
			var is string
			if err := tx.QueryRow(t.Context(), set.sql).Scan(&is); err != nil || is != set.want {
				t.Errorf("path %s: %s, want %s, %v", path, is, set.want, err)
			}
		}
		if path != "''" {
			if _, err := tx.Exec(t.Context(), `SELECT FROM theirs`); err != nil {
				t.Errorf("path %s: %v", path, err)
			}
		}
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := ours.QueryRow(t.Context(), `SHOW search_path`).Scan(&got); err != nil || got != "pg_catalog" {
			t.Errorf("after the transaction: %s, %v", got, err)
		}
	}
}

// A pooler is recognized, whether it refuses our settings or drops them.
func TestPoolerIsRefused(t *testing.T) {
	dsn := pgtest.Empty(t)
	for strict, says := range map[bool]string{true: "it refuses our settings: unsupported startup parameter",
		false: "the process that answers is not the one"} {
		conn, err := pgsession.Connect(t.Context(), pgtest.Pooler(t, dsn, strict), "x")
		var pooler *pgsession.PoolerError
		if !errors.As(err, &pooler) || !strings.Contains(err.Error(), says) {
			t.Errorf("strict %v: %v", strict, err)
		}
		if conn != nil {
			conn.Close(context.Background())
		}
	}
}
