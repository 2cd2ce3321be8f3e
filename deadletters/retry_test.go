package deadletters

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/internal/kafkatest"
)

// records reads n records of a topic.
func (b *bed) records(topic string, n int) []*kgo.Record {
	b.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.brokers...), kgo.ConsumeTopics(topic))
	if err != nil {
		b.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	var records []*kgo.Record
	for len(records) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			b.t.Fatalf("after %d records of %d: %v", len(records), n, err)
		}
		records = append(records, fetches.Records()...)
	}
	return records
}

func TestRetrySendsAndMarks(t *testing.T) {
	b := newBed(t, "clicks", "checkouts")
	future := b.open("checkouts", "future", `{"checkout_id":"k"}`)
	none := b.letter("checkouts", "empty", nil, 0, 0)
	empty := b.open("checkouts", "empty", "")
	elsewhere := b.open("clicks", "json", "{")
	before := time.Now().Add(-time.Second)
	done, err := b.store.Retry(t.Context(), Retry{Kafka: b.kafka(), Filter: Filter{Topic: "checkouts"}})
	if err != nil || done.Sent != 3 || len(done.NotKept) != 0 {
		t.Fatalf("got %+v, %v", done, err)
	}
	for id, want := range map[int64]Status{future: Retried, none: Retried, empty: Retried, elsewhere: Open} {
		if got := b.status(id); got != want {
			t.Errorf("dead letter %d is %s, want %s", id, got, want)
		}
	}
	var values []string
	for _, r := range b.records("checkouts", 3) {
		values = append(values, string(r.Value))
		if r.Key != nil {
			t.Errorf("a key: %q", r.Key)
		}
		// With the old timestamp of a day ago, an event of today would be from the future again.
		if r.Timestamp.Before(before) {
			t.Errorf("timestamp %v", r.Timestamp)
		}
	}
	slices.Sort(values)
	if !slices.Equal(values, []string{"", "", `{"checkout_id":"k"}`}) {
		t.Errorf("sent %q", values)
	}
	if done, err := b.store.Retry(t.Context(),
		Retry{Kafka: b.kafka(), Filter: Filter{IDs: []int64{future}}}); err != nil || done.Sent != 0 {
		t.Errorf("one that is not open was sent again: %+v, %v", done, err)
	}
	again := Filter{IDs: []int64{future}, Status: Retried}
	if done, err := b.store.Retry(t.Context(), Retry{Kafka: b.kafka(), Filter: again}); err != nil || done.Sent != 1 {
		t.Errorf("asked for, it was not sent again: %+v, %v", done, err)
	}
}

func TestRetryOfManyLarge(t *testing.T) {
	b := newBed(t, "clicks")
	payload := bytes.Repeat([]byte("x"), 700<<10)
	for range 5 {
		b.open("clicks", "json", string(payload))
	}
	whole := b.open("clicks", "json", strings.Repeat("y", 1<<20-2))
	done, err := b.store.Retry(t.Context(), Retry{Kafka: b.kafka(), Filter: Filter{}})
	if err != nil || done.Sent != 6 || b.status(whole) != Retried {
		t.Fatalf("got %+v, %v", done, err)
	}
	total := 0
	for _, r := range b.records("clicks", 6) {
		total += len(r.Value)
	}
	if want := 5*len(payload) + 1<<20 - 2; total != want {
		t.Errorf("%d bytes, want %d", total, want)
	}
}

// A bad record that becomes a dead letter again during a retry is not sent by the same retry, which
// would never end.
func TestRetryDoesNotFollowItself(t *testing.T) {
	b := newBed(t)
	cluster := kafkatest.FakeCluster(t, kfake.SeedTopics(1, "clicks"))
	b.brokers = cluster.ListenAddrs()
	for range 3 {
		b.letter("clicks", "json", []byte("{"), 1, 0)
	}
	back := make(chan int64, 100)
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		back <- b.open("clicks", "json", "{")
		return nil, nil, false
	})
	done, err := b.store.Retry(t.Context(), Retry{Kafka: b.kafka(), Filter: Filter{Reasons: []string{"json"}}})
	if err != nil || done.Sent != 3 {
		t.Errorf("got %+v, %v", done, err)
	}
	if id := <-back; b.status(id) != Open {
		t.Errorf("the new one is %s", b.status(id))
	}
}

func TestRetryEdited(t *testing.T) {
	b := newBed(t, "clicks")
	id, other := b.letter("clicks", "too_large", nil, 2<<20, 0), b.open("clicks", "json", "{")
	edited := []byte("{\"click_id\":\"c\"}\n")
	for name, c := range map[string]struct {
		edited []byte
		filter Filter
		says   string
	}{
		"several":   {edited, Filter{}, "not for 2"},
		"empty":     {[]byte{}, Filter{IDs: []int64{id}}, "is empty"},
		"too large": {make([]byte, 1<<20+1), Filter{IDs: []int64{id}}, "1 MiB"},
		"no id":     {edited, Filter{IDs: []int64{other, 99}}, "no dead letter 99"},
	} {
		done, err := b.store.Retry(t.Context(), Retry{Kafka: b.kafka(), Filter: c.filter, Edited: c.edited})
		if err == nil || !strings.Contains(err.Error(), c.says) || done.Sent != 0 {
			t.Errorf("%s: %+v, %v", name, done, err)
		}
	}
	done, err := b.store.Retry(t.Context(), Retry{Kafka: b.kafka(), Filter: Filter{IDs: []int64{id}}, Edited: edited})
	if err != nil || done.Sent != 1 || b.status(id) != Retried || b.status(other) != Open {
		t.Fatalf("got %+v, %v", done, err)
	}
	if got := b.records("clicks", 1)[0].Value; !bytes.Equal(got, edited) {
		t.Errorf("sent %q", got)
	}
}

