package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"firstclick/internal/pgsession"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"firstclick/cdc"
)

// snapshot is what Postgres held at one moment. The big things (rows, users, marks) are sorted on disk, so that the transaction
// ends before Kafka is read: a long one would hold back vacuum.
type snapshot struct {
	known bool // the group has a progress row

	clicksTopic, checkoutsTopic string
	clicksID, checkoutsID       [16]byte // as stored; zero: unknown
	window                      time.Duration
	zone                        *time.Location
	clicksStart, checkoutsStart []int64
	lateness, outOfOrder        time.Duration
	skew                        int64   // how far an event's time may be ahead of its record's, in microseconds
	begun                       int64   // event time before which a record lies before the group's start, as far as can be told from outside of it
	startTime                   int64   // of --start, where it was a time; else noTime
	clicksNext                  []int64 // by partition, the least over the shards; nil without shards
	clicksMost                  []int64 // by partition, the greatest over the shards
	shards                      map[int32]position
	columns                     columns
	late, notLate               int64            // events recorded late and not repaired; those of them that did not come too late
	dead                        map[string]int64 // dead letters by reason
	namesMissing                int64            // rows without a user_name
	noted                       map[string]bool  // rows noted in unknown_users whose user exists now; true: just now
	running                     bool             // some instance of the group gave a sign of life within a minute
	rows, users, marks          *sorter
	rowCount, attributed        int64
}

// begin connects and starts the one transaction that everything is read in. The first statement fixes the snapshot.
func begin(ctx context.Context, database string) (*pgx.Conn, pgx.Tx, error) {
	conn, err := pgsession.Connect(ctx, database, application)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to postgres: %w", err)
	}
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("begin snapshot: %w", err), conn.Close(ctx))
	}
	return conn, tx, nil
}

