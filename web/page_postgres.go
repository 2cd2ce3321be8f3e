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
	rows, err := p.pool.Query(ctx, `SELECT left(checkout_id, $2), left(click_id, $2), left(user_name, $3), left(total_amount::text, $3), checkout_time, click_time
		FROM commerce.attributed_checkouts WHERE checkout_id = ANY ($1) ORDER BY checkout_time DESC NULLS LAST, checkout_id`, ids, maxID, cellShown)
	if err != nil {
		return // tellPostgres says so
	}
	latest, err := pgx.CollectRows(rows, pgx.RowToStructByPos[shownRow])
	if err != nil {
		return
	}
	told := shownRows{Order: []string{}, Rows: map[string]shownRow{}}
	for _, row := range fitting(latest, listSize, func(r shownRow) []any { return []any{r, r.CheckoutID, r.CheckoutID} }) {
		told.Order = append(told.Order, row.CheckoutID)
		told.Rows[row.CheckoutID] = row
	}
	p.hub.keep("rows", told)
}

// Texts are other people's and may be a megabyte each, so Postgres cuts them: they must not come here.
const (
	cellShown = 120      // characters of a text in a table, at most; an id is shown whole
	listSize  = 48 << 10 // bytes of a list in an event
)

// shownRows are the latest rows: Order has their ids, the newest first.
type shownRows struct {
	Order []string            `json:"order"`
	Rows  map[string]shownRow `json:"rows"`
}

// instance is a row of firstclick.instances.
type instance struct {
	Instance  string    `json:"instance"`
	Host      string    `json:"host"`
	PID       int       `json:"pid"`
	Version   string    `json:"version"`
	Listen    *string   `json:"listen"`
	Shards    []int32   `json:"shards"` // the first of them
	Has       int       `json:"has"`    // so many
	StartedAt time.Time `json:"started_at"`
	Silent    float64   `json:"silent_s"` // since it was last heard of
}

// aside is what Postgres says besides the rows.
type aside struct {
	Instances   map[string]instance `json:"instances"`    // by name
	DeadLetters map[string]int64    `json:"dead_letters"` // open ones, by reason; counted up to a bound
	Late        int64               `json:"late"`         // not repaired
	Unknown     int64               `json:"unknown"`      // rows that wait for a user's name
	Error       string              `json:"error,omitempty"`
}

// countedAtMost bounds what is counted for the page: past it there are "more".
const countedAtMost = 10_000

// reasonShown is more than the longest reason of a dead letter has.
const reasonShown = 40

func (p *Page) tellPostgres(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, queryWithin)
	defer cancel()
	a, err := p.askAside(ctx)
	if err != nil {
		if ctx.Err() != nil {
			a.Error = "Postgres does not answer the page within " + span(queryWithin)
		} else {
			a.Error = clip(err.Error())
		}
	}
	p.hub.keep("aside", a)
}

func (p *Page) askAside(ctx context.Context) (a aside, err error) {
	a = aside{Instances: map[string]instance{}, DeadLetters: map[string]int64{}}
	batch := &pgx.Batch{}
	batch.Queue(`SELECT left(instance, $2), left(host, $2), pid, left(version, $2), left(listen, $2), shards[1:32], cardinality(shards), started_at,
		extract(epoch FROM clock_timestamp() - heartbeat_at)::float8
		FROM firstclick.instances WHERE group_id = $1 ORDER BY heartbeat_at DESC, instance LIMIT 200`, p.cfg.Group, cellShown).Query(func(rows pgx.Rows) error {
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[instance])
		for _, one := range fitting(list, listSize, func(i instance) []any { return []any{i, i.Instance} }) {
			a.Instances[one.Instance] = one
		}
		return err
	})
	batch.Queue(`SELECT left(reason, $3), count(*) FROM (SELECT reason FROM firstclick.dead_letters WHERE group_id = $1 AND status = 'open'
		LIMIT $2) l GROUP BY 1 ORDER BY 2 DESC LIMIT 40`, p.cfg.Group, countedAtMost, reasonShown).Query(func(rows pgx.Rows) error {
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
		p.hub.keep("verify", last)
		began := time.Now()
		verdict, err := p.cfg.Verify(ctx)
		if ctx.Err() != nil {
			return
		}
		took := time.Since(began)
		last.Running, last.Error = false, ""
		if err != nil {
			last.Error = clip(err.Error())
		} else {
			verdict.Text = clip(verdict.Text)
			last = checked{At: time.Now(), Took: took.Seconds(), Known: true, Verdict: verdict}
		}
		p.hub.keep("verify", last)
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
