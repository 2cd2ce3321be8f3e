package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkaconn"
	"firstclick/internal/kafkatest"
	"firstclick/internal/pgserver"
	"firstclick/internal/pgtest"
)

// configFor allows more time than the constants do, for a busy machine.
func configFor(brokers []string, dsn string) Config {
	return Config{
		Kafka: kafkaconn.Config{
			Brokers: brokers,
		}, Database: dsn, ClicksTopic: "clicks", CheckoutsTopic: "checkouts", Group: "firstclick",
		Window: time.Hour, Lateness: 15 * time.Minute, OutOfOrder: 15 * time.Second, Zone: time.UTC,
		reachWithin: 30 * time.Second, factsWithin: 30 * time.Second,
	}
}

// of returns the findings of a check.
func (r *Report) of(check string) (found []Finding) {
	for _, f := range r.Findings {
		if f.Check == check {
			found = append(found, f)
		}
	}
	return found
}

// want fails unless a finding of the check has this status and these words in its text or fix.
func want(t *testing.T, r *Report, check string, status Status, says ...string) {
	t.Helper()
	for _, f := range r.of(check) {
		all := f.Status == status
		for _, s := range says {
			all = all && strings.Contains(f.Text+"\n"+f.Fix, s)
		}
		if all {
			return
		}
	}
	t.Errorf("%s: want %s with %q, got %v", check, status, says, r.of(check))
}

