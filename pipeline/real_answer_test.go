//go:build realkafka

package pipeline_test

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
)

// place is that of a record.
type place struct {
	topic     string
	partition int32
	offset    int64
}

// load copies the raw records into Postgres, except those that are dead letters: verify judges
// these. The topics must hold no transactions.
func (w *world) load() {
	w.t.Helper()
	exec(w.t, w.conn, `CREATE UNLOGGED TABLE raw (topic text, partition int, "offset" bigint, value text)`)
	rows, err := w.conn.Query(w.t.Context(), `SELECT topic, partition, "offset" FROM firstclick.dead_letters
		WHERE group_id = $1`, w.group)
	if err != nil {
		w.t.Fatal(err)
	}
	dead := map[place]bool{}
	var at place
	if _, err := pgx.ForEachRow(rows, []any{&at.topic, &at.partition, &at.offset},
		func() error { dead[at] = true; return nil }); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Minute)
	defer cancel()
	ends, err := admin(w.t, w.brokers).ListEndOffsets(ctx, w.clicks, w.checkouts)
	if err != nil {
		w.t.Fatal(err)
	}
	left := int64(0)
	offsets := map[string]map[int32]kgo.Offset{w.clicks: {}, w.checkouts: {}}
	for topic, partitions := range ends {
		for p, end := range partitions {
			left += end.Offset
			offsets[topic][p] = kgo.NewOffset().AtStart()
		}
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.brokers...), kgo.ConsumePartitions(offsets))
	if err != nil {
		w.t.Fatal(err)
	}
	defer cl.Close()
	var iter *kgo.FetchesRecordIter
	next := func() ([]any, error) {
		for ; left > 0; left-- {
			for iter == nil || iter.Done() {
				fetches := cl.PollFetches(ctx)
				if err := fetches.Err(); err != nil {
					return nil, err
				}
				iter = fetches.RecordIter()
			}
			r := iter.Next()
			if !dead[place{r.Topic, r.Partition, r.Offset}] {
				left--
				return []any{r.Topic, r.Partition, r.Offset, string(r.Value)}, nil
			}
		}
		return nil, nil
	}
	if _, err := w.conn.CopyFrom(ctx, pgx.Identifier{"raw"}, []string{"topic", "partition", "offset", "value"},
		pgx.CopyFromFunc(next)); err != nil {
		w.t.Fatalf("load the records: %v", err)
	}
}

// compareWithSQL compares the table with the meaning of a row as plain SQL over the raw records. No
// user may have been renamed since the first checkout, and no click may have come too late.
func (w *world) compareWithSQL() {
	w.t.Helper()
	w.load()
	for _, sql := range []string{
		`CREATE UNLOGGED TABLE sql_clicks AS SELECT e.* FROM raw, json_to_record(raw.value::json)
			AS e(click_id text, user_id int, product_id text, datetime_occured timestamp)
				WHERE topic = '` + w.clicks + `'`,
		`CREATE INDEX ON sql_clicks (user_id, product_id, datetime_occured, click_id COLLATE "C")`,
		`ANALYZE sql_clicks`,
		`CREATE UNLOGGED TABLE sql_answer AS
			SELECT DISTINCT ON (k.checkout_id) k.checkout_id, u.username AS user_name, c.click_id, k.product_id,
				k.payment_method, k.total_amount,
				k.shipping_address, k.billing_address, k.user_agent, k.ip_address,
					k.datetime_occured AS checkout_time, c.datetime_occured AS click_time
			FROM raw CROSS JOIN json_to_record(raw.value::json) AS k(checkout_id text, user_id int, product_id text,
				payment_method text,
				total_amount numeric(12,2), shipping_address text, billing_address text, user_agent text,
					ip_address text, datetime_occured timestamp)
			LEFT JOIN commerce.users u ON u.id = k.user_id
			LEFT JOIN LATERAL (SELECT c.click_id, c.datetime_occured FROM sql_clicks c
				WHERE c.user_id = k.user_id AND c.product_id = k.product_id
					AND c.datetime_occured BETWEEN k.datetime_occured - interval '1 hour' AND k.datetime_occured
				ORDER BY c.datetime_occured, c.click_id COLLATE "C" LIMIT 1) c ON true
			WHERE topic = '` + w.checkouts + `' ORDER BY k.checkout_id`,
	} {
		exec(w.t, w.conn, sql)
	}
	const have = `SELECT checkout_id, user_name, click_id, product_id, payment_method, total_amount, shipping_address,
		billing_address, user_agent,
		ip_address, checkout_time, click_time FROM commerce.attributed_checkouts`
	extra := count(w.t, w.conn, `SELECT count(*) FROM (`+have+` EXCEPT ALL SELECT * FROM sql_answer) d`)
	missing := count(w.t, w.conn, `SELECT count(*) FROM (SELECT * FROM sql_answer EXCEPT ALL `+have+`) d`)
	w.t.Logf("plain SQL: %d rows in the answer; %d rows of the table are not in it, %d of it are not in the table",
		count(w.t, w.conn, `SELECT count(*) FROM sql_answer`), extra, missing)
	if missing+extra != 0 {
		w.t.Errorf("the table is not the answer")
	}
	w.compareOffsets()
}

// compareOffsets compares the offsets with the rows: every record below them is a row, a dead
// letter, or a duplicate.
func (w *world) compareOffsets() {
	w.t.Helper()
	read := count(w.t, w.conn, `SELECT sum(next_offset)::bigint FROM firstclick.offsets WHERE group_id = $1
		AND topic = $2`, w.group, w.checkouts)
	records := count(w.t, w.conn, `SELECT count(*) FROM raw WHERE topic = $1`, w.checkouts)
	dead := countLetters(w.t, w.conn, `group_id = $1 AND topic = $2`, w.group, w.checkouts)
	distinct := count(w.t, w.conn, `SELECT count(*) FROM sql_answer`)
	rows := countRows(w.t, w.conn, `true`)
	if read != records+dead {
		w.t.Errorf("offsets stand at %d records in all; the topic has %d and %d dead letters", read, records, dead)
	}
	if duplicates := records - distinct; read-dead-duplicates != rows {
		w.t.Errorf("%d records read, %d dead letters, %d duplicates: %d rows expected, %d there", read, dead,
			duplicates, read-dead-duplicates, rows)
	}
}
