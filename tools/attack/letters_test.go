//go:build attack

package attack

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkatest"
)

// Whoever may act on our page names the dead letters of another group by their ids.
func TestLettersOfAnotherGroup(t *testing.T) {
	s := begin(t, props{args: []string{"--ui-actions"}, brokers: kafkatest.Fake(t, 1, "clicks", "checkouts", "theirs")})
	var theirs int64
	if err := s.db.QueryRow(t.Context(), `INSERT INTO firstclick.dead_letters
			(group_id, topic, partition, "offset", reason, payload, payload_size)
		VALUES ('another', 'theirs', 0, 1, 'json', '{', 1) RETURNING id`).Scan(&theirs); err != nil {
		t.Fatal(err)
	}
	events := bufio.NewReader(s.get("/api/events", "", nil).Body)
	next := func(kind string) (data []byte) {
		t.Helper()
		for is := false; ; {
			line, err := events.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case strings.HasPrefix(line, "event: "):
				is = line == "event: "+kind+"\n"
			case is && strings.HasPrefix(line, "data: "):
				return []byte(strings.TrimPrefix(line, "data: "))
			}
		}
	}
	var hello struct{ Token string }
	if err := json.Unmarshal(next("hello"), &hello); err != nil || hello.Token == "" {
		t.Fatalf("no token: %v", err)
	}
	for _, action := range []string{"retry-letter", "drop-letter"} {
		answer, err := s.ask(http.MethodPost, "/api/actions/"+action, "", fmt.Sprintf(`{"id":%d}`, theirs),
			map[string]string{"Origin": s.base, "X-Firstclick-Token": hello.Token})
		if err != nil || answer.StatusCode != http.StatusAccepted {
			t.Fatalf("%s: %v, %v", action, answer, err)
		}
		var done struct{ Name, State, Text string }
		for done.State != "done" && done.State != "failed" {
			if err := json.Unmarshal(next("action"), &done); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%s: %s, %s", action, done.State, done.Text)
		if done.State != "failed" {
			t.Errorf("%s: %s, %s", action, done.State, done.Text)
		}
	}
	if n := s.count(`SELECT count(*) FROM firstclick.dead_letters WHERE id = $1 AND status = 'open'`, theirs); n != 1 {
		t.Error("the letter of another group is not open any more")
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(context.WithoutCancel(t.Context()), "theirs")
	if end, there := ends.Lookup("theirs", 0); err != nil || !there || end.Offset != 0 {
		t.Errorf("the topic of another group has %d records, %v", end.Offset, err)
	}
	s.end()
}