func execute(t *testing.T, dsn, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func TestAllIsWell(t *testing.T) {
	brokers := kafkatest.Fake(t, 3, "clicks", "checkouts")
	dsn := pgtest.New(t)
	kafkatest.ProduceRecords(t, brokers, "checkouts", 0,
		&kgo.Record{Value: []byte("{}"), Timestamp: time.Now().Add(-time.Minute)})
	r := Run(t.Context(), configFor(brokers, dsn))
	if !r.OK() {
		t.Errorf("fails: %+v", r.Findings)
	}
	if len(r.Findings) != r.Fine+r.Warned+r.Failed {
		t.Errorf("miscounted: %+v", r)
	}
	for _, c := range checks() {
		if len(r.of(c.name)) == 0 {
			t.Errorf("nothing about %s", c.name)
		}
		for _, f := range r.of(c.name) {
			if f.Status != OK && c.name != "postgres disk" && c.name != "kafka disk" && c.name != "connections" &&
				c.name != "slot limit" {
				t.Errorf("%+v", f)
			}
		}
	}
	want(t, r, "kafka", OK, brokers[0], "without TLS")
	want(t, r, "postgres", OK, "the primary")
	want(t, r, "topics", OK, "checkouts: 3 partitions")
	want(t, r, "record times", OK, "checkouts", "1m")
	want(t, r, "record times", OK, "clicks is empty")
	want(t, r, "publication", OK, "the first run makes it")
	want(t, r, "amounts", OK, "numeric(12,2)")
	want(t, r, "settings", OK, "has not begun")
}

func TestBeforeAnythingExists(t *testing.T) {
	r := Run(t.Context(), configFor(kafkatest.Fake(t, 1), pgtest.Empty(t)))
	if !r.OK() {
		t.Errorf("fails: %+v", r.Findings)
	}
	want(t, r, "topics", Warn, "clicks does not exist", "kafka-topics.sh")
	want(t, r, "topics", Warn, "checkouts does not exist")
	want(t, r, "migrations", Warn, "firstclick migrate")
	want(t, r, "columns", Warn, "firstclick migrate")
	want(t, r, "users", Warn, "firstclick migrate")
	want(t, r, "offsets", OK, "none stored")
}

// A table that was dropped after the migrations fails. It is not one that is still to come.
func TestDroppedTables(t *testing.T) {
	for _, table := range []string{"commerce.users", "commerce.attributed_checkouts", "firstclick.offsets"} {
		t.Run(table, func(t *testing.T) {
			dsn := pgtest.New(t)
			execute(t, dsn, "DROP TABLE "+table)
			r := Run(t.Context(), configFor(kafkatest.Fake(t, 1, "clicks", "checkouts"), dsn))
			want(t, r, "migrations", Fail, table, "firstclick migrate")
			if check := map[string]string{"commerce.users": "users",
				"commerce.attributed_checkouts": "columns"}[table]; check != "" {
				want(t, r, check, Fail, table, "any more")
			}
		})
	}
}

// Tables that cannot be published whole, and a table with domains, which can.
func TestUsersThatAreNotStreamed(t *testing.T) {
	for name, c := range map[string]struct {
		sql    string
		status Status
		says   []string
	}{
		"unlogged": {"ALTER TABLE commerce.users SET UNLOGGED", Warn, []string{"UNLOGGED", "SET LOGGED"}},
		"generated": {"ALTER TABLE commerce.users DROP COLUMN username; " +
			"ALTER TABLE commerce.users ADD COLUMN username text GENERATED ALWAYS AS (lower(password::text)) STORED",
			Warn, []string{"generated column username"}},
		"children": {"CREATE TABLE commerce.more () INHERITS (commerce.users)", Warn,
			[]string{"child tables", "NO INHERIT"}},
		"an enum": {"CREATE TYPE mood AS ENUM ('a', 'b'); ALTER TABLE commerce.users ALTER " +
			"username TYPE mood USING 'a'", Warn, []string{"username of a type", "TYPE text"}},
		"domains": {"CREATE DOMAIN user_id AS int CHECK (VALUE > 0); CREATE DOMAIN user_key AS user_id; " +
			"CREATE DOMAIN user_name AS varchar(50); ALTER TABLE commerce.users ALTER id TYPE user_key, ALTER " +
			"username TYPE user_name", OK, []string{"primary key"}},
	} {
		t.Run(name, func(t *testing.T) {
			dsn := pgtest.New(t)
			execute(t, dsn, c.sql)
			r := Run(t.Context(), configFor(kafkatest.Fake(t, 1, "clicks", "checkouts"), dsn))
			want(t, r, "users", c.status, c.says...)
		})
	}
}

// Row-level security of either table fails if it applies to our role.
func TestRowLevelSecurity(t *testing.T) {
	dsn := pgtest.New(t)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	role := "rls_of_" + strings.TrimPrefix(u.Path, "/")
	execute(t, dsn, fmt.Sprintf(`CREATE ROLE %[1]s LOGIN REPLICATION CONNECTION LIMIT 10 PASSWORD 'x';
		GRANT USAGE ON SCHEMA commerce, firstclick TO %[1]s;
		GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA commerce, firstclick TO %[1]s`, role))
	for _, table := range []string{"users", "attributed_checkouts"} {
		execute(t, dsn, fmt.Sprintf(`ALTER TABLE commerce.%[1]s ENABLE ROW LEVEL SECURITY;
			CREATE POLICY nobody ON commerce.%[1]s USING (false)`, table))
	}
	u.User = url.UserPassword(role, "x")
	r := Run(t.Context(), configFor(kafkatest.Fake(t, 1, "clicks", "checkouts"), u.String()))
	want(t, r, "users", Fail, "row-level security of commerce.users applies to role "+role, "BYPASSRLS")
	want(t, r, "columns", Fail, "row-level security of commerce.attributed_checkouts applies to role "+role,
		"BYPASSRLS")
	want(t, r, "connections", Warn, "of 10 of role "+role, "CONNECTION LIMIT")
	execute(t, dsn, "ALTER ROLE "+role+" BYPASSRLS")
	r = Run(t.Context(), configFor(kafkatest.Fake(t, 1, "clicks", "checkouts"), u.String()))
	for _, check := range []string{"users", "columns"} {
		for _, f := range r.of(check) {
			if strings.Contains(f.Text, "row-level") {
				t.Errorf("%+v", f)
			}
		}
	}
}

// If one role replicates and another one writes, doctor warns when either can do the other's work.
func TestRolesApart(t *testing.T) {
	server := pgtest.StartTemporary(t)
	owner := server.DSN("postgres")
	execute(t, owner, `CREATE SCHEMA commerce; CREATE TABLE commerce.users (id int PRIMARY KEY, username text);
			CREATE TABLE commerce.attributed_checkouts (checkout_id text);
		CREATE ROLE writer LOGIN PASSWORD 'w'; CREATE ROLE copier LOGIN PASSWORD 'c';
			GRANT USAGE ON SCHEMA commerce TO writer; GRANT SELECT ON commerce.users TO writer`)
	as := func(role string) string {
		return strings.Replace(owner, "postgres:postgres@", role+":"+role[:1]+"@", 1)
	}
	look := func() *Report {
		config := configFor(kafkatest.Fake(t, 1, "clicks", "checkouts"), as("writer"))
		config.Replication = as("copier")
		return Run(t.Context(), config)
	}
	want(t, look(), "replication right", Fail, "the role copier may not replicate", "ALTER ROLE \"copier\" REPLICATION")
	execute(t, owner, "ALTER ROLE copier REPLICATION")
	r := look()
	want(t, r, "replication right", Warn, "copier may copy the whole server", "host replication copier all reject")
	if found := r.of("replication right"); len(found) != 1 {
		t.Errorf("more is said: %v", found)
	}
	execute(t, owner, "ALTER ROLE writer REPLICATION; GRANT INSERT ON commerce.attributed_checkouts TO copier")
	r = look()
	want(t, r, "replication right", Warn, "writer, the role that writes, may replicate too",
		"ALTER ROLE \"writer\" NOREPLICATION")
	want(t, r, "replication right", Warn, "copier replicates, and may write too")
}

// A prepared transaction has no session, but no slot can be made before it ends.
func TestPreparedTransaction(t *testing.T) {
	server := pgtest.StartTemporary(
		t,
		pgserver.WithConfig(map[string]string{"max_prepared_transactions": "3", "max_slot_wal_keep_size": "2GB"}),
	)
	dsn := server.DSN("postgres")
	execute(t, dsn, "BEGIN; CREATE TABLE held (); PREPARE TRANSACTION 'of the bank''s'")
	r := Run(t.Context(), configFor(kafkatest.Fake(t, 1, "clicks", "checkouts"), dsn))
	want(t, r, "slots", Warn, "'of the bank''s' in database postgres", "ROLLBACK PREPARED 'of the bank''s'")
	want(t, r, "slot limit", OK, "2")
}

// Every fact that a check needs is gathered under that name.
func TestFactNames(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // so every query fails
	config := configFor([]string{"127.0.0.1:1"}, "postgres://127.0.0.1:1/shop")
	config.Now = time.Now
	kafka, err := newKafka(config)
	if err != nil {
		t.Fatal(err)
	}
	defer kafka.close()
	postgres, err := newPostgres(config)
	if err != nil {
		t.Fatal(err)
	}
	defer postgres.close()
	f := &facts{cfg: config, sides: bothSides}
	(&gatherer{kafka: kafka, postgres: postgres}).gather(ctx, f)
	for _, c := range checks() {
		for _, name := range c.facts {
			if f.errs[name] == nil {
				t.Errorf("%s needs %q, which is not gathered", c.name, name)
			}
		}
	}
}

// Both sides accept connections and never answer: the report comes in time and says what was not
// seen.
func TestNobodyAnswers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() // connections wait in its backlog
	address := listener.Addr().String()
	config := configFor([]string{address, "127.0.0.1:1"}, "postgres://app:hush-hush@"+address+"/shop?sslmode=disable")
	config.reachWithin = 0 // tests the constants
	began := time.Now()
	r := Run(t.Context(), config)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
	if r.OK() {
		t.Error("nothing fails")
	}
	want(t, r, "kafka", Fail, address, "does not answer")
	want(t, r, "kafka", Fail, "127.0.0.1:1", "connection refused")
	want(t, r, "postgres", Fail, address, "no answer in time")
	want(t, r, "unseen", Warn, fmt.Sprint(len(checks())))
	silentAbout(t, r, "hush-hush")
}

