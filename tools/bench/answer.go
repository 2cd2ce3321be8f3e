package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"firstclick/internal/pgsession"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
)

const columns = `checkout_id, user_name, click_id, product_id, payment_method, total_amount, shipping_address, billing_address,
	user_agent, ip_address, checkout_time, click_time`

// answer computes the right rows and writes them to files.
func (p *place) answer(ctx context.Context, load *Workload) error {
	if err := p.expect(ctx, load); err != nil {
		return err
	}
	file := func(name string) string { return filepath.Join(p.dir, name+".copy") }
	p.arrival, p.sorted, p.halves = file("arrival"), file("sorted"), []string{file("even"), file("odd")}
	const byArrival = `"offset", partition`
	for _, f := range []struct{ path, of, order string }{
		{p.arrival, "true", byArrival}, {p.sorted, "true", `checkout_id COLLATE "C"`},
		{p.halves[0], `"offset" % 2 = 0`, byArrival}, {p.halves[1], `"offset" % 2 = 1`, byArrival},
	} {
		if err := p.export(ctx, f.path, f.of, f.order); err != nil {
			return err
		}
	}
	return nil
}

// expect loads the records as they are into Postgres and lets SQL read the JSON and find the clicks. Nothing of join/ has a part in it.
func (p *place) expect(ctx context.Context, load *Workload) error {
	if err := execute(ctx, p.database, `CREATE SCHEMA IF NOT EXISTS bench`,
		`CREATE UNLOGGED TABLE bench.records (topic text, partition int, "offset" bigint, value text)`); err != nil {
		return err
	}
	bytes, err := p.load(ctx)
	if err != nil {
		return err
	}
	if err := execute(ctx, p.database, p.answerStatements()...); err != nil {
		return err
	}
	load.Bytes = bytes
	if load.Rows, load.Attributed, load.Digest, err = p.digest(ctx, p.answers); err != nil {
		return err
	}
	if load.Rows != load.Checkouts {
		return fmt.Errorf("the answer has %d rows for %d checkouts", load.Rows, load.Checkouts)
	}
	p.expected = *load
	return nil
}

// answerStatements make the table of right rows. Of equal duplicates one counts.
func (p *place) answerStatements() []string {
	return []string{
		`CREATE UNLOGGED TABLE bench.clicks AS
			SELECT e.* FROM bench.records r, json_to_record(r.value::json)
				AS e(click_id text, user_id int, product_id text, datetime_occured timestamp)
			WHERE topic = '` + p.topics.clicks + `'`,
		`CREATE INDEX ON bench.clicks (user_id, product_id, datetime_occured, click_id COLLATE "C")`,
		`ANALYZE bench.clicks`,
		`CREATE UNLOGGED TABLE ` + p.answers + ` AS
			SELECT DISTINCT ON (k.checkout_id) r.partition, r."offset", k.checkout_id, u.username AS user_name, c.click_id, k.product_id,
				k.payment_method, k.total_amount, k.shipping_address, k.billing_address, k.user_agent, k.ip_address,
				k.datetime_occured AS checkout_time, c.datetime_occured AS click_time
			FROM bench.records r
			CROSS JOIN json_to_record(r.value::json) AS k(checkout_id text, user_id int, product_id text, payment_method text,
				total_amount numeric(12,2), shipping_address text, billing_address text, user_agent text, ip_address text,
				datetime_occured timestamp)
			LEFT JOIN commerce.users u ON u.id = k.user_id
			LEFT JOIN LATERAL (
				SELECT c.click_id, c.datetime_occured FROM bench.clicks c
				WHERE c.user_id = k.user_id AND c.product_id = k.product_id
					AND c.datetime_occured BETWEEN k.datetime_occured - interval '1 hour' AND k.datetime_occured
				ORDER BY c.datetime_occured, c.click_id COLLATE "C" LIMIT 1) c ON true
			WHERE r.topic = '` + p.topics.checkouts + `'
			ORDER BY k.checkout_id`,
		`CREATE UNIQUE INDEX ON ` + p.answers + ` (checkout_id)`,
		`ANALYZE ` + p.answers,
		`DROP TABLE bench.records, bench.clicks`,
	}
}

