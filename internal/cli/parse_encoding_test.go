package cli

import (
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestSessionsSpeakUTF8(t *testing.T) {
	for _, dsn := range []string{
		"postgres://u:p@h:5432/d", "postgresql://u:p@h/d?sslmode=disable", "postgres://", "host=h user=u dbname=d", "host=h dbname='a b'",
	} {
		got, err := parseDatabase(dsn)
		if err != nil {
			t.Fatal(dsn, err)
		}
		before, err := pgconn.ParseConfig(dsn)
		if err != nil {
			t.Fatal(dsn, err)
		}
		after, err := pgconn.ParseConfig(got)
		if err != nil {
			t.Fatal(dsn, err)
		}
		if after.RuntimeParams["client_encoding"] != "UTF8" || after.Host != before.Host || after.User != before.User ||
			after.Password != before.Password || after.Database != before.Database {
			t.Errorf("%s became another: %+v", dsn, after.RuntimeParams)
		}
	}
	if own := "postgres://h/d?client_encoding=LATIN1"; inUTF8(own) != own {
		t.Error("what the string says itself does not come first")
	}
}
