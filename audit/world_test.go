package audit

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"firstclick/internal/kafkaconn"
	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is what all times of these tests are relative to. Records are stamped an hour later.
var (
	noon  = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	stamp = noon.Add(time.Hour)
)

func at(minutes float64) string {
	return noon.Add(time.Duration(minutes * float64(time.Minute))).Format("2006-01-02 15:04:05.000000")
}

// world is a Kafka with both topics, two partitions each, and a database.
type world struct {
	t       testing.TB
	brokers []string
	db      *pgx.Conn
	cfg     Config

	producer, aborter *kgo.Client // for those who produce a lot
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return worldOn(t, pgtest.New(t))
}

func worldOn(t testing.TB, dsn string) *world {
	t.Helper()
	db, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = db.Close(ctx)
		<-db.PgConn().CleanupDone()
	})
	w := &world{t: t, db: db, brokers: kafkatest.Fake(t, 2, "clicks", "checkouts")}
	w.cfg = Config{
		Kafka: kafkaconn.Config{Brokers: w.brokers}, Database: dsn, Group: "g", TempDir: t.TempDir(),
		SortMemory: 300, // everything goes by the disk
	}
	return w
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.db.Exec(w.t.Context(), sql, args...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// produce appends values, all stamped alike, and returns the first offset.
func (w *world) produce(topic string, partition int32, values ...string) int64 {
	w.t.Helper()
	records := make([]*kgo.Record, len(values))
	for i, v := range values {
		records[i] = &kgo.Record{Value: []byte(v), Timestamp: stamp}
	}
	return kafkatest.ProduceRecords(w.t, w.brokers, topic, partition, records...)
}

func clickOf(id string, user int, product string, minutes float64) string {
	return fmt.Sprintf(`{"click_id":%q,"user_id":%d,"product_id":%q,"price":1.5,"datetime_occured":%q}`, id, user,
		product, at(minutes))
}

func checkoutOf(id string, user int, product string, minutes float64, more ...string) string {
	return fmt.Sprintf(`{"checkout_id":%q,"user_id":%d,"product_id":%q,"total_amount":12.345,"ip_address":"10.0.0.1",`+
		`"datetime_occured":%q%s}`,
		id, user, product, at(minutes), strings.Join(more, ""))
}

// row writes a row as checkoutOf gives it; click "" is none.
func (w *world) row(id, name, product string, minutes float64, click string, clickMinutes float64) {
	w.t.Helper()
	var clickID, clickTime, userName *string
	if click != "" {
		when := at(clickMinutes)
		clickID, clickTime = &click, &when
	}
	if name != "" {
		userName = &name
	}
	w.exec(`INSERT INTO commerce.attributed_checkouts (checkout_id, user_name, click_id, product_id, total_amount,
		ip_address, checkout_time, click_time)
		VALUES ($1, $2, $3, $4, 12.35, '10.0.0.1', $5::text::timestamp, $6::text::timestamp)`, id, userName, clickID,
		product, at(minutes), clickTime)
}

// begun writes what the pipeline stores, with everything read so far and all rows final, but
// nothing that tells how old lost records are.
func (w *world) begun(clicksNext, checkoutsNext [2]int64) {
	w.t.Helper()
	w.exec(`INSERT INTO firstclick.progress (group_id, clicks_topic, checkouts_topic, window_length, lateness,
		out_of_order, time_zone, start, clicks_start, checkouts_start, created_at)
		VALUES ('g', 'clicks', 'checkouts', '1 hour', '15 minutes', '15 seconds', 'UTC', 'earliest',
			'{0,0}', '{0,0}', $1)`,
		noon.Add(-24*time.Hour))
	for p, next := range checkoutsNext {
		w.exec(`INSERT INTO firstclick.offsets (group_id, topic, partition, next_offset, recent_offset, clicks_next,
			final_before) VALUES ('g', 'checkouts', $1, $2, 0, $3, $4)`,
			p, next, clicksNext[:], noon.Add(time.Hour))
	}
}

func (w *world) dead(topic string, partition int, offset int64, reason, status string) {
	w.t.Helper()
	w.exec(`INSERT INTO firstclick.dead_letters (group_id, topic, partition, "offset", reason, status, payload_size)
		VALUES ('g', $1, $2, $3, $4, $5, 0)`,
		topic, partition, offset, reason, status)
}

func (w *world) late(kind string, partition int, offset int64, id string, user int, product string, minutes float64) {
	w.t.Helper()
	w.exec(`INSERT INTO firstclick.late (group_id, topic, partition, "offset", kind, event_id, user_id, product_id,
		event_time, recorded_at)
		VALUES ('g', $1 || 's', $2, $3, $1, $4, $5, $6, $7::text::timestamp AT TIME ZONE 'UTC', $8)`,
		kind, partition, offset, id, user, product, at(minutes), noon.Add(24*time.Hour))
}

func (w *world) verify() *Report {
	w.t.Helper()
	r, err := Verify(w.t.Context(), w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// expect compares the counters that the want map names, and demands that all other findings are
// zero.
func (w *world) expect(r *Report, want map[string]int64) {
	w.t.Helper()
	findings := []string{"Missing", "Extra", "Different", "Unfilled", "Explained", "Unverifiable", "Doubtful",
		"BeforeStart", "PendingCheckouts", "PendingClicks", "PendingRows",
		"DeadLettersMissing", "DeadLettersReason", "DeadLettersUnexplained"}
	for name := range want {
		findings = append(findings, name)
	}
	v := reflect.ValueOf(*r)
	for _, name := range findings {
		if got := v.FieldByName(name).Int(); got != want[name] {
			w.t.Errorf("%s: %d, want %d", name, got, want[name])
		}
	}
	wrong := int64(0)
	for _, name := range []string{"Missing", "Extra", "Different", "Unfilled", "DeadLettersMissing",
		"DeadLettersReason", "DeadLettersUnexplained"} {
		wrong += want[name]
	}
	if r.OK() != (wrong == 0) {
		w.t.Errorf("OK is %v", r.OK())
	}
	if w.t.Failed() {
		var b strings.Builder
		if _, err := r.WriteTo(&b); err != nil {
			w.t.Error(err)
		}
		w.t.Log(b.String())
	}
}
