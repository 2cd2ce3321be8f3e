//go:build realkafka

// Like the suites against a real broker, this one fetches from Maven's repository.

package pgserver_test

import (
	"strings"
	"testing"

	"firstclick/internal/pgserver"
	"firstclick/internal/pgtest"
)

func TestDownloadedServer(t *testing.T) {
	server := pgtest.StartTemporary(t, pgserver.WithVersion(17))
	if got := ask[string](t, server, "SHOW server_version"); !strings.HasPrefix(got, "17.") || got != server.Version() {
		t.Errorf("version %s, said to be %s", got, server.Version())
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestVersionThatIsNowhere(t *testing.T) {
	_, err := pgserver.Start(pgtest.Dir(t), pgserver.WithVersion(9))
	if err == nil || !strings.Contains(err.Error(), "find Postgres 9") {
		t.Errorf("error %v", err)
	}
}
