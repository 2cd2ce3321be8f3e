package web

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// shownRow is a row of commerce.attributed_checkouts. Times are UTC.
type shownRow struct {
	CheckoutID   string     `json:"checkout_id"`
	ClickID      *string    `json:"click_id"`
	UserName     *string    `json:"user_name"`
	ProductID    *string    `json:"product_id"`
	Payment      *string    `json:"payment_method"`
	Amount       *string    `json:"total_amount"`
	CheckoutTime *time.Time `json:"checkout_time"`
	ClickTime    *time.Time `json:"click_time"`
}

// tellRows tells the latest rows of this instance. They are asked for by their ids: the table has no index by time.
func (p *Page) tellRows(ctx context.Context) {
	if p.cfg.Latest == nil {
		return
	}
	ids := p.cfg.Latest()
	if len(ids) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, queryWithin)
	defer cancel()
	rows, err := p.pool.Query(ctx, `SELECT checkout_id, click_id, user_name, product_id, payment_method, total_amount::text, checkout_time, click_time
		FROM commerce.attributed_checkouts WHERE checkout_id = ANY ($1) ORDER BY checkout_time DESC NULLS LAST, checkout_id`, ids)
	if err != nil {
		return // tellPostgres says so
	}
	latest, err := pgx.CollectRows(rows, pgx.RowToStructByPos[shownRow])
	if err != nil {
		return
	}
	p.hub.tell("rows", true, latest)
}

// instance is a row of firstclick.instances.
type instance struct {
	Instance  string    `json:"instance"`
	Host      string    `json:"host"`
	PID       int       `json:"pid"`
	Version   string    `json:"version"`
	Listen    *string   `json:"listen"`
	Shards    []int32   `json:"shards"`
	StartedAt time.Time `json:"started_at"`
	Silent    float64   `json:"silent_s"` // since it was last heard of
}

// aside is what Postgres says besides the rows.
type aside struct {
	Instances   []instance       `json:"instances"`
	DeadLetters map[string]int64 `json:"dead_letters"` // open ones, by reason; counted up to a bound
	Late        int64            `json:"late"`         // not repaired
	Unknown     int64            `json:"unknown"`      // rows that wait for a user's name
	Error       string           `json:"error,omitempty"`
}

// countedAtMost bounds what is counted for the page: past it there are "more".
const countedAtMost = 10_000

func (p *Page) tellPostgres(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, queryWithin)
	defer cancel()
	a, err := p.askAside(ctx)
	if err != nil {
		if ctx.Err() != nil {
			a.Error = "Postgres does not answer the page within " + span(queryWithin)
		} else {
			a.Error = err.Error()
		}
	}
	p.hub.tell("aside", true, a)
}

func (p *Page) askAside(ctx context.Context) (a aside, err error) {
	a = aside{Instances: []instance{}, DeadLetters: map[string]int64{}}
	batch := &pgx.Batch{}
	batch.Queue(`SELECT instance, host, pid, version, listen, shards, started_at, extract(epoch FROM clock_timestamp() - heartbeat_at)::float8
		FROM firstclick.instances WHERE group_id = $1 ORDER BY instance LIMIT 200`, p.cfg.Group).Query(func(rows pgx.Rows) error {
		a.Instances, err = pgx.CollectRows(rows, pgx.RowToStructByPos[instance])
		return err
	})
	batch.Queue(`SELECT reason, count(*) FROM (SELECT reason FROM firstclick.dead_letters WHERE group_id = $1 AND status = 'open'
		LIMIT $2) l GROUP BY reason`, p.cfg.Group, countedAtMost).Query(func(rows pgx.Rows) error {
		var reason string
		var n int64
		_, err := pgx.ForEachRow(rows, []any{&reason, &n}, func() error { a.DeadLetters[reason] = n; return nil })
		return err
	})
	batch.Queue(`SELECT (SELECT count(*) FROM (SELECT FROM firstclick.late WHERE group_id = $1 AND repaired_at IS NULL LIMIT $2) l),
		(SELECT count(*) FROM (SELECT FROM firstclick.unknown_users LIMIT $2) u)`, p.cfg.Group, countedAtMost).QueryRow(func(row pgx.Row) error {
		return row.Scan(&a.Late, &a.Unknown)
	})
	err = p.pool.SendBatch(ctx, batch).Close()
	if a.Instances == nil {
		a.Instances = []instance{}
	}
	return a, err
}

// checked is a verification as it is told.
type checked struct {
	Running bool      `json:"running"`
	At      time.Time `json:"at"` // of the verdict
	Took    float64   `json:"took_s"`
	Known   bool      `json:"known"` // there was one
	Verdict
	Error string `json:"error,omitempty"` // why the last try came to none
}

const verifyAfterAction = 2 * time.Second

// verify compares table and Kafka again and again while somebody looks.
func (p *Page) verify(ctx context.Context) {
	var last checked
	for {
		select {
		case <-p.hub.watch():
		case <-ctx.Done():
			return
		}
		last.Running = true
		p.hub.tell("verify", true, last)
		began := time.Now()
		verdict, err := p.cfg.Verify(ctx)
		if ctx.Err() != nil {
			return
		}
		took := time.Since(began)
		last.Running, last.Error = false, ""
		if err != nil {
			last.Error = err.Error()
		} else {
			last = checked{At: time.Now(), Took: took.Seconds(), Known: true, Verdict: verdict}
		}
		p.hub.tell("verify", true, last)
		pause := max(p.cfg.VerifyEvery-took, 9*took)
		if err != nil {
			pause = 2 * time.Second // what is being restarted is back soon
		}
		select {
		case <-time.After(pause):
		case <-p.nudge:
			select {
			case <-time.After(verifyAfterAction): // what was broken gets a moment to be whole again
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
