package web

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"firstclick/internal/pgtest"
	"firstclick/pipeline"
)

// merged does what the page does with a patch: https://datatracker.ietf.org/doc/html/rfc7396.
func merged(target any, change any) any {
	object, ok := change.(map[string]any)
	if !ok {
		return change
	}
	was, _ := target.(map[string]any)
	out := maps.Clone(was)
	if out == nil {
		out = map[string]any{}
	}
	for name, member := range object {
		if member == nil {
			delete(out, name)
		} else {
			out[name] = merged(out[name], member)
		}
	}
	return out
}

// A stream that applies every patch has the last state.
func TestPatches(t *testing.T) {
	names := rapid.SampledFrom([]string{"a", "b", "__proto__"})
	var values func(depth int) *rapid.Generator[any]
	values = func(depth int) *rapid.Generator[any] {
		leaf := rapid.OneOf(
			rapid.Just[any](nil),
			rapid.Just[any]("x"),
			rapid.Just[any](json.Number("9223372036854775807")),
			rapid.Just[any]([]any{"y"}),
		)
		if depth == 0 {
			return leaf
		}
		return rapid.OneOf(
			leaf,
			rapid.Map(rapid.MapOfN(names, values(depth-1), 0, 3), func(m map[string]any) any { return m }),
		)
	}
	rapid.Check(t, func(rt *rapid.T) {
		h := newHub()
		early, err := h.join("a")
		if err != nil {
			rt.Fatal(err)
		}
		var have, want any
		for range rapid.IntRange(1, 6).Draw(rt, "times") {
			value := map[string]any{"v": values(3).Draw(rt, "value")}
			if want, err = plain(value); err != nil {
				rt.Fatal(err)
			}
			h.publish("now", value)
		}
		late, err := h.join("b")
		if err != nil {
			rt.Fatal(err)
		}
		h.close()
		take := func(s *stream) (have any) {
			for event := range s.events {
				data := strings.TrimSuffix(strings.SplitN(string(event), "data: ", 2)[1], "\n\n")
				decoder := json.NewDecoder(strings.NewReader(data))
				decoder.UseNumber()
				var change any
				if err := decoder.Decode(&change); err != nil {
					rt.Fatal(err)
				}
				have = merged(have, change)
			}
			return have
		}
		if have = take(early); !reflect.DeepEqual(have, want) {
			rt.Fatalf("patched to %v, want %v", have, want)
		}
		if have = take(late); !reflect.DeepEqual(have, want) {
			rt.Fatalf("came later to %v, want %v", have, want)
		}
	})
}

// A state that has not changed is not sent again.
func TestUnchangedIsNotSent(t *testing.T) {
	h := newHub()
	s, err := h.join("a")
	if err != nil {
		t.Fatal(err)
	}
	rows := shownRows{
		Order: []string{"k1", "k2"},
		Rows:  map[string]shownRow{"k1": {CheckoutID: "k1"}, "k2": {CheckoutID: "k2"}},
	}
	h.publish("rows", rows)
	h.publish("rows", rows)
	name := "Ada"
	rows.Rows["k2"] = shownRow{CheckoutID: "k2", UserName: &name}
	h.publish("rows", rows)
	h.close()
	var got []string
	for event := range s.events {
		got = append(got, string(event))
	}
	if len(got) != 2 || got[1] != "event: rows\ndata: {\"rows\":{\"k2\":{\"user_name\":\"Ada\"}}}\n\n" {
		t.Errorf("%q", got)
	}
}

