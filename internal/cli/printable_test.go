package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
)

// obeyed returns the first character that controls a terminal or misleads its reader.
func obeyed(text string) string {
	for _, c := range text {
		if c != '\n' && !unicode.IsPrint(c) {
			return string(c)
		}
	}
	return ""
}

// Foreign text in a report, an error or a log line cannot control a terminal, and JSON keeps its
// meaning.
func TestReportsAreHarmless(t *testing.T) {
	dsn, brokers := pgtest.New(t), kafkatest.Fake(t, 1, "clicks", "checkouts")
	vars := map[string]string{"DATABASE_URL": dsn, "KAFKA_BROKERS": strings.Join(brokers, ",")}
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	const evil = "\u009b2J\u202e\u2066\u007f\U000e0001"
	produce := func(topic, value string) {
		kafkatest.ProduceRecords(t, brokers, topic, 0, &kgo.Record{Value: []byte(value), Timestamp: at})
	}
	for _, id := range []string{"a", "b"} {
		produce(
			"clicks",
			`{"click_id":"`+id+evil[:10]+`","user_id":1,"product_id":"p`+evil[:4]+`",`+
				`"datetime_occured":"2026-11-23 11:30:00"}`,
		)
	}
	produce(
		"checkouts",
		`{"checkout_id":"k\u009b\u202e","user_id":1,"product_id":"p\u009b\u202e",`+
			`"datetime_occured":"2026-11-23 12:00:00"}`,
	)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, sql := range []string{
		`INSERT INTO commerce.attributed_checkouts (checkout_id, click_id, click_time, product_id, checkout_time)
			VALUES (U&'x\009b\202e', U&'y\009b\202e', '2026-11-23 11:00', U&'p\009b', '2026-11-23 12:00'),
			(U&'k\009b\202e', NULL, NULL, 'p', '2026-11-23 12:00')`,
		`INSERT INTO firstclick.dead_letters (group_id, topic, partition, "offset", reason, detail, payload,
			payload_size)
			VALUES ('firstclick', U&'t\009b', 0, 7, 'json', U&'d\202e', '\x9b', 1)`,
		`CREATE SCHEMA legacy; CREATE VIEW legacy."t` + evil + `" AS SELECT * FROM commerce.attributed_checkouts`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"verify"}, {"repair"}, {"compare", "--table", `legacy."t` + evil + `"`},
		{"compare", "--table", "no." + "t\u009b"}, {"whatif", "--into", "public.other", "--replace"},
		{"explain", "k\u009b\u202e"}, {"explain", "x\u009b\u202e"}, {"doctor"}, {"dead-letters", "list"},
		{"dead-letters", "show", "1"},
		{"verify", "--group", "g\u009b\u202e"}, {"dead-letters", "list", "--group", "g\u009b\u202e"},
		{"verify", "--clicks-topic", "c\u009b"},
	} {
		for _, asJSON := range []bool{false, true} {
			if asJSON {
				args = append(args, "--json")
			}
			out, log, err := invoke(t.Context(), vars, args...)
			if c := obeyed(out) + obeyed(log); c != "" {
				t.Errorf("%q: %q in\n%q\n%q", args, c, out, log)
			}
			var usage *UsageError
			if asJSON && out != "" && !errors.As(err, &usage) && !json.Valid([]byte(out)) {
				t.Errorf("%q is no JSON: %s", args, out)
			}
			if err != nil {
				var said bytes.Buffer
				PrintError(&said, environment(vars), err)
				if c := obeyed(said.String()); c != "" {
					t.Errorf("%q: %q in the error %q", args, c, said.String())
				}
			}
		}
	}
}

func TestLogLinesAreHarmless(t *testing.T) {
	const evil = "k\u009b2J\u202e\nb"
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		c := &command{Streams: Streams{Err: &out}, logFormat: format, logLevel: slog.LevelInfo}
		c.logger().Info("the line", "checkout", evil, "error", errors.New(evil))
		if c := obeyed(out.String()); c != "" || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%s: %q", format, out.String())
		}
		if format == "text" {
			continue
		}
		var line map[string]any
		if err := json.Unmarshal(out.Bytes(), &line); err != nil || line["checkout"] != evil {
			t.Errorf("%q, %v", out.String(), err)
		}
	}
}
