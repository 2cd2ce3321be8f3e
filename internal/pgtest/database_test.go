package pgtest_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"firstclick/internal/pgtest"
)

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func query[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) (value T) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func TestNewIsMigratedAndDropped(t *testing.T) {
	var name string
	t.Run("database", func(t *testing.T) {
		conn := connect(t, pgtest.New(t)) // left open: the drop must end it
		name = query[string](t, conn, "SELECT current_database()")
		if n := query[int](t, conn, "SELECT count(*) FROM firstclick.offsets"); n != 0 {
			t.Errorf("%d rows in a fresh table", n)
		}
		if level := query[string](t, conn, "SHOW wal_level"); level != "logical" {
			t.Errorf("wal_level %s", level)
		}
		// A session with an active slot stands in the way of DROP DATABASE WITH (FORCE).
		if _, err := conn.Exec(t.Context(),
			"SELECT pg_create_logical_replication_slot('mine', 'pgoutput', true)"); err != nil {
			t.Fatal(err)
		}
	})
	conn := connect(t, pgtest.Empty(t))
	defer conn.Close(t.Context())
	if there := query[bool](t, conn, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name); there {
		t.Errorf("database %s is still there", name)
	}
	if there := query[bool](t, conn, "SELECT to_regnamespace('firstclick') IS NOT NULL"); there {
		t.Error("an empty database has the schema")
	}
}
