package cli

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/audit"
	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
)

// A checkout that is produced and not read yet, with control characters in its id.
func TestExplain(t *testing.T) {
	dsn, brokers := pgtest.New(t), kafkatest.Fake(t, 1, "clicks", "checkouts")
	vars := map[string]string{"DATABASE_URL": dsn, "KAFKA_BROKERS": strings.Join(brokers, ",")}
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	produce := func(topic, value string) {
		kafkatest.ProduceRecords(t, brokers, topic, 0, &kgo.Record{Value: []byte(value), Timestamp: at})
	}
	produce("clicks", `{"click_id":"c\u009b2J","user_id":1,"product_id":"p","datetime_occured":"2026-11-23 11:30:00"}`)
	produce(
		"checkouts",
		`{"checkout_id":"k\u009b2J\u007f<b>","user_id":1,"product_id":"p","datetime_occured":"2026-11-23 12:00:00"}`,
	)
	const id = "k\u009b2J\u007f<b>"

	out, _, err := invoke(t.Context(), vars, "explain", id)
	if err != nil || !strings.Contains(out, "Not written yet") || !strings.Contains(out, `"c\u009b2J"`) ||
		strings.ContainsAny(out, "\u009b\u007f") {
		t.Errorf("got %q, %v", out, err)
	}
	out, _, err = invoke(t.Context(), vars, "explain", "--json", id)
	var e audit.Explanation
	if err == nil {
		err = json.Unmarshal([]byte(out), &e)
	}
	if err != nil || e.CheckoutID != id || e.Verdict != audit.VerdictPending || len(e.Clicks) != 1 ||
		e.Clicks[0].ClickID != "c\u009b2J" ||
		strings.ContainsAny(out, "\u009b\u007f") ||
		!strings.Contains(out, "<b>") {
		t.Errorf("got %q, %v", out, err)
	}
	out, _, err = invoke(t.Context(), vars, "explain", "--", "-k")
	if !errors.Is(err, errUnexplained) || !strings.Contains(out, "Unknown") {
		t.Errorf("got %q, %v", out, err)
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), `INSERT INTO commerce.attributed_checkouts (checkout_id)
		VALUES ('made up')`); err != nil {
		t.Fatal(err)
	}
	if out, _, err = invoke(t.Context(), vars, "explain", "made up"); !errors.Is(err, errUnexplained) ||
		!strings.Contains(out, "WRONG: there is a row, and no record in Kafka") {
		t.Errorf("got %q, %v", out, err)
	}
}
