package pgserver_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"firstclick/internal/pgserver"
	"firstclick/internal/pgtest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("PGSERVER_OWNER"); dir != "" {
		own(dir)
	}
	goleak.VerifyTestMain(m)
}

// own is another process that has a server: it says where and waits to be killed.
func own(dir string) {
	server, err := pgserver.Start(dir)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(server.PID(), server.DSN("postgres"))
	_, _ = os.Stdin.Read(make([]byte, 1))
	os.Exit(0) // without a word to the server
}

func TestServerEndsWithItsOwnerAndCanBeStartedAtOnce(t *testing.T) {
	for name, end := range map[string]func(owner *exec.Cmd, stdin func()) error{
		"kill -9": func(owner *exec.Cmd, _ func()) error { return owner.Process.Kill() },
		"exit":    func(_ *exec.Cmd, stdin func()) error { stdin(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			dir := pgtest.Dir(t)
			owner := exec.Command(os.Args[0])
			owner.Env = append(os.Environ(), "PGSERVER_OWNER="+dir)
			stdin, err := owner.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdout, err := owner.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := owner.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(stdout).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			process, dsn, _ := strings.Cut(strings.TrimSpace(line), " ")
			pid, err := strconv.Atoi(process)
			if err != nil {
				t.Fatalf("the owner says %q", line)
			}
			conn := connect(t, dsn)
			if _, err := conn.Exec(t.Context(), "CREATE TABLE kept (n int)"); err != nil {
				t.Fatal(err)
			}
			if err := end(owner, func() { _ = stdin.Close() }); err != nil {
				t.Fatal(err)
			}
			_ = owner.Wait()
			server, err := pgserver.Start(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := server.Stop(t.Context()); err != nil {
					t.Error(err)
				}
			}()
			if n := ask[int](t, server, "SELECT count(*) FROM kept"); n != 0 {
				t.Errorf("%d rows", n)
			}
			ticker := time.NewTicker(10 * time.Millisecond)
			defer ticker.Stop()
			for deadline := time.Now().Add(time.Minute); !gone(pid); <-ticker.C {
				if time.Now().After(deadline) {
					t.Fatal("the first server is still there")
				}
			}
			_ = conn.Close(t.Context())
		})
	}
}