// One address of several that does not answer is a warning, because the side was reached.
func TestOneAddressIsGone(t *testing.T) {
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	r := Run(t.Context(), configFor(append([]string{"127.0.0.1:1"}, brokers...), pgtest.New(t)))
	if !r.OK() {
		t.Errorf("fails: %+v", r.Findings)
	}
	want(t, r, "kafka", Warn, "127.0.0.1:1")
	want(t, r, "kafka", OK, brokers[0])
}

func silentAbout(t *testing.T, r *Report, secret string) {
	t.Helper()
	var text strings.Builder
	if _, err := r.WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text.String(), secret) || strings.Contains(string(encoded), secret) {
		t.Errorf("a password is shown: %s", text.String())
	}
}

func TestWrittenForPeople(t *testing.T) {
	r := &Report{}
	r.add("topics", findings{}.ok("fine"))
	r.add("retention", findings{}.fail("paste\nthis", "too\x1b short"))
	var text strings.Builder
	n, err := r.WriteTo(&text)
	if err != nil || int(n) != text.Len() {
		t.Errorf("%d, %v", n, err)
	}
	wanted := "ok    topics     fine\nfail  retention  too\\x1b short\n                 fix: paste this\n\n1 ok, 0 " +
		"warn, 1 fail\n"
	if text.String() != wanted {
		t.Errorf("got %q", text.String())
	}
}
