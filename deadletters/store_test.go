package deadletters

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"firstclick/internal/kafkaconn"
	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
)

// bed is a database with letters and a fake Kafka.
type bed struct {
	t       *testing.T
	conn    *pgx.Conn
	store   *Store
	brokers []string
}

func newBed(t *testing.T, topics ...string) *bed {
	t.Helper()
	dsn := pgtest.New(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	store, err := Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = store.Close(context.Background())
		_ = conn.Close(context.Background())
	})
	return &bed{t: t, conn: conn, store: store, brokers: kafkatest.Fake(t, 2, topics...)}
}

// letter inserts a dead letter and returns its id.
func (b *bed) letter(topic, reason string, payload []byte, size int, age time.Duration) (id int64) {
	b.t.Helper()
	err := b.conn.QueryRow(b.t.Context(), `INSERT INTO firstclick.dead_letters (group_id, topic, partition, "offset",
		reason, payload, payload_size,
		record_time, created_at) VALUES ('firstclick', $1, 0, (SELECT count(*)
			FROM firstclick.dead_letters), $2, $3, $4,
		now() - interval '1 day', now() - make_interval(secs => $5)) RETURNING id`,
		topic, reason, payload, size, age.Seconds()).Scan(&id)
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

func (b *bed) open(topic, reason, payload string) int64 {
	return b.letter(topic, reason, []byte(payload), len(payload), 0)
}

func (b *bed) status(id int64) Status {
	b.t.Helper()
	l, err := b.store.Show(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	if (l.Status == Open) != (l.ResolvedAt == nil) {
		b.t.Errorf("dead letter %d is %s, resolved at %v", id, l.Status, l.ResolvedAt)
	}
	return l.Status
}

func (b *bed) kafka() kafkaconn.Config { return kafkaconn.Config{Brokers: b.brokers} }

func TestFilters(t *testing.T) {
	b := newBed(t)
	old := b.letter("clicks", "json", []byte("{"), 1, 3*time.Hour)
	young := b.letter("clicks", "time", []byte("{}"), 2, time.Minute)
	checkout := b.letter("checkouts", "json", nil, 0, time.Minute)
	if _, err := b.conn.Exec(t.Context(), `INSERT INTO firstclick.dead_letters (group_id, topic, partition, "offset",
		reason, payload_size, status, resolved_at)
		VALUES ('firstclick', 'clicks', 0, 77, 'json', 5, 'dropped', now()), ('other', 'clicks', 0, 1, 'json', 0,
			'open', NULL)`); err != nil {
		t.Fatal(err)
	}
	dropped, other := checkout+1, checkout+2
	hourAgo := time.Now().Add(-time.Hour)
	for name, c := range map[string]struct {
		filter Filter
		want   []int64
	}{
		"all open":          {Filter{}, []int64{checkout, young, old}},
		"reason":            {Filter{Reasons: []string{"json"}}, []int64{checkout, old}},
		"reasons":           {Filter{Reasons: []string{"time", "shape"}}, []int64{young}},
		"topic":             {Filter{Topic: "clicks"}, []int64{young, old}},
		"since":             {Filter{Since: hourAgo}, []int64{checkout, young}},
		"until":             {Filter{Until: hourAgo}, []int64{old}},
		"since and until":   {Filter{Since: hourAgo, Until: hourAgo}, nil},
		"dropped":           {Filter{Status: Dropped}, []int64{dropped}},
		"any status":        {Filter{Status: Any}, []int64{dropped, checkout, young, old}},
		"other group":       {Filter{Group: "other"}, []int64{other}},
		"ids":               {Filter{IDs: []int64{old, other, dropped}}, []int64{old}},
		"ids, any status":   {Filter{IDs: []int64{old, other, dropped}, Status: Any}, []int64{dropped, old}},
		"other group's ids": {Filter{IDs: []int64{old, other}, Group: "other"}, []int64{other}},
		"ids of none":       {Filter{IDs: []int64{}}, nil},
		"reason and topic":  {Filter{Reasons: []string{"json"}, Topic: "clicks"}, []int64{old}},
		"hostile, no match": {Filter{Topic: "x' OR true --"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			letters, err := b.store.List(t.Context(), c.filter, 0)
			if err != nil {
				t.Fatal(err)
			}
			var got []int64
			for _, l := range letters {
				got = append(got, l.ID)
				if l.Payload != nil {
					t.Error("a list holds payloads")
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if n, err := b.store.Count(t.Context(), c.filter); err != nil || n != int64(len(c.want)) {
				t.Errorf("counts %d, %v", n, err)
			}
		})
	}
	if letters, err := b.store.List(t.Context(), Filter{}, 1); err != nil || len(letters) != 1 ||
		letters[0].ID != checkout {
		t.Errorf("the newest is %v, %v", letters, err)
	}
}

func TestShow(t *testing.T) {
	b := newBed(t)
	id := b.open("clicks", "json", "\x1b[2J")
	l, err := b.store.Show(t.Context(), id)
	if err != nil || string(l.Payload) != "\x1b[2J" || !l.Kept || l.Place() != "clicks[0]@0" || l.RecordTime == nil {
		t.Errorf("got %+v, %v", l, err)
	}
	lost, err := b.store.Show(t.Context(), b.letter("clicks", "too_large", nil, 2<<20, 0))
	if err != nil || lost.Kept || lost.Payload != nil || lost.Size != 2<<20 {
		t.Errorf("got %+v, %v", lost, err)
	}
	none, err := b.store.Show(t.Context(), b.letter("clicks", "empty", nil, 0, 0))
	if err != nil || !none.Kept || none.Payload != nil {
		t.Errorf("a record without a value: %+v, %v", none, err)
	}
	var missing *NotFoundError
	if _, err := b.store.Show(t.Context(), 99); !errors.As(err, &missing) || missing.ID != 99 {
		t.Errorf("got %v", err)
	}
}

func TestDrop(t *testing.T) {
	b := newBed(t)
	one, two, three := b.open("clicks", "json", "{"), b.open("clicks", "time", "{}"), b.open("clicks", "json", "[")
	if n, err := b.store.Drop(t.Context(), Filter{IDs: []int64{one, 99}}); err == nil || n != 0 ||
		b.status(one) != Open {
		t.Errorf("with an id that is not there: %d, %v, %s", n, err, b.status(one))
	}
	if n, err := b.store.Drop(t.Context(), Filter{Reasons: []string{"json"}}); err != nil || n != 2 {
		t.Errorf("got %d, %v", n, err)
	}
	if b.status(one) != Dropped || b.status(two) != Open || b.status(three) != Dropped {
		t.Errorf("now %s, %s, %s", b.status(one), b.status(two), b.status(three))
	}
	before, err := b.store.Show(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := b.store.Drop(t.Context(), Filter{IDs: []int64{one}, Status: Any}); err != nil || n != 0 {
		t.Errorf("dropped again: %d, %v", n, err)
	}
	if after, err := b.store.Show(t.Context(), one); err != nil || !after.ResolvedAt.Equal(*before.ResolvedAt) {
		t.Errorf("resolved at %v, then %v (%v)", before.ResolvedAt, after.ResolvedAt, err)
	}
}

func TestNoTable(t *testing.T) {
	store, err := Connect(t.Context(), pgtest.Empty(t))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close(context.Background())
	if _, err := store.List(t.Context(), Filter{}, 0); !errors.Is(err, ErrNoTable) {
		t.Errorf("got %v", err)
	}
}

// By its id alone, a letter of another group, or one that somebody else has resolved, is neither
// dropped nor sent again.
func TestOthersLettersAreLeftAlone(t *testing.T) {
	b := newBed(t, "clicks", "others-clicks")
	var theirs int64
	if err := b.conn.QueryRow(t.Context(), `INSERT INTO firstclick.dead_letters (group_id, topic, partition, "offset",
		reason, payload, payload_size)
		VALUES ('other', 'others-clicks', 0, 1, 'json', '{', 1) RETURNING id`).Scan(&theirs); err != nil {
		t.Fatal(err)
	}
	resolved := b.open("clicks", "json", "{")
	if _, err := b.conn.Exec(t.Context(),
		`UPDATE firstclick.dead_letters SET status = 'dropped', resolved_at = now() WHERE id = $1`,
		resolved); err != nil {
		t.Fatal(err)
	}
	var missing *NotFoundError
	if n, err := b.store.Drop(t.Context(), Filter{IDs: []int64{theirs}}); !errors.As(err, &missing) ||
		missing.Group != "other" || n != 0 {
		t.Errorf("dropped %d of another group: %v", n, err)
	}
	if done, err := b.store.Retry(t.Context(),
		Retry{Kafka: b.kafka(), Filter: Filter{IDs: []int64{theirs}}}); !errors.As(err, &missing) || done.Sent != 0 {
		t.Errorf("sent %+v of another group: %v", done, err)
	}
	if done, err := b.store.Retry(t.Context(),
		Retry{Kafka: b.kafka(), Filter: Filter{IDs: []int64{resolved}}, Edited: []byte("{}")}); err != nil ||
		done.Sent != 0 {
		t.Errorf("sent %+v of what was dropped: %v", done, err)
	}
	if b.status(theirs) != Open || b.status(resolved) != Dropped {
		t.Errorf("now %s and %s", b.status(theirs), b.status(resolved))
	}
	if done, err := b.store.Retry(t.Context(),
		Retry{Kafka: b.kafka(), Filter: Filter{IDs: []int64{theirs}, Group: "other"}}); err != nil || done.Sent != 1 ||
		b.status(theirs) != Retried {
		t.Errorf("by its own group: %+v, %v", done, err)
	}
}

// A letter that somebody drops after it was looked up is not sent, and stays dropped.
func TestDroppedWhileRetried(t *testing.T) {
	b := newBed(t, "clicks")
	first, second := b.open("clicks", "json", "{"), b.open("clicks", "json", "[")
	letters := []pending{{id: first, size: 1, topic: "clicks", kept: true},
		{id: second, size: 1, topic: "clicks", kept: true}}
	if _, err := b.store.Drop(t.Context(), Filter{IDs: []int64{second}}); err != nil {
		t.Fatal(err)
	}
	producer, err := newProducer(b.kafka())
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	var done Retries
	if err := b.store.send(t.Context(), producer, &refetcher{}, letters, Retry{}, &done); err != nil ||
		done.Sent != 1 || b.status(first) != Retried || b.status(second) != Dropped {
		t.Errorf("%+v, %v: %s and %s", done, err, b.status(first), b.status(second))
	}
}
