//go:build attack

package attack

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"firstclick/internal/pgtest"
)

// Somebody who may connect to the database and nothing else calls a session by the name of an
// instance that then freezes. The next one takes over all the same, and leaves that session alone.
func TestSquattedName(t *testing.T) {
	dsn := pgtest.New(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	tag := fmt.Sprintf("%x", rand.Uint64())
	app, squatter := "attack_app_"+tag, "attack_squatter_"+tag
	exec := func(ctx context.Context, sql string) {
		t.Helper()
		if _, err := conn.Exec(ctx, strings.NewReplacer("$app", app, "$squatter", squatter).Replace(sql)); err != nil {
			t.Fatal(err)
		}
	}
	exec(t.Context(), `CREATE ROLE $app LOGIN REPLICATION PASSWORD 'x'; CREATE ROLE $squatter LOGIN PASSWORD 'x';
		GRANT USAGE ON SCHEMA commerce, firstclick TO $app;
		GRANT ALL ON ALL TABLES IN SCHEMA commerce, firstclick TO $app;
		CREATE PUBLICATION firstclick_users FOR TABLE ONLY commerce.users (id, username)
			WITH (publish = 'insert, update, delete, truncate')`)
	t.Cleanup(func() {
		again, err := pgx.Connect(context.Background(), dsn)
		if err != nil {
			t.Error(err)
			return
		}
		defer again.Close(context.Background())
		for _, role := range []string{app, squatter} {
			if _, err := again.Exec(context.Background(), "DROP OWNED BY "+role+"; DROP ROLE "+role); err != nil {
				t.Errorf("drop %s: %v", role, err)
			}
		}
	})
	as := func(role string) string {
		u, err := url.Parse(dsn)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(role, "x")
		return u.String()
	}
	const name = "the one that freezes"
	first := begin(t, props{dsn: as(app), args: []string{"--no-migrate", "--instance", name}})
	config, err := pgx.ParseConfig(as(squatter))
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["application_name"] = name
	stranger, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close(context.Background())
	if n := first.count(`SELECT count(DISTINCT usename) FROM pg_stat_activity WHERE application_name = $1 AND `+
		`datname = current_database()`, name); n != 2 {
		t.Fatalf("%d roles have sessions of that name", n)
	}
	if err := first.process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	next := begin(t, props{dsn: as(app), brokers: first.brokers, args: []string{"--no-migrate"}})
	if err := stranger.Ping(t.Context()); err != nil {
		t.Errorf("the stranger's session was ended: %v", err)
	}
	if said := next.said(); strings.Contains(said, "pg_signal_backend") {
		t.Errorf("advises a right to end strangers' sessions: %s", tail(said))
	}
	next.end()
}
