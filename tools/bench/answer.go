package main

import (
	"context"
	_ "embed" // answer.sql
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/tools/testbed"
)

const columns = `checkout_id, user_name, click_id, product_id, payment_method, total_amount, shipping_address,
	billing_address, user_agent, ip_address, checkout_time, click_time`

//go:embed answer.sql
var answerSQL string

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
			return fmt.Errorf("export the finished rows: %w", err)
		}
	}
	return nil
}

// expect computes the table of right rows, and completes the workload by what they are.
func (p *place) expect(ctx context.Context, load *Workload) (err error) {
	if err := p.Exec(ctx, `CREATE SCHEMA IF NOT EXISTS bench`,
		`CREATE UNLOGGED TABLE bench.records (topic text, partition int, "offset" bigint, value text)`); err != nil {
		return err
	}
	if load.Bytes, err = p.load(ctx); err != nil {
		return fmt.Errorf("load the events into Postgres: %w", err)
	}
	sql := strings.NewReplacer("CLICKS", p.topics.clicks, "CHECKOUTS", p.topics.checkouts, "ANSWERS",
		p.answers).Replace(answerSQL)
	if err := p.Exec(ctx, sql); err != nil {
		return err
	}
	if load.Rows, load.Attributed, load.Digest, err = p.digest(ctx, p.answers); err != nil {
		return err
	}
	if load.Rows != load.Checkouts {
		return fmt.Errorf("the answer has %d rows for %d checkouts", load.Rows, load.Checkouts)
	}
	p.expected = *load
	return nil
}

// load copies all records into bench.records and returns the size of their values.
func (p *place) load(ctx context.Context) (bytes int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rows := make(chan []any, 4096)
	read := make(chan error, 1)
	go func() {
		defer close(rows)
		_, err := testbed.Read(ctx, p.kafka.Addr, p.ends, func(part kgo.FetchTopicPartition) error {
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
	err = p.With(ctx, func(conn *pgx.Conn) error {
		_, err := conn.CopyFrom(ctx, pgx.Identifier{"bench", "records"},
			[]string{"topic", "partition", "offset", "value"},
			pgx.CopyFromFunc(func() ([]any, error) { return <-rows, nil }))
		return err
	})
	if err != nil {
		cancel()
	}
	return bytes, errors.Join(err, <-read)
}

// export writes some of the finished rows to path in the binary format of COPY.
// https://www.postgresql.org/docs/current/sql-copy.html
func (p *place) export(ctx context.Context, path, of, order string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	query := fmt.Sprintf(`COPY (SELECT %s FROM %s WHERE %s ORDER BY %s) TO STDOUT (FORMAT binary)`, columns, p.answers,
		of, order)
	err = p.With(ctx, func(conn *pgx.Conn) error {
		_, err := conn.PgConn().CopyTo(ctx, file, query)
		return err
	})
	return errors.Join(err, file.Close())
}

// digest of a table's answers, whatever the order of its rows.
func (p *place) digest(ctx context.Context, table string) (rows, attributed int64, digest string, err error) {
	err = p.Row(ctx, `SELECT count(*), count(click_id), coalesce(sum(hashtextextended(
			concat_ws('|', checkout_id, coalesce(click_id, '-'), coalesce(click_time::text, '-')), 0)::numeric),
				0)::text
		FROM `+table, nil, &rows, &attributed, &digest)
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
	var missing, extra, clicks, others int64
	err = p.Row(ctx, `SELECT count(*) FILTER (WHERE a.checkout_id IS NULL), count(*) FILTER (WHERE e.checkout_id IS
		NULL),
			count(*) FILTER (WHERE (a.click_id, a.click_time) IS DISTINCT FROM (e.click_id, e.click_time)),
			count(*) FILTER (WHERE (a.user_name, a.product_id, a.payment_method, a.total_amount, a.shipping_address,
					a.billing_address, a.user_agent, a.ip_address, a.checkout_time)
				IS DISTINCT FROM (e.user_name, e.product_id, e.payment_method, e.total_amount, e.shipping_address,
					e.billing_address, e.user_agent, e.ip_address, e.checkout_time))
		FROM commerce.attributed_checkouts a FULL JOIN `+p.answers+` e USING (checkout_id)`,
		nil, &missing, &extra, &clicks, &others)
	if err != nil {
		return fmt.Errorf("compare with the answer: %w", err)
	}
	if digest != p.expected.Digest || missing+extra+clicks+others > 0 {
		return fmt.Errorf("wrong answer: %d rows, %d with a click, digest %s; %d missing, %d extra, "+
			"%d with other click columns, %d with other columns",
			rows, attributed, digest, missing, extra, clicks, others)
	}
	return nil
}