// load copies all records into bench.records and returns the size of their values.
func (p *place) load(ctx context.Context) (bytes int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rows := make(chan []any, 4096)
	read := make(chan error, 1)
	go func() {
		defer close(rows)
		_, err := p.consume(ctx, func(part kgo.FetchTopicPartition) error {
			for _, r := range part.Records {
				bytes += int64(len(r.Value))
				select {
				case rows <- []any{r.Topic, r.Partition, r.Offset, string(r.Value)}:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
		read <- err
	}()

	conn, err := pgsession.Connect(ctx, p.database, application)
	if err == nil {
		defer conn.Close(ctx)
		_, err = conn.CopyFrom(ctx, pgx.Identifier{"bench", "records"}, []string{"topic", "partition", "offset", "value"},
			pgx.CopyFromFunc(func() ([]any, error) { return <-rows, nil }))
	}
	if err != nil {
		cancel()
		return 0, errors.Join(fmt.Errorf("load the events into Postgres: %w", err), <-read)
	}
	return bytes, <-read
}

// export writes some of the finished rows to path in the binary format of COPY.
// https://www.postgresql.org/docs/current/sql-copy.html
func (p *place) export(ctx context.Context, path, of, order string) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("make the file of rows: %w", err)
	}
	defer file.Close()
	conn, err := connect(ctx, p.database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	query := fmt.Sprintf(`COPY (SELECT %s FROM %s WHERE %s ORDER BY %s) TO STDOUT (FORMAT binary)`, columns, p.answers, of, order)
	if _, err := conn.PgConn().CopyTo(ctx, file, query); err != nil {
		return fmt.Errorf("export the finished rows: %w", err)
	}
	return file.Close()
}

// digest of a table's answers, whatever the order of its rows.
func (p *place) digest(ctx context.Context, table string) (rows, attributed int64, digest string, err error) {
	conn, err := connect(ctx, p.database)
	if err != nil {
		return 0, 0, "", err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, `SELECT count(*), count(click_id), coalesce(sum(hashtextextended(
			concat_ws('|', checkout_id, coalesce(click_id, '-'), coalesce(click_time::text, '-')), 0)::numeric), 0)::text
		FROM `+table).Scan(&rows, &attributed, &digest)
	if err != nil {
		return 0, 0, "", fmt.Errorf("read the digest of %s: %w", table, err)
	}
	return rows, attributed, digest, nil
}

// check compares the table with the answer, first by digest, then column by column.
func (p *place) check(ctx context.Context) error {
	rows, attributed, digest, err := p.digest(ctx, "commerce.attributed_checkouts")
	if err != nil {
		return err
	}
	conn, err := connect(ctx, p.database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var missing, extra, clicks, others int64
	err = conn.QueryRow(ctx, `SELECT count(*) FILTER (WHERE a.checkout_id IS NULL), count(*) FILTER (WHERE e.checkout_id IS NULL),
			count(*) FILTER (WHERE (a.click_id, a.click_time) IS DISTINCT FROM (e.click_id, e.click_time)),
			count(*) FILTER (WHERE (a.user_name, a.product_id, a.payment_method, a.total_amount, a.shipping_address, a.billing_address,
					a.user_agent, a.ip_address, a.checkout_time)
				IS DISTINCT FROM (e.user_name, e.product_id, e.payment_method, e.total_amount, e.shipping_address, e.billing_address,
					e.user_agent, e.ip_address, e.checkout_time))
		FROM commerce.attributed_checkouts a FULL JOIN `+p.answers+` e USING (checkout_id)`).
		Scan(&missing, &extra, &clicks, &others)
	if err != nil {
		return fmt.Errorf("compare with the answer: %w", err)
	}
	if digest != p.expected.Digest || missing+extra+clicks+others > 0 {
		return fmt.Errorf("wrong answer: %d rows, %d with a click, digest %s; %d missing, %d extra, %d with other click columns, "+
			"%d with other columns", rows, attributed, digest, missing, extra, clicks, others)
	}
	return nil
}
