package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
)

// Sessions use UTF-8, whatever encoding the role or the database sets.
func TestNamesAreWrittenInUTF8(t *testing.T) {
	dsn, brokers := pgtest.New(t), kafkatest.Fake(t, 1, "clicks", "checkouts")
	db, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	if _, err := db.Exec(t.Context(), `INSERT INTO commerce.users VALUES (1, 'Jürgen', 'x')`); err != nil {
		t.Fatal(err)
	}
	database := pgx.Identifier{db.Config().Database}.Sanitize()
	if _, err := db.Exec(t.Context(), `ALTER DATABASE `+database+` SET client_encoding = 'LATIN1'`); err != nil {
		t.Fatal(err)
	}
	kafkatest.ProduceRecords(
		t,
		brokers,
		"checkouts",
		0,
		&kgo.Record{Timestamp: time.Date(2024, 11, 23, 12, 0, 0, 0, time.UTC), Value: []byte(
			`{"checkout_id":"k","user_id":1,"product_id":"é","datetime_occured":"2024-11-23 12:00:00"}`)},
	)
	vars := map[string]string{"DATABASE_URL": dsn, "KAFKA_BROKERS": strings.Join(brokers, ",")}
	if out, log, err := invoke(t.Context(), vars, "run", "--until-caught-up", "--listen", "127.0.0.1:0"); err != nil {
		t.Fatalf("%v\n%s%s", err, out, log)
	}
	var name, product string
	if err := db.QueryRow(t.Context(), `SELECT user_name, product_id FROM commerce.attributed_checkouts`).Scan(&name,
		&product); err != nil ||
		name != "Jürgen" ||
		product != "é" {
		t.Errorf("%q, %q, %v", name, product, err)
	}
	if out, log, err := invoke(t.Context(), vars, "verify", "--names"); err != nil {
		t.Errorf("verify: %v\n%s%s", err, out, log)
	}
}

// With another encoding of the database, what it cannot hold becomes a dead letter, and doctor
// warns before.
func TestADatabaseOfAnotherEncoding(t *testing.T) {
	dsn, brokers := pgtest.Empty(t), kafkatest.Fake(t, 1, "clicks", "checkouts")
	db, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	name := db.Config().Database
	latin := name + "_latin"
	create := `CREATE DATABASE ` + latin + ` ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`
	if _, err := db.Exec(t.Context(), create); err != nil {
		t.Fatal(err)
	}
	for _, product := range []string{"é", "\U0001F600"} {
		kafkatest.ProduceRecords(
			t,
			brokers,
			"checkouts",
			0,
			&kgo.Record{Timestamp: time.Date(2024, 11, 23, 12, 0, 0, 0, time.UTC), Value: []byte(
				`{"checkout_id":"` + product + `","user_id":1,"product_id":"` + product + `",` +
					`"datetime_occured":"2024-11-23 12:00:00"}`,
			)},
		)
	}
	vars := map[string]string{
		"DATABASE_URL":  strings.Replace(dsn, "/"+name, "/"+latin, 1),
		"KAFKA_BROKERS": strings.Join(brokers, ","),
	}
	if out, log, err := invoke(t.Context(), vars, "run", "--until-caught-up", "--listen", "127.0.0.1:0"); err != nil {
		t.Fatalf("run: %v\n%s%s", err, out, log)
	}
	if out, log, err := invoke(t.Context(), vars, "verify"); err != nil {
		t.Errorf("verify: %v\n%s%s", err, out, log)
	}
	if out, _, err := invoke(t.Context(), vars, "dead-letters", "list"); err != nil ||
		!strings.Contains(out, "refused") {
		t.Errorf("dead letters: %v\n%s", err, out)
	}
	if out, _, _ := invoke(t.Context(), vars, "doctor"); !strings.Contains(out, "the database is encoded in LATIN1") {
		t.Errorf("doctor: %s", out)
	}
}
