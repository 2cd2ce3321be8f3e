//go:build attack

package attack

import (
	"net/http"
	"testing"
)

// A website that somebody in reach visits lets its own name resolve to our address: it reads
// nothing, wherever we listen.
func TestRebinding(t *testing.T) {
	for _, listen := range []string{":0", "127.0.0.1:0", "[::]:0"} {
		t.Run(listen, func(t *testing.T) {
			s := begin(t, props{args: []string{"--listen", listen, "--pprof"}})
			s.exec(`INSERT INTO firstclick.dead_letters
					(group_id, topic, partition, "offset", reason, payload, payload_size)
				VALUES ('firstclick', 'clicks', 0, 1000, 'json', 'somebody''s address', 18)`)
			for _, path := range []string{"/", "/metrics", "/api/events", "/api/explain?id=" + s.alive(1),
				"/api/dead-letters", "/api/dead-letters/1", "/debug/pprof/", "/debug/pprof/heap", "/readyz?verbose"} {
				if answer := s.get(path, "evil.example:8081", nil); answer.StatusCode != http.StatusMisdirectedRequest {
					t.Errorf("%s: %s", path, answer.Status)
				}
				if answer := s.get(path, "localhost:8081", nil); answer.StatusCode != http.StatusOK {
					t.Errorf("%s for ourselves: %s", path, answer.Status)
				}
			}
			if answer := s.get("/api/explain?id="+s.alive(1), "",
				map[string]string{"Sec-Fetch-Site": "cross-site"}); answer.StatusCode != http.StatusForbidden {
				t.Errorf("a scan for another site: %s", answer.Status)
			}
			s.end()
		})
	}
}
