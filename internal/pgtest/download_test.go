//go:build realkafka

// Like the suites against a real broker, this one fetches from Maven's repository.

package pgtest_test

import (
	"strings"
	"testing"

	"firstclick/internal/pgtest"
)

func TestDownloadedServer(t *testing.T) {
	server := pgtest.StartTemporary(t, pgtest.WithVersion(17))
	if got := ask[string](t, server, "SHOW server_version"); !strings.HasPrefix(got, "17.") || got != server.Version() {
		t.Errorf("version %s, said to be %s", got, server.Version())
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestVersionThatIsNowhere(t *testing.T) {
	_, err := pgtest.Start(pgtest.Dir(t), pgtest.WithVersion(9))
	if err == nil || !strings.Contains(err.Error(), "find Postgres 9") {
		t.Errorf("error %v", err)
	}
}
