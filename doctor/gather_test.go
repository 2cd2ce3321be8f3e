package doctor

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
)

// begun is a group that has read the first three records of both topics.
const begun = `INSERT INTO firstclick.progress (group_id, clicks_topic, checkouts_topic, window_length, lateness,
	out_of_order, time_zone, start, clicks_start, checkouts_start)
		VALUES ('firstclick', 'clicks', 'checkouts', '1 hour', '15 minutes', '15 seconds', 'UTC', 'earliest', '{0}',
			'{0}');
	INSERT INTO firstclick.offsets (group_id, topic, partition, next_offset, recent_offset, clicks_next)
		VALUES ('firstclick', 'checkouts', 0, 3, 0, '{3}')`

// While doctor reads the stored positions, records come, are read, and the oldest are deleted. That
// is no finding.
func TestPositionsThatMoveMeanwhile(t *testing.T) {
	cluster := kafkatest.FakeCluster(t, kfake.SeedTopics(1, "clicks", "checkouts"))
	brokers := cluster.ListenAddrs()
	three := [][]byte{[]byte("{}"), []byte("{}"), []byte("{}")}
	for _, topic := range []string{"clicks", "checkouts"} {
		kafkatest.Produce(t, brokers, topic, 0, three...)
	}
	dsn := pgtest.New(t)
	execute(t, dsn, begun)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	watch, err := pgx.Connect(t.Context(), dsn) // a transaction keeps its first view of the sessions
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close(context.Background())
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE firstclick.progress`); err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 100)
	cluster.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		for _, topic := range req.(*kmsg.ListOffsetsRequest).Topics {
			for _, p := range topic.Partitions {
				if p.Timestamp == -1 { // the end
					select {
					case asked <- struct{}{}:
					default:
					}
				}
			}
		}
		return nil, nil, false
	})
	reports := make(chan *Report, 1)
	go func() { reports <- Run(t.Context(), configFor(brokers, dsn)) }()

	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for waiting := false; !waiting; <-ticker.C {
		if err := watch.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE application_name = 'firstclick doctor' AND wait_event_type = 'Lock'
			AND datname = current_database())`).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	select { // by now a wrong doctor has read the ends, before the positions
	case <-asked:
	case <-time.After(time.Second):
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, topic := range []string{"clicks", "checkouts"} {
		kafkatest.Produce(t, brokers, topic, 0, three...)
		gone := kadm.Offsets{}
		gone.AddOffset(topic, 0, 5, -1)
		if answers, err := kadm.NewClient(client).DeleteRecords(t.Context(), gone); err != nil ||
			answers.Error() != nil {
			t.Fatal(err, answers.Error())
		}
	}
	if _, err := tx.Exec(t.Context(),
		`UPDATE firstclick.offsets SET next_offset = 6, clicks_next = '{6}'`); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := <-reports
	want(t, r, "offsets", OK, "all within their topics")
	if !r.OK() {
		t.Errorf("fails: %+v", r.Findings)
	}
}

// A finding that only one of the two looks has is dropped.
func TestTwoLooksAgree(t *testing.T) {
	gone := findings{}.failAbout("a", "", "a is gone")
	ends := findings{}.failAbout("b", "", "b ends")
	fine := findings{}.ok("all is well")
	for name, c := range map[string]struct {
		first, second findings
		want          []string
	}{
		"nothing is wrong":         {fine, fine, []string{"all is well"}},
		"both":                     {gone, findings{}.failAbout("a", "", "a is gone since"), []string{"a is gone"}},
		"the first only":           {gone, fine, []string{"all is well"}},
		"each something else":      {gone, ends, nil},
		"one of two":               {slices.Concat(gone, ends), ends, []string{"b ends"}},
		"no second look":           {gone, nil, []string{"a is gone (a second look was not possible)"}},
		"one needs no second look": {gone[:1:1].warn("", "steady"), fine, []string{"steady"}},
	} {
		again := &facts{}
		if c.second == nil {
			again.errs = map[string]error{"stored group": context.DeadlineExceeded}
		}
		got := confirmed(c.first, again, check{run: func(*facts) findings { return slices.Clone(c.second) }})
		if len(got) != len(c.want) {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		for i := range got {
			if got[i].Text != c.want[i] {
				t.Errorf("%s: %q, want %q", name, got[i].Text, c.want[i])
			}
		}
	}
}

// Another application's consumer is a member of the group and has all partitions.
func TestAnotherApplicationInTheGroup(t *testing.T) {
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	dsn := pgtest.New(t)
	execute(t, dsn, begun)
	kafkatest.Produce(t, brokers, "checkouts", 0, []byte("{}"), []byte("{}"), []byte("{}"))
	kafkatest.Produce(t, brokers, "clicks", 0, []byte("{}"), []byte("{}"), []byte("{}"))
	member, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...),
		kgo.ClientID("reports"),
		kgo.ConsumerGroup("firstclick"),
		kgo.ConsumeTopics("checkouts"),
	)
	if err != nil {
		t.Fatal(err)
	}
	defer member.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if member.PollFetches(ctx).NumRecords() == 0 {
		t.Fatal("it has not joined")
	}
	r := Run(t.Context(), configFor(brokers, dsn))
	want(t, r, "group", Fail, "reports at 127.0.0.1", "is no firstclick, and has checkouts[0]")
	for _, f := range r.of("group") {
		if f.Status == OK {
			t.Errorf("and yet: %s", f.Text)
		}
	}
}
