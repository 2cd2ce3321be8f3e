//go:build attack

package attack

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Connections that only cost: the job has few open files, as it would have anywhere, and somebody
// has to say who they are.
func TestConnections(t *testing.T) {
	auth := filepath.Join(t.TempDir(), "auth")
	if err := os.WriteFile(auth, []byte("ada:correct horse battery\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := begin(t, props{args: []string{"--listen-auth-file", auth}, files: 1024})
	head := "GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: "
	for _, c := range []struct {
		name string
		n    int
		send string
	}{
		{"headers of 1 MB that do not end", 1000, head + strings.Repeat("a", 1<<20)},
		{"connections that say nothing", 8000, ""},
		{"bodies that never come", 1000,
			"POST /api/actions/drop-letter HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n{"},
		{"metrics that nobody reads", 1000, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var open sync.WaitGroup
			connections := make(chan net.Conn, c.n)
			for range 50 {
				open.Go(func() {
					for range c.n / 50 {
						conn, err := net.DialTimeout("tcp", strings.TrimPrefix(s.base, "http://"), 5*time.Second)
						if err != nil {
							continue // refused is as good
						}
						connections <- conn
						_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
						_, _ = io.WriteString(conn, c.send) // cut off is as good
					}
				})
			}
			open.Wait()
			for path, want := range map[string]int{"/readyz": http.StatusOK, "/livez": http.StatusOK,
				"/metrics": http.StatusUnauthorized} {
				began := time.Now()
				answer, err := s.ask(http.MethodGet, path, "", "", nil)
				if err != nil || answer.StatusCode != want {
					t.Errorf("%s among %d: %v, %v", path, len(connections), answer, err)
				} else if took := time.Since(began); took > 5*time.Second {
					t.Errorf("%s took %v", path, took)
				}
			}
			close(connections)
			for conn := range connections {
				_ = conn.Close()
			}
		})
	}
	s.end()
}
