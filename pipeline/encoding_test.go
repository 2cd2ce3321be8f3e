package pipeline

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"firstclick/internal/pgtest"
)

// Names are read in UTF-8, whatever the default encoding of a session is.
func TestNamesAreReadInUTF8(t *testing.T) {
	dsn := pgtest.New(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), `ALTER DATABASE `+conn.Config().Database+`
		SET client_encoding = 'LATIN1'`); err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{Database: dsn})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := p.namesPool()
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var name string
	if err := pool.QueryRow(t.Context(), `SELECT U&'\00e9'`).Scan(&name); err != nil || name != "é" {
		t.Errorf("%q, %v", name, err)
	}
}
