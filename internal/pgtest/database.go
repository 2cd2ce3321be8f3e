package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firstclick/internal/pgsession"
	"firstclick/migrations"
)

const migrated = "firstclick_template"

// shared is the one server of a test process. It is state of the package because it stands for state of the process: it lives until
// the process ends, whichever tests ask for it.
var shared struct {
	once     sync.Once
	server   *Server
	err      error
	template sync.Once
	failed   error
	names    atomic.Int64
	creating sync.Mutex // two CREATE DATABASE from one template get in each other's way
}

// New returns the URL of a fresh database with the migrations applied. It is dropped when the test ends.
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
	return database(t, server, "template0"+strings.TrimPrefix(server.locale(), " TEMPLATE template0"))
}

// Shared returns the server of this test process. Other tests use it at the same time: do not stop it.
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.once.Do(func() { shared.server, shared.err = startShared() })
	if shared.err != nil {
		t.Fatalf("start the test server: %v", shared.err)
	}
	return shared.server
}

func startShared() (*Server, error) {
	dir, err := temporaryDir()
	if err != nil {
		return nil, err
	}
	version, err := wantedVersion()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	server, err := Start(dir, WithVersion(version), func(o *options) {
		o.remove, o.end, o.hostile = true, "QUIT", os.Getenv("FIRSTCLICK_PGTEST") == "hostile"
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return server, nil
}

// StartTemporary runs a server of the test's own, for tests that stop, kill or configure it. It goes with its data when the test ends.
func StartTemporary(t testing.TB, opts ...Option) *Server {
	t.Helper()
	dir := Dir(t)
	version, err := wantedVersion()
	if err != nil {
		t.Fatal(err)
	}
	server, err := Start(dir, append([]Option{WithVersion(version), func(o *options) { o.remove, o.end = true, "QUIT" }}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Kill(); err != nil {
			t.Errorf("end the test's server: %v", err)
		}
	})
	return server
}

// Dir returns an empty directory that the server's user can get into, which that of testing.TB.TempDir is not for another user. It is
// removed when the test ends.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := temporaryDir()
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

func temporaryDir() (string, error) {
	var tried error
	// The first is where the machine has memory to spare: a database per test is 7 MB in 300 files.
	// As root, that of the system may be closed to the server's user.
	for _, parent := range []string{os.Getenv("FIRSTCLICK_PGTEST_DIR"), os.TempDir(), "/tmp", "/var/tmp"} {
		if parent == "" {
			continue
		}
		dir, err := os.MkdirTemp(parent, "firstclick-pg-")
		if err != nil {
			tried = errors.Join(tried, fmt.Errorf("make a directory: %w", err))
			continue
		}
		runAs := serverUser()
		if err = errors.Join(giveAway(runAs, dir), reachable(dir, runAs)); err == nil {
			return dir, nil
		}
		tried = errors.Join(tried, err, os.RemoveAll(dir))
	}
	return "", tried
}

func makeTemplate(server *Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := server.exec(ctx, "postgres", "CREATE DATABASE "+migrated+server.locale()); err != nil {
		return err
	}
	if err := migrations.Up(ctx, server.DSN(migrated), nil); err != nil || !server.options.hostile {
		return err
	}
	return server.exec(ctx, migrated, trojans())
}

func database(t testing.TB, server *Server, template string) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", shared.names.Add(1))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	shared.creating.Lock()
	err := server.exec(ctx, "postgres", "CREATE DATABASE "+name+" TEMPLATE "+template)
	shared.creating.Unlock()
	if err != nil {
		t.Fatalf("create the test's database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := server.drop(ctx, name); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return server.DSN(name)
}

func (s *Server) exec(ctx context.Context, database, sql string) error {
	conn, err := pgsession.Connect(ctx, s.DSN(database), "firstclick tests")
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}

// drop drops a database whoever is connected. FORCE does not end a session that has a slot of the database active, so these are ended before,
// and asked for again until they are gone. https://www.postgresql.org/docs/current/sql-dropdatabase.html
func (s *Server) drop(ctx context.Context, name string) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := s.exec(ctx, "postgres", "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active AND database = '"+name+"'")
		if err == nil {
			if err = s.exec(ctx, "postgres", "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err == nil {
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
