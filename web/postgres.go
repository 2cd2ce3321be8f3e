package web

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Foreign texts may be a megabyte each: Postgres cuts them before they come here.
const (
	cellShown   = 120      // characters of a text in a table, at most; an id is shown whole
	reasonShown = 40       // more than the longest reason of a dead letter has
	listSize    = 48 << 10 // bytes of a list in an event
	countAtMost = 10_000   // what is counted for the page; the page then says "more"
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

// shownRows are the latest rows. Order has their ids, the newest first.
type shownRows struct {
	Order []string            `json:"order"`
	Rows  map[string]shownRow `json:"rows"`
}

// publishRows publishes the latest rows of this instance. It reads them by id: the table has no
// index by time. An error is left to publishAside.
func (p *Page) publishRows(ctx context.Context) {
	if p.cfg.Latest == nil {
		return
	}
	ids := p.cfg.Latest()
	if len(ids) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, queryWithin)
	defer cancel()
	rows, err := p.pool.Query(ctx, `SELECT left(checkout_id, $2), left(click_id, $2), left(user_name, $3),
		left(total_amount::text, $3), checkout_time, click_time
		FROM commerce.attributed_checkouts WHERE checkout_id = ANY ($1)
		ORDER BY checkout_time DESC NULLS LAST, checkout_id`, ids, maxID, cellShown)
	if err != nil {
		return
	}
	latest, err := pgx.CollectRows(rows, pgx.RowToStructByPos[shownRow])
	if err != nil {
		return
	}
	shown := shownRows{Order: []string{}, Rows: map[string]shownRow{}}
	sent := func(r shownRow) []any { return []any{r, r.CheckoutID, r.CheckoutID} }
	for _, row := range fitting(latest, listSize, sent) {
		shown.Order = append(shown.Order, row.CheckoutID)
		shown.Rows[row.CheckoutID] = row
	}
	p.hub.publish("rows", shown)
}

// instance is a row of firstclick.instances.
type instance struct {
	Instance  string    `json:"instance"`
	Host      string    `json:"host"`
	PID       int       `json:"pid"`
	Version   string    `json:"version"`
	Listen    *string   `json:"listen"`
	Shards    []int32   `json:"shards"` // the first of them
	Has       int       `json:"has"`    // the number of shards
	StartedAt time.Time `json:"started_at"`
	Silent    float64   `json:"silent_s"` // since its last heartbeat
}

// aside is what else the page reads from Postgres.
type aside struct {
	Instances   map[string]instance `json:"instances"`    // by name
	DeadLetters map[string]int64    `json:"dead_letters"` // open ones, by reason
	Late        int64               `json:"late"`         // not repaired
	Unknown     int64               `json:"unknown"`      // rows that wait for a user's name
	Error       string              `json:"error,omitempty"`
}

func (p *Page) publishAside(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, queryWithin)
	defer cancel()
	a := aside{Instances: map[string]instance{}, DeadLetters: map[string]int64{}}
	batch := &pgx.Batch{}
	batch.Queue(`SELECT left(instance, $2), left(host, $2), pid, left(version, $2), left(listen, $2), shards[1:32],
			cardinality(shards), started_at, extract(epoch FROM clock_timestamp() - heartbeat_at)::float8
		FROM firstclick.instances WHERE group_id = $1 ORDER BY heartbeat_at DESC, instance LIMIT 200`,
		p.cfg.Group, cellShown).Query(func(rows pgx.Rows) error {
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[instance])
		for _, one := range fitting(list, listSize, func(i instance) []any { return []any{i, i.Instance} }) {
			a.Instances[one.Instance] = one
		}
		return err
	})
	batch.Queue(`SELECT left(reason, $3), count(*)
		FROM (SELECT reason FROM firstclick.dead_letters WHERE group_id = $1 AND status = 'open' LIMIT $2) l
		GROUP BY 1 ORDER BY 2 DESC LIMIT 40`,
		p.cfg.Group, countAtMost, reasonShown).Query(func(rows pgx.Rows) error {
		var reason string
		var n int64
		_, err := pgx.ForEachRow(rows, []any{&reason, &n}, func() error { a.DeadLetters[reason] = n; return nil })
		return err
	})
	batch.Queue(`SELECT
			(SELECT count(*) FROM (SELECT FROM firstclick.late WHERE group_id = $1 AND repaired_at IS NULL LIMIT $2) l),
			(SELECT count(*) FROM (SELECT FROM firstclick.unknown_users LIMIT $2) u)`,
		p.cfg.Group, countAtMost).QueryRow(func(row pgx.Row) error { return row.Scan(&a.Late, &a.Unknown) })
	err := p.pool.SendBatch(ctx, batch).Close()
	switch {
	case err != nil && ctx.Err() != nil:
		a.Error = "Postgres does not answer the page within " + span(queryWithin)
	case err != nil:
		a.Error = clip(err.Error())
	}
	p.hub.publish("aside", a)
}

// verification is the event "verify".
type verification struct {
	Running bool      `json:"running"`
	At      time.Time `json:"at"` // of the verdict
	Took    float64   `json:"took_s"`
	Known   bool      `json:"known"` // there is a verdict
	Verdict
	Error string `json:"error,omitempty"` // why the last attempt gave no verdict
}

const (
	verifyAfterAction = 2 * time.Second // what an action broke has that long to recover
	verifyAfterError  = 2 * time.Second
)

// verify compares table and Kafka again and again while somebody looks.
func (p *Page) verify(ctx context.Context) {
	var last verification
	for {
		select {
		case <-p.hub.watch():
		case <-ctx.Done():
			return
		}
		last.Running = true
		p.hub.publish("verify", last)
		began := time.Now()
		verdict, err := p.cfg.Verify(ctx)
		if ctx.Err() != nil {
			return
		}
		took := time.Since(began)
		pause := max(p.cfg.VerifyEvery-took, 9*took)
		if err != nil {
			last.Running, last.Error = false, clip(err.Error())
			pause = verifyAfterError
		} else {
			verdict.Text = clip(verdict.Text)
			last = verification{At: time.Now(), Took: took.Seconds(), Known: true, Verdict: verdict}
		}
		p.hub.publish("verify", last)
		select {
		case <-time.After(pause):
		case <-p.acted:
			select {
			case <-time.After(verifyAfterAction):
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
