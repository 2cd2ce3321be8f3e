package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/deadletters"
	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
)

// lettersBed returns variables for a database with three dead letters and for a Kafka.
func lettersBed(t *testing.T) (conn *pgx.Conn, vars map[string]string) {
	t.Helper()
	dsn := pgtest.New(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	_, err = conn.Exec(
		t.Context(),
		`INSERT INTO firstclick.dead_letters (group_id, topic, partition, "offset", reason, detail, payload,
			payload_size) VALUES
		('firstclick', 'clicks', 0, 7, 'json', E'\x1b[2Jbad', '\x7b1b5b324aff', 6),
		('firstclick', 'checkouts', 1, 8, 'amount', 'no number', '{"total_amount":"x"}', 20),
		('firstclick', 'checkouts', 1, 9, 'too_large', '', NULL, 2000000)`,
	)
	if err != nil {
		t.Fatal(err)
	}
	return conn, map[string]string{
		"DATABASE_URL":  dsn,
		"KAFKA_BROKERS": strings.Join(kafkatest.Fake(t, 1, "clicks", "checkouts"), ","),
	}
}

func TestDeadLettersListAndShow(t *testing.T) {
	_, vars := lettersBed(t)
	out, _, err := invoke(t.Context(), vars, "dead-letters", "list")
	if err != nil || strings.Count(out, "\n") != 4 || !strings.Contains(out, "checkouts[1]@8") ||
		!strings.Contains(out, `\x1b[2Jbad`) {
		t.Errorf("got %q, %v", out, err)
	}
	out, _, err = invoke(t.Context(), vars, "dead-letters", "list", "--limit", "1", "--since", "1h")
	if err != nil || !strings.Contains(out, "and 2 more") {
		t.Errorf("got %q, %v", out, err)
	}
	if out, _, err = invoke(t.Context(), vars, "dead-letters", "list", "--until", "1h"); err != nil ||
		out != "no open dead letters\n" {
		t.Errorf("got %q, %v", out, err)
	}
	out, _, err = invoke(t.Context(), vars, "dead-letters", "list", "--reason", "json,time", "--json")
	var letters []deadletters.Letter
	if err == nil {
		err = json.Unmarshal([]byte(out), &letters)
	}
	if err != nil || len(letters) != 1 || letters[0].Detail != "\x1b[2Jbad" {
		t.Errorf("got %q, %v", out, err)
	}
	out, _, err = invoke(t.Context(), vars, "dead-letters", "show", "1")
	if err != nil || !strings.Contains(out, `{\x1b[2J\xff`) || strings.Contains(out, "\x1b") {
		t.Errorf("got %q, %v", out, err)
	}
	if out, _, err = invoke(t.Context(), vars, "dead-letters", "show", "1", "--raw"); err != nil ||
		out != "{\x1b[2J\xff" {
		t.Errorf("got %q, %v", out, err)
	}
	if out, _, err = invoke(t.Context(), vars, "dead-letters", "show", "3"); err != nil ||
		!strings.Contains(out, "not kept") {
		t.Errorf("got %q, %v", out, err)
	}
	if _, _, err = invoke(t.Context(), vars, "dead-letters", "show", "3", "--raw"); err == nil ||
		!strings.Contains(err.Error(), "not kept") {
		t.Errorf("got %v", err)
	}
}

func TestDeadLettersRetryAndDrop(t *testing.T) {
	conn, vars := lettersBed(t)
	status := func(id int) (s string) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), "SELECT status FROM firstclick.dead_letters WHERE id = $1",
			id).Scan(&s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	_, _, err := invoke(t.Context(), vars, "dead-letters", "retry", "--topic", "checkouts")
	if err == nil || !strings.Contains(err.Error(), "2 dead letters") || !strings.Contains(err.Error(), "--yes") {
		t.Errorf("got %v", err)
	}
	out, _, err := invoke(t.Context(), vars, "dead-letters", "retry", "--topic", "checkouts", "--yes")
	if err != nil || !strings.Contains(out, "1 sent again") || !strings.Contains(out, "not kept") ||
		!strings.Contains(out, "such as 3") ||
		status(2) != "retried" ||
		status(3) != "open" {
		t.Errorf("got %q, %v; %s, %s", out, err, status(2), status(3))
	}
	if out, _, err = invoke(t.Context(), vars, "dead-letters", "retry", "3"); err == nil ||
		!strings.Contains(err.Error(), "--edit") ||
		strings.Contains(out, "not open") {
		t.Errorf("got %q, %v", out, err)
	}
	if out, _, err = invoke(t.Context(), vars, "dead-letters", "retry", "2", "2", "--status", "any"); err != nil ||
		out != "1 sent again\n" {
		t.Errorf("named twice: %q, %v", out, err)
	}
	if out, _, err = invoke(t.Context(), vars, "dead-letters", "retry", "2"); err != nil ||
		!strings.Contains(out, "1 left alone, as they are not open") {
		t.Errorf("got %q, %v", out, err)
	}

	file := filepath.Join(t.TempDir(), "mended.json")
	if err := os.WriteFile(file, []byte(`{"mended":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _, err = invoke(t.Context(), vars, "dead-letters", "retry", "3", "--edit", file); err != nil ||
		status(3) != "retried" {
		t.Errorf("got %q, %v", out, err)
	}
	var piped bytes.Buffer
	err = Run(t.Context(), []string{"dead-letters", "retry", "1", "--edit", "-"},
		Streams{In: strings.NewReader(`{"mended":2}`), Out: &piped, Err: &piped, Env: environment(vars)})
	if err != nil || status(1) != "retried" {
		t.Errorf("got %q, %v", piped.String(), err)
	}
	for topic, want := range map[string]string{"clicks": `{"mended":2}`,
		"checkouts": `{"total_amount":"x"}{"total_amount":"x"}{"mended":1}`} {
		if got := valuesOf(t, vars["KAFKA_BROKERS"], topic, len(want)); got != want {
			t.Errorf("%s holds %q, want %q", topic, got, want)
		}
	}

	if out, _, err = invoke(t.Context(), vars, "dead-letters", "drop", "1"); err != nil ||
		out != "0 dropped\n1 left alone, as they are not open (--status)\n" {
		t.Errorf("got %q, %v", out, err)
	}
	out, _, err = invoke(t.Context(), vars, "dead-letters", "drop", "--status", "any", "--all", "--yes", "--json")
	if err != nil || !strings.Contains(out, `"dropped": 3`) || status(1) != "dropped" {
		t.Errorf("got %q, %v", out, err)
	}
}

// An unknown group is an error: it is not a group without dead letters.
func TestDeadLettersOfAWrongGroup(t *testing.T) {
	conn, vars := lettersBed(t)
	commands := [][]string{
		{"list"}, {"list", "--json"}, {"retry", "--all", "--yes"}, {"retry", "--reason", "json"}, {"retry", "1"},
		{"drop", "--all", "--yes"}, {"drop", "--topic", "clicks"},
	}
	for _, args := range commands {
		out, _, err := invoke(
			t.Context(),
			vars,
			append(append([]string{"dead-letters"}, args...), "--group", "fistclick")...)
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), `no group "fistclick"`) ||
			!strings.Contains(err.Error(), `"firstclick"`) ||
			out != "" {
			t.Errorf("%q: %q, %v", args, out, err)
		}
	}
	var open int
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM firstclick.dead_letters
		WHERE status = 'open'`).Scan(&open); err != nil ||
		open != 3 {
		t.Errorf("%d letters are open, %v", open, err)
	}
	// A group without dead letters, and a database without groups.
	if _, err := conn.Exec(t.Context(), `INSERT INTO firstclick.progress (group_id, clicks_topic, checkouts_topic,
		window_length, lateness, out_of_order,
		time_zone, start, clicks_start, checkouts_start)
		VALUES ('other', 'c', 'k', '1 hour', '0', '0', 'UTC', 'earliest', '{}', '{}')`); err != nil {
		t.Fatal(err)
	}
	if out, _, err := invoke(t.Context(), vars, "dead-letters", "retry", "--all", "--group", "other"); err != nil ||
		out != "0 sent again\n" {
		t.Errorf("a group without dead letters: %q, %v", out, err)
	}
	if _, err := conn.Exec(t.Context(), `TRUNCATE firstclick.dead_letters, firstclick.progress`); err != nil {
		t.Fatal(err)
	}
	if out, _, err := invoke(t.Context(), vars, "dead-letters", "list"); err != nil || out != "no open dead letters\n" {
		t.Errorf("nothing ran: %q, %v", out, err)
	}
}

// valuesOf reads the only partition of a topic up to so many bytes.
func valuesOf(t *testing.T, brokers, topic string, size int) string {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.ConsumeTopics(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var values []byte
	for len(values) < size {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		for _, r := range fetches.Records() {
			values = append(values, r.Value...)
		}
	}
	return string(values)
}
