package pipeline_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkatest"
	"firstclick/pipeline"
)

// A group begins with the checkouts from --start on, and with the clicks that they may need. Times
// before 1970 are before every record: as negative numbers they would have other meanings for
// Kafka.
func TestWhereAGroupBegins(t *testing.T) {
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	day := time.Date(2024, 11, 23, 0, 0, 0, 0, time.UTC)
	at := func(topic, value string, hours float64) {
		kafkatest.ProduceRecords(t, brokers, topic, 0,
			&kgo.Record{Value: []byte(value), Timestamp: day.Add(time.Duration(hours * float64(time.Hour)))})
	}
	at("clicks", click("of 8", 1, "p", stamp(day, 8*3600)), 8)
	at("clicks", click("of 9", 1, "p", stamp(day, 9*3600)), 9)
	at("checkouts", checkout("early", 1, "p", "1", stamp(day, 8.5*3600)), 8.5)
	at("checkouts", checkout("late", 1, "p", "1", stamp(day, 9.5*3600)), 9.5)
	for start, want := range map[string]string{
		"earliest": "0 0: early of 8, late of 9",
		// a topic that is idle since then, or our clock is ahead: nobody knows
		"latest":                    "1 2: ",
		"2024-11-23T09:30:00Z":      "1 1: late of 9",
		"2024-11-23T10:30:00+01:00": "1 1: late of 9",
		"2030-01-01T00:00:00Z":      "2 2: ",
		"1970-01-01T00:00:00Z":      "0 0: early of 8, late of 9",
		"1969-12-31T23:59:59.999Z":  "0 0: early of 8, late of 9",
		"0001-01-01T00:00:00Z":      "0 0: early of 8, late of 9",
	} {
		t.Run(start, func(t *testing.T) {
			dsn, conn := prepare(t, 1)
			cfg := testConfig(t, brokers, dsn)
			cfg.Start = start
			drain(t, cfg)
			var clicks, checkouts int64
			var rows string
			err := conn.QueryRow(t.Context(), `SELECT clicks_start[1], checkouts_start[1],
				coalesce((SELECT string_agg(checkout_id || ' ' || click_id, ', ' ORDER BY checkout_id)
					FROM commerce.attributed_checkouts), '')
				FROM firstclick.progress`).Scan(&clicks, &checkouts, &rows)
			if got := fmt.Sprintf("%d %d: %s", clicks, checkouts, rows); err != nil || got != want {
				t.Errorf("got %q, want %q: %v", got, want, err)
			}
		})
	}
}

// Where records have no plausible timestamps, a time finds no offset. The run must not begin: it
// would skip every record without a word.
func TestAStartThatTimestampsCannotFind(t *testing.T) {
	day := time.Date(2024, 11, 23, 0, 0, 0, 0, time.UTC)
	for name, stamped := range map[string]time.Time{"none": time.UnixMilli(-1),
		"seconds for milliseconds": time.UnixMilli(day.Unix())} {
		t.Run(name, func(t *testing.T) {
			brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
			dsn, conn := prepare(t, 1)
			kafkatest.ProduceRecords(t, brokers, "clicks", 0,
				&kgo.Record{Value: []byte(click("c", 1, "p", stamp(day, 60))), Timestamp: stamped})
			cfg := testConfig(t, brokers, dsn)
			cfg.Start = "latest"
			drain(t, cfg)
			if n := count(t, conn, `SELECT clicks_start[1] FROM firstclick.progress`); n != 0 {
				t.Errorf("clicks begin at %d: those that the first checkouts need are skipped", n)
			}
			kafkatest.ProduceRecords(t, brokers, "checkouts", 0,
				&kgo.Record{Value: []byte(checkout("k", 1, "p", "1", stamp(day, 90))), Timestamp: stamped})
			cfg.Group, cfg.Start = "another", "2024-11-23T00:00:00Z"
			var config *pipeline.ConfigError
			if err := runFails(t, cfg); !errors.As(err, &config) || !strings.Contains(err.Error(), "timestamp") {
				t.Errorf("a time that cannot be found: %v", err)
			}
		})
	}
}

// A group that begins with the checkouts to come needs the clicks of the window before them, by the
// clock of the producers. Our own clock may be hours ahead of it, right, or hours behind.
func TestTheLatestBeginsWithItsClicksWhateverOurClockSays(t *testing.T) {
	for _, theirs := range []time.Duration{-3 * time.Hour, -30 * time.Minute, 0, 3 * time.Hour} {
		t.Run(theirs.String(), func(t *testing.T) {
			brokers := kafkatest.Fake(t, 2, "clicks", "checkouts")
			dsn, conn := prepare(t, 2)
			now := time.Now().Add(theirs)
			at := func(topic string, partition int32, value func(when string) string, seconds float64) {
				kafkatest.ProduceRecords(t, brokers, topic, partition, &kgo.Record{
					Value:     []byte(value(stamp(now, seconds))),
					Timestamp: now.Add(time.Duration(seconds * float64(time.Second))),
				})
			}
			clickOf := func(id string) func(string) string {
				return func(when string) string { return click(id, 1, "p", when) }
			}
			checkoutOf := func(id string) func(string) string {
				return func(when string) string { return checkout(id, 1, "p", "1", when) }
			}
			at("clicks", 0, clickOf("of yesterday"), -24*3600)
			at("clicks", 0, clickOf("first"), -3500)
			at("clicks", 0, clickOf("second"), -1200)
			at("clicks", 1, clickOf("of the day before"), -48*3600) // an idle partition
			at("checkouts", 0, checkoutOf("of before"), -600)
			cfg := testConfig(t, brokers, dsn)
			cfg.Start = "latest"
			drain(t, cfg)
			at("checkouts", 0, checkoutOf("k"), 30)
			drain(t, cfg)
			var got string
			err := conn.QueryRow(t.Context(), `SELECT string_agg(checkout_id || ' ' || coalesce(click_id,
				'-') || ' ' || p.clicks_start[2], ', ')
					FROM commerce.attributed_checkouts, firstclick.progress p`).Scan(&got)
			if want := "k first 1"; err != nil || got != want {
				t.Errorf("got %q, want %q: %v", got, want, err)
			}
		})
	}
}