func TestRetryOfWhatWasNotKept(t *testing.T) {
	b := newBed(t, "clicks")
	lost, kept := b.letter("clicks", "too_large", nil, 3<<20, 0), b.open("clicks", "json", "{")
	done, err := b.store.Retry(t.Context(), Retry{Kafka: b.kafka(), Filter: Filter{IDs: []int64{kept, lost}}})
	var refused *NotKeptError
	if !errors.As(err, &refused) || refused.ID != lost || refused.Size != 3<<20 || done.Sent != 0 ||
		b.status(kept) != Open {
		t.Errorf("by id: %+v, %v", done, err)
	}
	done, err = b.store.Retry(t.Context(), Retry{Kafka: b.kafka(), Filter: Filter{Topic: "clicks"}})
	if err != nil || done.Sent != 1 || !slices.Equal(done.NotKept, []int64{lost}) || b.status(lost) != Open ||
		b.status(kept) != Retried {
		t.Errorf("by filter: %+v, %v", done, err)
	}
}

// A payload that was not kept because many were bad is read again from its offset, if the record
// there has the letter's hash.
func TestRetryReadsAgain(t *testing.T) {
	b := newBed(t, "clicks")
	kafkatest.Produce(t, b.brokers, "clicks", 0, []byte("a"), []byte("b"), []byte("c"), []byte("d"))
	kafkatest.Produce(t, b.brokers, "clicks", 1, []byte("e"))
	place := func(partition, offset int, value string) (id int64) {
		err := b.conn.QueryRow(t.Context(), `INSERT INTO firstclick.dead_letters (group_id, topic, partition, "offset",
			reason, payload_size, payload_sha256)
			VALUES ('firstclick', 'clicks', $1, $2, 'json', length($3::text), sha256(convert_to($3,
				'UTF8'))) RETURNING id`, partition, offset, value).Scan(&id)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	second, other, last, elsewhere := place(0, 1, "b"), place(0, 2, "x"), place(0, 3, "d"), place(1, 0, "e")
	done, err := b.store.Retry(t.Context(), Retry{Kafka: b.kafka(), Filter: Filter{}})
	if err != nil || done.Sent != 3 || !slices.Equal(done.NotKept, []int64{other}) {
		t.Fatalf("got %+v, %v", done, err)
	}
	for id, want := range map[int64]Status{second: Retried, last: Retried, elsewhere: Retried, other: Open} {
		if got := b.status(id); got != want {
			t.Errorf("letter %d is %s", id, got)
		}
	}
	var sent []string
	for _, r := range b.records("clicks", 8) {
		sent = append(sent, string(r.Value))
	}
	slices.Sort(sent)
	if got := strings.Join(sent, ""); got != "abbcddee" {
		t.Errorf("the topic holds %s", got)
	}
	var refused *NotKeptError
	if _, err := b.store.Retry(t.Context(), Retry{Kafka: b.kafka(),
		Filter: Filter{IDs: []int64{other}}}); !errors.As(err, &refused) || refused.ID != other {
		t.Errorf("by id: %v", err)
	}
}

// A record that Kafka refuses stays open. Those that it accepted are marked.
func TestRetryRefused(t *testing.T) {
	b := newBed(t, "clicks")
	good, gone := b.open("clicks", "json", "{"), b.open("former", "json", "{")
	done, err := b.store.Retry(t.Context(), Retry{Kafka: b.kafka(), Filter: Filter{}})
	if err == nil || !strings.Contains(err.Error(), "no topic former") || done.Sent != 1 {
		t.Errorf("got %+v, %v", done, err)
	}
	if b.status(good) != Retried || b.status(gone) != Open {
		t.Errorf("%s and %s", b.status(good), b.status(gone))
	}
}

// A letter that was sent but not marked stays open. The next retry sends it again, which is
// harmless. No letter is marked before it is sent.
func TestRetryMarksAfterSending(t *testing.T) {
	b := newBed(t)
	cluster := kafkatest.FakeCluster(t, kfake.SeedTopics(1, "clicks"))
	b.brokers = cluster.ListenAddrs()
	id := b.open("clicks", "json", "{")
	cluster.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		if got := b.status(id); got != Open {
			t.Errorf("%s before Kafka has it", got)
		}
		if _, err := b.conn.Exec(context.Background(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE application_name = 'firstclick dead-letters' AND datname = current_database()`); err != nil {
			t.Error(err)
		}
		return nil, nil, false
	})
	watch := *b.store // status uses the test's own session
	b.store = &Store{conn: b.conn}
	done, err := watch.Retry(t.Context(), Retry{Kafka: b.kafka(), Filter: Filter{}})
	if err == nil || done.Unsure != 1 || done.Sent != 0 || !strings.Contains(err.Error(), "harmless") {
		t.Errorf("got %+v, %v", done, err)
	}
	if b.status(id) != Open || len(b.records("clicks", 1)) != 1 {
		t.Error("not sent, or marked")
	}
	done, err = b.store.Retry(t.Context(), Retry{Kafka: b.kafka(), Filter: Filter{}})
	if err != nil || done.Sent != 1 || b.status(id) != Retried {
		t.Errorf("again: %+v, %v", done, err)
	}
}

func TestExplainSend(t *testing.T) {
	for err, says := range map[error]string{
		kerr.MessageTooLarge:          "max.message.bytes",
		kerr.TopicAuthorizationFailed: "may not write to topic clicks",
		errors.New("lost"):            "send dead letter 7 to topic clicks: lost",
	} {
		if got := explainSend(7, "clicks", err).Error(); !strings.Contains(got, says) {
			t.Errorf("%v: %q", err, got)
		}
	}
}
