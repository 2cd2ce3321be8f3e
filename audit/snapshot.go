package audit

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"firstclick/internal/pgsession"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"firstclick/cdc"
)

// snapshot is what Postgres held at one moment, without what is sorted on disk. The transaction ends
// before Kafka is read: a long one would hold back vacuum.
type snapshot struct {
	known                        bool // the group has a progress row
	topics                       [2]storedTopic
	window, lateness, outOfOrder time.Duration
	skew                         int64 // how far an event's time may be ahead of its record's, in microseconds
	zone                         *time.Location
	begun                        int64 // records before the group's start are stamped before it, as far as can be told
	startTime                    int64 // of --start, where it was a time; else noTime
	taken                        time.Time
	watermark, finalBefore       *time.Time // of the group
	shards                       map[int32]shard
	clicksLeast, clicksMost      []int64 // by partition, how far the shards had read clicks; nil without shards
	columns                      columns
	late, notLate                int64            // events in firstclick.late, not repaired; of them, those that were not late
	dead                         map[string]int64 // dead letters by reason
	nameless                     int64            // rows without a user_name
	unknownUsers                 map[string]bool  // rows in unknown_users whose user exists now; true: just now
	running                      bool             // an instance of the group gave a sign of life within a minute
	rowCount, attributed         int64
}

// storedTopic is a topic as the group knows it.
type storedTopic struct {
	name   string
	id     string // "": not known
	starts []int64
}

// start is where the group began in a partition. Partitions that appeared later begin at 0.
func (t storedTopic) start(partition int32) int64 {
	if int(partition) < len(t.starts) {
		return t.starts[partition]
	}
	return 0
}

// topicID is a topic's id as text, "" where it is not known.
func topicID(id [16]byte) string {
	if id == ([16]byte{}) {
		return ""
	}
	return hex.EncodeToString(id[:])
}

func connect(ctx context.Context, database string) (*pgx.Conn, error) {
	conn, err := pgsession.Connect(ctx, database, "firstclick audit")
	if err != nil {
		return nil, fmt.Errorf("connect to postgres: %w", err)
	}
	return conn, nil
}