// With any length of foreign texts and any number of everything, an event has at most 64 KB and
// shows what fits.
func TestEventsAreSmall(t *testing.T) {
	dsn := pgtest.New(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	const ids = 16
	for _, sql := range []string{
		`INSERT INTO commerce.attributed_checkouts (checkout_id, click_id, user_name, product_id, payment_method,
			user_agent, shipping_address, checkout_time)
			SELECT repeat('<', 200) || i, repeat('&', 250), long, long, long, long, long, now()
			FROM (SELECT repeat('>', 990000) long) l, generate_series(0, 15) i`,
		`INSERT INTO firstclick.instances (instance, group_id, host, pid, version, listen, shards)
			SELECT i || repeat('<', 2000), 'firstclick', repeat('<', 990000), 1, repeat('<', 990000),
			repeat('<', 990000), array_fill(1, ARRAY[100000]) FROM generate_series(1, 3) i`,
		`INSERT INTO firstclick.instances (instance, group_id, host, pid, version, shards) SELECT 'i' || i,
			'firstclick', repeat('"', 300), 1, 'v', '{}' FROM generate_series(1, 400) i`,
		`INSERT INTO firstclick.dead_letters (group_id, topic, partition, "offset", reason, detail, payload_size)
			SELECT 'firstclick', repeat('<', 2000), 0, i, i || repeat('<', 2000), repeat('<', 990000), 1
			FROM generate_series(1, 20) i`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%.80s: %v", sql, err)
		}
	}
	s := begin(t, "127.0.0.1:0", dsn, func(cfg *PageConfig) {
		stats := cfg.Stats
		cfg.Stats = func() pipeline.Stats {
			st := stats()
			st.Clicks, st.Shards = nil, nil
			for i := range 10_000 {
				st.Clicks = append(
					st.Clicks,
					pipeline.PartitionStats{Next: 1 << 60, End: 1<<60 + int64(i), MaxTime: time.Now().UnixMicro()},
				)
				st.Shards = append(
					st.Shards,
					pipeline.ShardStats{
						Partition: int32(i),
						Next:      1 << 60,
						End:       1<<60 + int64(i),
						Committed: 1 << 60,
						Queued:    1 << 30,
						Open:      1 << 30,
					},
				)
			}
			st.Sink.LastError, st.Users.LastError = strings.Repeat("<", 990000), strings.Repeat("<", 990000)
			return st
		}
		cfg.Latest = func() (list []string) {
			for i := range ids {
				list = append(list, fmt.Sprintf("%s%d", strings.Repeat("<", 200), i))
			}
			return list
		}
		for range 400 {
			cfg.Settings = append(cfg.Settings, Setting{Name: "--name", Value: strings.Repeat("<", 990000)})
		}
	})
	for i := range historyLength {
		s.page.feed.take(
			time.Now().Add(time.Duration(i)*time.Second),
			pipeline.Stats{Totals: pipeline.Totals{ClicksRead: int64(i) * 1_234_567_891}},
		)
	}
	s.page.record(actionState{Name: "x", Text: clip(strings.Repeat("<", 990000))})
	got := listen(t, s.base, "hello", "history", "now", "rows", "aside") // looks at the size of each
	var h hello
	var now snapshot
	var rows shownRows
	var a aside
	for kind, into := range map[string]any{"hello": &h, "now": &now, "rows": &rows, "aside": &a} {
		if err := json.Unmarshal([]byte(got[kind]), into); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
	}
	if len(h.Settings) < 10 || len(h.Acted) != 1 {
		t.Errorf("hello has %d settings", len(h.Settings))
	}
	if len(now.Clicks) != partsShown || len(now.Checkouts) != partsShown || now.Clicks[9999].Lag != 9999 ||
		now.Held.Shards != 10_000 ||
		now.Totals["rows"] == 0 {
		t.Errorf("now has %d and %d partitions: %+v", len(now.Clicks), len(now.Checkouts), now.Held)
	}
	if len(rows.Order) < 8 || len(rows.Rows) != len(rows.Order) || len(rows.Order[0]) < 200 {
		t.Errorf("%d rows", len(rows.Order))
	}
	if len(a.Instances) < 10 || len(a.DeadLetters) != 20 {
		t.Errorf("%d instances, %d reasons", len(a.Instances), len(a.DeadLetters))
	}
	if answer, body := ask(t, "GET", s.base+"/api/dead-letters", nil); answer.StatusCode != http.StatusOK ||
		len(body) > 1<<20 {
		t.Errorf("%d: dead letters in %d bytes", answer.StatusCode, len(body))
	}
}
