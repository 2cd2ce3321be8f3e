package pgserver_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"firstclick/internal/pgserver"
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

func execute(t *testing.T, server *pgserver.Server, statements ...string) {
	t.Helper()
	conn := connect(t, server.DSN("postgres"))
	defer conn.Close(t.Context())
	for _, sql := range statements {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

func ask[T any](t *testing.T, server *pgserver.Server, sql string) (value T) {
	t.Helper()
	conn := connect(t, server.DSN("postgres"))
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), sql).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestServerKeepsItsData(t *testing.T) {
	server := pgtest.StartTemporary(t, pgserver.WithSync(), pgserver.WithConfig(map[string]string{"work_mem": "7MB",
		"shared_buffers": "32MB"}))
	for setting, want := range map[string]string{
		"fsync": "on", "synchronous_commit": "on", "work_mem": "7MB", "shared_buffers": "32MB", "wal_level": "logical",
		"max_replication_slots": "40", "max_wal_senders": "40", "max_connections": "200",
		"listen_addresses": "127.0.0.1",
	} {
		if got := ask[string](t, server, "SHOW "+setting); got != want {
			t.Errorf("%s is %s, want %s", setting, got, want)
		}
	}
	execute(t, server, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (1)")
	port := server.Port
	for name, end := range map[string]func() error{"stop": func() error { return server.Stop(t.Context()) },
		"kill": server.Kill} {
		pid := server.PID()
		idle := connect(t, server.DSN("postgres")) // must not hold up the end
		if err := end(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = idle.Close(t.Context())
		if !gone(pid) {
			t.Errorf("%s: the process is still there", name)
		}
		if err := server.Restart(t.Context()); err != nil {
			t.Fatalf("restart after %s: %v", name, err)
		}
		if server.Port != port || server.PID() == pid {
			t.Errorf("%s: port %d, process %d; before: %d, %d", name, server.Port, server.PID(), port, pid)
		}
		if n := ask[int](t, server, "SELECT n FROM kept"); n != 1 {
			t.Errorf("%s: read %d", name, n)
		}
	}
	// A restart of a server that runs.
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestStartGoesOnWithTheData(t *testing.T) {
	dir := filepath.Join(pgtest.Dir(t), "below", "it")
	for run := range 2 {
		server, err := pgserver.Start(dir)
		if err != nil {
			t.Fatal(err)
		}
		execute(t, server, "CREATE TABLE IF NOT EXISTS kept (n int)", "INSERT INTO kept VALUES (1)")
		if n := ask[int](t, server, "SELECT count(*) FROM kept"); n != run+1 {
			t.Errorf("run %d: %d rows", run, n)
		}
		if err := server.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if err := server.Stop(t.Context()); err != nil {
			t.Errorf("stop twice: %v", err)
		}
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	t.Run("setting", func(t *testing.T) {
		server, err := pgserver.Start(pgtest.Dir(t), pgserver.WithConfig(map[string]string{"work_mem": "plenty"}))
		if err == nil || !strings.Contains(err.Error(), `invalid value for parameter "work_mem": "plenty"`) {
			t.Errorf("server %v, error %v", server, err)
		}
	})
	t.Run("port in use", func(t *testing.T) {
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		_, err = pgserver.Start(pgtest.Dir(t), pgserver.WithPort(taken.Addr().(*net.TCPAddr).Port))
		if !errors.Is(err, pgserver.ErrPortInUse) || !strings.Contains(err.Error(), "Address already in use") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("data in use", func(t *testing.T) {
		server := pgtest.StartTemporary(t)
		_, err := pgserver.Start(server.Dir)
		if err == nil || !strings.Contains(err.Error(), "postmaster.pid") {
			t.Errorf("error %v", err)
		}
		if n := ask[int](t, server, "SELECT 1"); n != 1 {
			t.Error("the first server is harmed")
		}
	})
	t.Run("directory closed to the server's user", func(t *testing.T) {
		closed := filepath.Join(pgtest.Dir(t), "closed")
		if err := os.Mkdir(closed, 0o700); err != nil {
			t.Fatal(err)
		}
		server, err := pgserver.Start(filepath.Join(closed, "below"))
		if os.Geteuid() != 0 { // then it is our own user's and open
			if err != nil {
				t.Fatal(err)
			}
			if err := server.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			return
		}
		var unreachable *pgserver.UnreachableError
		if !errors.As(err, &unreachable) || unreachable.Dir != closed {
			t.Errorf("error %v", err)
		}
	})
}

func TestServerIsNotRoot(t *testing.T) {
	server := pgtest.Shared(t)
	file, err := os.Stat(filepath.Join(server.Dir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	if owner := file.Sys().(*syscall.Stat_t).Uid; owner == 0 {
		t.Error("the server runs as root")
	}
}

func TestStopEndsWithItsContext(t *testing.T) {
	server := pgtest.StartTemporary(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	pid := server.PID()
	// Either it ended in time, or it was ended at once: in both cases it is gone.
	if err := server.Stop(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if !gone(pid) {
		t.Error("the process is still there")
	}
}

func TestWrongPasswordIsRefused(t *testing.T) {
	dsn := strings.Replace(pgtest.Empty(t), "postgres:postgres@", "postgres:other@", 1)
	if conn, err := pgx.Connect(t.Context(), dsn); err == nil {
		_ = conn.Close(t.Context())
		t.Error("connected with a wrong password")
	}
}