// takeSnapshot reads everything that is needed from Postgres.
func (a *audit) takeSnapshot(ctx context.Context) error {
	conn, tx, err := begin(ctx, a.cfg.Database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, step := range []func(context.Context, pgx.Tx) error{
		a.readProgress, a.readPositions, a.readColumns, a.readMarks, a.readRows, a.readUsers,
	} {
		if err := step(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

// skewColumn is the guard that the group was begun with. A table from before it was stored has no such column.
const skewColumn = `coalesce((to_jsonb(p)->>'max_future_skew')::interval, '5 minutes')`

const defaultSkew = 5 * time.Minute

// readProgress takes over what the group was begun with, and refuses a configuration that says otherwise.
func (a *audit) readProgress(ctx context.Context, tx pgx.Tx) error {
	s, cfg := &a.snap, a.cfg
	var window, lateness, outOfOrder, skew pgtype.Interval
	var zone string
	var clicksID, checkoutsID pgtype.UUID
	var start string
	var created time.Time
	err := tx.QueryRow(ctx, `
		SELECT clicks_topic, checkouts_topic, clicks_topic_id, checkouts_topic_id, window_length, lateness, out_of_order,
		       `+skewColumn+`, time_zone, clicks_start, checkouts_start, start, created_at
		FROM firstclick.progress p WHERE group_id = $1`, cfg.Group).
		Scan(&s.clicksTopic, &s.checkoutsTopic, &clicksID, &checkoutsID, &window, &lateness, &outOfOrder, &skew, &zone, &s.clicksStart, &s.checkoutsStart, &start, &created)
	if errors.Is(err, pgx.ErrNoRows) {
		s.clicksTopic, s.checkoutsTopic = orDefault(cfg.ClicksTopic, "clicks"), orDefault(cfg.CheckoutsTopic, "checkouts")
		s.window = orDefault(cfg.Window, time.Hour)
		s.zone = orDefault(cfg.Zone, time.UTC)
		s.skew = orDefault(cfg.MaxSkew, defaultSkew).Microseconds()
		a.note("group %s has not begun yet: all of Kafka is pending", cfg.Group)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read progress of group %s: %w", cfg.Group, err)
	}
	s.known = true
	s.clicksID, s.checkoutsID = clicksID.Bytes, checkoutsID.Bytes
	if s.zone, err = time.LoadLocation(zone); err != nil {
		return fmt.Errorf("load time zone of group %s: %w", cfg.Group, err)
	}
	s.window, s.lateness, s.outOfOrder = duration(window), duration(lateness), duration(outOfOrder)
	s.skew = duration(skew).Microseconds()
	s.startTime, s.begun = noTime, created.UnixMicro()
	if at, err := time.Parse(time.RFC3339, start); err == nil { // every record before the start is stamped before it
		s.startTime, s.begun = at.UnixMicro(), at.UnixMicro()
	}
	if cfg.Zone != nil && cfg.Zone.String() != zone {
		return differs(cfg.Group, "time zone", cfg.Zone.String(), zone)
	}
	for _, d := range []struct {
		what          string
		given, stored time.Duration
	}{
		{"window", cfg.Window, s.window},
		{"lateness", cfg.Lateness, duration(lateness)},
		{"out-of-order allowance", cfg.OutOfOrder, duration(outOfOrder)},
		{"max future skew", cfg.MaxSkew, duration(skew)},
	} {
		if d.given != 0 && d.given != d.stored {
			return differs(cfg.Group, d.what, d.given.String(), d.stored.String())
		}
	}
	for _, t := range []struct{ what, given, stored string }{
		{"clicks topic", cfg.ClicksTopic, s.clicksTopic}, {"checkouts topic", cfg.CheckoutsTopic, s.checkoutsTopic},
	} {
		if t.given != "" && t.given != t.stored {
			return differs(cfg.Group, t.what, t.given, t.stored)
		}
	}
	return nil
}

// SettingsError says that what was asked for is not what the group was begun with.
type SettingsError struct {
	Group, What, Given, Stored string
}

func (e *SettingsError) Error() string {
	return fmt.Sprintf("group %s runs with %s %s, not %s: leave the flag out, or name the group that runs with it", e.Group, e.What, e.Stored, e.Given)
}

func differs(group, what, given, stored string) error {
	return &SettingsError{Group: group, What: what, Given: given, Stored: stored}
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// duration of an interval as firstclick writes it: days of 24 hours, no months.
func duration(i pgtype.Interval) time.Duration {
	return time.Duration(i.Microseconds)*time.Microsecond + time.Duration(i.Days)*24*time.Hour
}

// Kinds of marks: what firstclick has written down about a record.
const (
	markDead = iota
	markLate
)

// Which of the two topics an item is about.
const (
	topicClicks = iota
	topicCheckouts
)

// mark is a dead letter or an unrepaired late event. Sorted by topic, partition and offset, marks are met while reading.
type mark struct {
	topic, kind byte
	partition   int32
	offset      int64
	topicID     [16]byte
	reason      string // of a dead letter
	status      string // of a dead letter
	late        event  // of a late event: id, user, product and time only
	early       byte   // of a late event: noteEarly, noteAhead
}

func (m mark) append(b []byte) []byte {
	b = appendInt64(appendInt32(append(b, m.topic), m.partition), m.offset)
	b = append(append(b, m.kind), m.topicID[:]...)
	b = appendText(appendText(b, m.reason), m.status)
	return append(appendInt64(appendText(appendInt32(appendText(b, m.late.id), m.late.user), m.late.product), m.late.time), m.early)
}

func parseMark(item []byte) (m mark) {
	f := fields(item)
	m.topic = f.byte()
	m.partition, m.offset, m.kind = f.int32(), f.int64(), f.byte()
	f = f[copy(m.topicID[:], f):]
	m.reason, m.status = f.text(), f.text()
	m.late.id, m.late.user, m.late.product, m.late.time = f.text(), f.int32(), f.text(), f.int64()
	m.early = f.byte()
	return m
}

// What is known of a late event's note.
const (
	noteEarly = 1 // it was written before the event can have come too late, and no clock of ours can have found the event far ahead
	noteAhead = 2 // the event was dated ahead of the clock
)

// noteFlags are those of a record that is noted so.
func noteFlags(early byte) int32 {
	switch {
	case early&noteEarly != 0:
		return flagLate | flagEarly
	case early&noteAhead != 0:
		return flagLate | flagAhead
	}
	return flagLate
}

func (a *audit) readMarks(ctx context.Context, tx pgx.Tx) error {
	s := &a.snap
	s.dead = map[string]int64{}
	s.marks = a.sorter("marks")
	var m mark
	var happened, recorded time.Time
	var id pgtype.UUID
	var buf []byte
	add := func() error {
		m.topicID = id.Bytes
		if m.kind == markDead {
			s.dead[m.reason]++
		} else {
			s.late++
			m.late.time = happened.UnixMicro()
			if m.early = s.early(happened, recorded); m.early&noteEarly != 0 {
				s.notLate++
			}
		}
		buf = m.append(buf[:0])
		return s.marks.Add(buf)
	}
	rows, err := tx.Query(ctx, `
		SELECT CASE topic WHEN $2 THEN 0 ELSE 1 END, topic_id, partition, "offset", reason, status
		FROM firstclick.dead_letters WHERE group_id = $1 AND topic IN ($2, $3)`, a.cfg.Group, s.clicksTopic, s.checkoutsTopic)
	if err != nil {
		return fmt.Errorf("read dead letters: %w", err)
	}
	var topic int16
	m.kind = markDead
	if _, err := pgx.ForEachRow(rows, []any{&topic, &id, &m.partition, &m.offset, &m.reason, &m.status}, func() error {
		m.topic = byte(topic)
		return add()
	}); err != nil {
		return fmt.Errorf("read dead letters: %w", err)
	}
	rows, err = tx.Query(ctx, `
		SELECT CASE kind WHEN 'click' THEN 0 ELSE 1 END, topic_id, partition, "offset", event_id, user_id, product_id,
		       event_time, recorded_at
		FROM firstclick.late WHERE group_id = $1 AND topic IN ($2, $3) AND repaired_at IS NULL`, a.cfg.Group, s.clicksTopic, s.checkoutsTopic)
	if err != nil {
		return fmt.Errorf("read late events: %w", err)
	}
	m = mark{kind: markLate}
	if _, err := pgx.ForEachRow(rows, []any{&topic, &id, &m.partition, &m.offset, &m.late.id, &m.late.user, &m.late.product, &happened, &recorded}, func() error {
		m.topic = byte(topic)
		return add()
	}); err != nil {
		return fmt.Errorf("read late events: %w", err)
	}
	return s.marks.Finish()
}

// tooEarly says that an event was noted as too late before it can have been. Rows are final no
// sooner than lateness and out-of-order allowance after their time, by a clock that at most the
// guard runs ahead: a note from before that is one of a watermark that ran ahead, and explains
// nothing. An event dated further ahead than the guard and a window is noted at once: no restart
// reads it again. The clock of ours that found that may itself have been behind by the guard, and
// be believed.
func (s *snapshot) tooEarly(event, recorded time.Time) bool {
	ahead, slack := event.Sub(recorded), time.Duration(s.clockSlack())*time.Microsecond
	return ahead+s.lateness+s.outOfOrder > slack && ahead < s.window+time.Duration(s.skew)*time.Microsecond-slack
}

// early is what the times of a note say of it.
func (s *snapshot) early(event, recorded time.Time) (early byte) {
	if s.tooEarly(event, recorded) {
		early |= noteEarly
	}
	if event.After(recorded) {
		early |= noteAhead
	}
	return early
}

// readUsers reads who exists, when some row's name has to be judged by it.
func (a *audit) readUsers(ctx context.Context, tx pgx.Tx) error {
	s := &a.snap
	s.users = a.sorter("users")
	s.noted = map[string]bool{}
	if s.namesMissing == 0 && !a.cfg.Names {
		return s.users.Finish()
	}
	a.progress.phase("users")
	var there bool
	if err := tx.QueryRow(ctx, `SELECT to_regclass('commerce.users') IS NOT NULL`).Scan(&there); err != nil {
		return fmt.Errorf("look for commerce.users: %w", err)
	}
	if !there {
		a.note("there is no table commerce.users: names are not checked")
		return s.users.Finish()
	}
	// Events have ids of 32 bits, so a user beyond them is nobody's. One without a name is as one that is not there.
	rows, err := tx.Query(ctx, `SELECT id::int, `+cdc.UsernameSQL+` FROM commerce.users
		WHERE id BETWEEN -2147483648 AND 2147483647 AND username IS NOT NULL`)
	if err != nil {
		return fmt.Errorf("read users: %w", err)
	}
	var id int32
	var name *string
	var buf []byte
	if _, err := pgx.ForEachRow(rows, []any{&id, &name}, func() error {
		buf = appendInt32(buf[:0], id)
		if a.cfg.Names && name != nil {
			buf = appendOptional(buf, some(*name))
		} else {
			buf = appendOptional(buf, optional{})
		}
		return s.users.Add(buf)
	}); err != nil {
		return fmt.Errorf("read users: %w", err)
	}
	rows, err = tx.Query(ctx, `
		SELECT n.checkout_id::text, n.noted_at > now() - interval '1 minute'
		FROM firstclick.unknown_users n JOIN commerce.users u ON u.id = n.user_id AND u.username IS NOT NULL`)
	if err != nil {
		return fmt.Errorf("read notes about unknown users: %w", err)
	}
	var checkout string
	var fresh bool
	if _, err := pgx.ForEachRow(rows, []any{&checkout, &fresh}, func() error {
		s.noted[checkout] = fresh
		return nil
	}); err != nil {
		return fmt.Errorf("read notes about unknown users: %w", err)
	}
	return s.users.Finish()
}