type queryer interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// each calls fn for every row, which is scanned into dest. what says in an error what was done.
func each(ctx context.Context, db queryer, what string, dest []any, fn func() error, sql string, args ...any) error {
	rows, err := db.Query(ctx, sql, args...)
	if err == nil {
		_, err = pgx.ForEachRow(rows, dest, fn)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// readSnapshot runs steps in one transaction, whose first statement fixes what all of them see.
func (r *run) readSnapshot(ctx context.Context, steps ...func(context.Context, pgx.Tx) error) error {
	conn, err := connect(ctx, r.cfg.Database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return fmt.Errorf("begin snapshot: %w", err)
	}
	for _, step := range steps {
		if err := step(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

// readSettings takes over what the group was begun with. Verify refuses a configuration that says
// otherwise; Compare and WhatIf, and a group that never ran, go by the configuration.
func (r *run) readSettings(ctx context.Context, tx pgx.Tx) error {
	s, cfg := &r.snap, r.cfg
	clicks, checkouts := &s.topics[topicClicks], &s.topics[topicCheckouts]
	var window, lateness, outOfOrder, skew pgtype.Interval
	var clicksID, checkoutsID pgtype.UUID
	var zone, start string
	var created time.Time
	there := true
	var err error
	if r.fromKafka { // there need not be any table of firstclick's
		err = tx.QueryRow(ctx, `SELECT to_regclass('firstclick.progress') IS NOT NULL`).Scan(&there)
	}
	if err == nil && there { // a table from before max_future_skew was stored has no such column
		err = tx.QueryRow(ctx, `
			SELECT clicks_topic, checkouts_topic, clicks_topic_id, checkouts_topic_id, window_length, lateness, out_of_order,
			       coalesce((to_jsonb(p)->>'max_future_skew')::interval, '5 minutes'), time_zone, clicks_start, checkouts_start,
			       start, created_at, watermark, final_before
			FROM firstclick.progress p WHERE group_id = $1`, cfg.Group).
			Scan(&clicks.name, &checkouts.name, &clicksID, &checkoutsID, &window, &lateness, &outOfOrder,
				&skew, &zone, &clicks.starts, &checkouts.starts, &start, &created, &s.watermark, &s.finalBefore)
		if s.known = err == nil; errors.Is(err, pgx.ErrNoRows) {
			err = nil
		}
	}
	if err == nil {
		err = tx.QueryRow(ctx, `SELECT now()`).Scan(&s.taken)
	}
	if err != nil {
		return fmt.Errorf("read progress of group %s: %w", cfg.Group, err)
	}
	s.zone = time.UTC
	if s.known {
		if s.zone, err = time.LoadLocation(zone); err != nil {
			return fmt.Errorf("load time zone of group %s: %w", cfg.Group, err)
		}
		s.window, s.lateness, s.outOfOrder = duration(window), duration(lateness), duration(outOfOrder)
		s.skew = duration(skew).Microseconds()
	}
	if !s.known || r.fromKafka {
		clicks.name = cmp.Or(cfg.ClicksTopic, clicks.name, "clicks")
		checkouts.name = cmp.Or(cfg.CheckoutsTopic, checkouts.name, "checkouts")
		clicks.starts, checkouts.starts = nil, nil
		s.window = cmp.Or(cfg.Window, s.window, time.Hour)
		s.lateness, s.outOfOrder = cmp.Or(cfg.Lateness, 15*time.Minute), cmp.Or(cfg.OutOfOrder, 15*time.Second)
		s.skew = cmp.Or(cfg.MaxSkew.Microseconds(), s.skew, (5 * time.Minute).Microseconds())
		s.zone = cmp.Or(cfg.Zone, s.zone)
		if !r.fromKafka {
			r.note("group %s has not begun yet: all of Kafka is pending", cfg.Group)
		}
		return nil
	}
	clicks.id, checkouts.id = topicID(clicksID.Bytes), topicID(checkoutsID.Bytes)
	inUTC(s.watermark, s.finalBefore)
	s.startTime, s.begun = noTime, created.UnixMicro()
	if at, err := time.Parse(time.RFC3339, start); err == nil {
		s.startTime, s.begun = at.UnixMicro(), at.UnixMicro()
	}
	given := func(d time.Duration) string { return map[bool]string{true: d.String()}[d != 0] }
	givenZone := ""
	if cfg.Zone != nil {
		givenZone = cfg.Zone.String()
	}
	for _, x := range []struct{ what, given, stored string }{
		{"time zone", givenZone, zone},
		{"window", given(cfg.Window), s.window.String()},
		{"lateness", given(cfg.Lateness), s.lateness.String()},
		{"out-of-order allowance", given(cfg.OutOfOrder), s.outOfOrder.String()},
		{"max future skew", given(cfg.MaxSkew), duration(skew).String()},
		{"clicks topic", cfg.ClicksTopic, clicks.name},
		{"checkouts topic", cfg.CheckoutsTopic, checkouts.name},
	} {
		if x.given != "" && x.given != x.stored {
			return &SettingsError{Group: cfg.Group, What: x.what, Given: x.given, Stored: x.stored}
		}
	}
	return nil
}

// SettingsError says that what was asked for is not what the group was begun with.
type SettingsError struct {
	Group, What, Given, Stored string
}

func (e *SettingsError) Error() string {
	return fmt.Sprintf("group %s runs with %s %s, not %s: leave the flag out, or name the group that runs with it",
		e.Group, e.What, e.Stored, e.Given)
}

// duration of an interval as firstclick writes it: days of 24 hours, no months.
func duration(i pgtype.Interval) time.Duration {
	return time.Duration(i.Microseconds)*time.Microsecond + time.Duration(i.Days)*24*time.Hour
}

func inUTC(times ...*time.Time) {
	for _, t := range times {
		if t != nil {
			*t = t.UTC()
		}
	}
}

// readColumns reads what the columns of the rows' table are.
func (r *run) readColumns(ctx context.Context, tx pgx.Tx) (err error) {
	r.snap.columns, _, err = lookUpTable(ctx, tx, rowsTable)
	if errors.Is(err, ErrTable) {
		return errors.New("there is no table " + rowsTable + ": run `firstclick migrate`")
	}
	return err
}

// addRows sorts a table's rows.
func (r *run) addRows(ctx context.Context, tx pgx.Tx, table, sql string) error {
	s := &r.snap
	r.progress.phase("rows of " + table)
	err := readRows(ctx, tx, sql, nil, func(row *item) error {
		s.rowCount++
		if row.click.ok() {
			s.attributed++
		}
		if !row.name.valid {
			s.nameless++
		}
		r.progress.add(1)
		return r.byID.add(row)
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", table, err)
	}
	return nil
}

// readNotes sorts what firstclick has written down about records: dead letters, and late events that
// are not repaired.
func (r *run) readNotes(ctx context.Context, tx pgx.Tx) error {
	s := &r.snap
	s.dead = map[string]int64{}
	n := item{kind: kindDeadLetter, event: event{values: make([]optional, 3)}}
	var isCheckout bool
	var id pgtype.UUID
	var reason, status string
	add := func() error {
		n.topic = topicClicks
		if isCheckout {
			n.topic = topicCheckouts
		}
		n.values[0], n.values[1], n.values[2] = some(reason), some(status), some(topicID(id.Bytes))
		return r.notes.add(&n)
	}
	err := each(ctx, tx, "read dead letters", []any{&isCheckout, &id, &n.partition, &n.offset, &reason, &status}, func() error {
		s.dead[reason]++
		return add()
	}, `SELECT topic <> $2, topic_id, partition, "offset", reason, status
		FROM firstclick.dead_letters WHERE group_id = $1 AND topic IN ($2, $3)`,
		r.cfg.Group, s.topics[topicClicks].name, s.topics[topicCheckouts].name)
	if err != nil {
		return err
	}
	n.kind, reason, status = kindLate, "", ""
	var happened, recorded time.Time
	return each(ctx, tx, "read late events",
		[]any{&isCheckout, &id, &n.partition, &n.offset, &n.id, &n.user, &n.product, &happened, &recorded}, func() error {
			s.late++
			n.time = happened.UnixMicro()
			if n.flags = s.lateFlags(happened, recorded); n.flags&flagEarly != 0 {
				s.notLate++
			}
			return add()
		}, `SELECT kind <> 'click', topic_id, partition, "offset", event_id, user_id, product_id, event_time, recorded_at
		FROM firstclick.late WHERE group_id = $1 AND topic IN ($2, $3) AND repaired_at IS NULL`,
		r.cfg.Group, s.topics[topicClicks].name, s.topics[topicCheckouts].name)
}

// readUsers sorts who exists, when some row's name has to be judged by it.
func (r *run) readUsers(ctx context.Context, tx pgx.Tx) error {
	s := &r.snap
	s.unknownUsers = map[string]bool{}
	if s.nameless == 0 && !r.cfg.Names {
		return nil
	}
	r.progress.phase("users")
	var there bool
	if err := tx.QueryRow(ctx, `SELECT to_regclass('commerce.users') IS NOT NULL`).Scan(&there); err != nil {
		return fmt.Errorf("look for commerce.users: %w", err)
	}
	if !there {
		r.note("there is no table commerce.users: names are not checked")
		return nil
	}
	// Events have ids of 32 bits, so no event is of a user beyond them. A user without a name counts as absent.
	user := item{kind: kindUser, event: event{time: noTime}}
	var name *string
	err := each(ctx, tx, "read users", []any{&user.user, &name}, func() error {
		if r.cfg.Names {
			user.name = optionalOf(name)
		}
		return r.byKey.add(&user)
	}, `SELECT id::int, `+cdc.UsernameSQL+` FROM commerce.users
		WHERE id BETWEEN -2147483648 AND 2147483647 AND username IS NOT NULL`)
	if err != nil {
		return err
	}
	var checkout string
	var fresh bool
	return each(ctx, tx, "read firstclick.unknown_users", []any{&checkout, &fresh}, func() error {
		s.unknownUsers[checkout] = fresh
		return nil
	}, `SELECT n.checkout_id::text, n.noted_at > now() - interval '1 minute'
		FROM firstclick.unknown_users n JOIN commerce.users u ON u.id = n.user_id AND u.username IS NOT NULL`)
}
