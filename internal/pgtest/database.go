package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firstclick/internal/pgserver"
	"firstclick/internal/pgsession"
	"firstclick/migrations"
)

const migrated = "firstclick_template"

// shared is the one server of a test process. It is state of the package because it lives until the
// process ends, whichever tests use it.
var shared struct {
	once     sync.Once
	server   *pgserver.Server
	err      error
	template sync.Once
	failed   error
	names    atomic.Int64
	creating sync.Mutex // two CREATE DATABASE from one template get in each other's way
}

// New returns the URL of a fresh database with the migrations applied. It is dropped when the test
// ends.
func New(t testing.TB) (dsn string) {
	t.Helper()
	server := Shared(t)
	shared.template.Do(func() { shared.failed = makeTemplate(server) })
	if shared.failed != nil {
		t.Fatalf("migrate the template database: %v", shared.failed)
	}
	return database(t, server, migrated)
}

// Empty returns the URL of a fresh database with nothing in it. It is dropped when the test ends.
func Empty(t testing.TB) (dsn string) {
	t.Helper()
	server := Shared(t)
	return database(t, server, "template0"+strings.TrimPrefix(locale(server), " TEMPLATE template0"))
}

// Shared returns the server of this test process. Other tests use it at the same time: do not stop
// it.
func Shared(t testing.TB) *pgserver.Server {
	t.Helper()
	shared.once.Do(func() {
		var settings []pgserver.Option
		if hostile() {
			settings = append(settings, pgserver.WithConfigOf(hostileSettings))
		}
		shared.server, shared.err = startTemporary(settings...)
	})
	if shared.err != nil {
		t.Fatalf("start the test server: %v", shared.err)
	}
	return shared.server
}

// StartTemporary runs a server of the test's own, for tests that stop, kill or configure it. It
// goes with its data when the test ends.
func StartTemporary(t testing.TB, opts ...pgserver.Option) *pgserver.Server {
	t.Helper()
	server, err := startTemporary(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(server.Kill(), os.RemoveAll(server.Dir)); err != nil {
			t.Errorf("end the test's server: %v", err)
		}
	})
	return server
}

// startTemporary runs a server of the version that FIRSTCLICK_PGTEST_VERSION names, if any.
func startTemporary(opts ...pgserver.Option) (*pgserver.Server, error) {
	version := 0
	if text := os.Getenv("FIRSTCLICK_PGTEST_VERSION"); text != "" {
		var err error
		if version, err = strconv.Atoi(text); err != nil {
			return nil, fmt.Errorf("FIRSTCLICK_PGTEST_VERSION=%s is no major version", text)
		}
	}
	dir, err := pgserver.TempDir()
	if err != nil {
		return nil, err
	}
	server, err := pgserver.Start(dir, append([]pgserver.Option{pgserver.WithVersion(version), pgserver.Temporary()},
		opts...)...)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return server, nil
}

// Dir returns an empty directory that the server's user can enter, which that of testing.TB.TempDir
// is not for another user. It is removed when the test ends.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := pgserver.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the test's directory: %v", err)
		}
	})
	return dir
}

func makeTemplate(server *pgserver.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := exec(ctx, server, "postgres", "CREATE DATABASE "+migrated+locale(server)); err != nil {
		return err
	}
	if err := migrations.Up(ctx, address(server, migrated), nil); err != nil || !hostile() {
		return err
	}
	return exec(ctx, server, migrated, trojans())
}

func database(t testing.TB, server *pgserver.Server, template string) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", shared.names.Add(1))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	shared.creating.Lock()
	err := exec(ctx, server, "postgres", "CREATE DATABASE "+name+" TEMPLATE "+template)
	shared.creating.Unlock()
	if err != nil {
		t.Fatalf("create the test's database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := drop(ctx, server, name); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return address(server, name)
}

func exec(ctx context.Context, server *pgserver.Server, database, sql string) error {
	conn, err := pgsession.Connect(ctx, address(server, database), "firstclick tests")
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}

// drop drops a database whoever is connected. FORCE does not end a session that has a slot of the
// database active, so these are ended before, and asked for again until they are gone.
// https://www.postgresql.org/docs/current/sql-dropdatabase.html
func drop(ctx context.Context, server *pgserver.Server, name string) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := exec(ctx, server, "postgres",
			"SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active AND database = '"+name+"'")
		if err == nil {
			if err = exec(ctx, server, "postgres", "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err == nil {
				return nil
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return err
		}
	}
}
