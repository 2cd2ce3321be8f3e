package sink

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"firstclick/internal/pgsession"
)

const (
	usersPerFill = 1000 // ids in one statement
	notesPerFill = 2000 // rows that one statement locks
)

// presentSQL finds the noted ids that are users, by leaps from one index to the other: noted is the
// least noted id not below what was seen, present the least user not below noted. Its cost is
// bounded by the smaller of the two sets, however many notes there are of one id, and however many
// users nobody noted.
const presentSQL = `WITH RECURSIVE leap (noted, present) AS (
		SELECT n.id, (SELECT min(u.id) FROM commerce.users u WHERE u.id >= n.id)
		FROM (SELECT min(user_id) AS id FROM firstclick.unknown_users) n
	UNION ALL
		SELECT n.id, (SELECT min(u.id) FROM commerce.users u WHERE u.id >= n.id)
		FROM (SELECT CASE WHEN present = noted
				THEN (SELECT min(user_id) FROM firstclick.unknown_users WHERE user_id > present)
				ELSE (SELECT min(user_id) FROM firstclick.unknown_users WHERE user_id >= present) END AS id
			FROM leap WHERE present IS NOT NULL OFFSET 0) n
		WHERE n.id IS NOT NULL)
	SELECT noted FROM leap WHERE noted = present`

// fillSQL fills in the names of a chunk of rows and removes its notes, also those whose row has a
// name already or is gone. Rows are locked in the order of their checkout_id, before any note is.
// Once locked they stay without a name, so the UPDATE has no condition but keys. If a trigger keeps
// some of the rows as they are, no note of the chunk is removed.
var fillSQL = strings.NewReplacer(
	"{=}", "OPERATOR(pg_catalog.=)",
	"{no name}", noName,
	"{values}", eachColumn(", ", func(c column) string { return c.value + " AS " + c.name }, ofUser),
	"{names}", eachColumn(", ", func(c column) string { return c.name + " = u." + c.name }, ofUser),
).Replace(`WITH notes AS MATERIALIZED (
		SELECT n.user_id, n.checkout_id FROM pg_catalog.unnest($1::int[]) AS i (id)
		JOIN commerce.users p ON p.id {=} i.id AND p.username IS NOT NULL
		CROSS JOIN LATERAL (SELECT user_id, checkout_id FROM firstclick.unknown_users u
			WHERE u.user_id {=} i.id LIMIT $2) n LIMIT $2),
	ordered AS MATERIALIZED (SELECT user_id, checkout_id FROM notes ORDER BY checkout_id COLLATE "C"),
	open AS MATERIALIZED (
		SELECT n.user_id, n.checkout_id FROM ordered n
		CROSS JOIN LATERAL (SELECT FROM commerce.attributed_checkouts a
			WHERE a.checkout_id {=} n.checkout_id AND {no name} FOR NO KEY UPDATE) AS stored),
	filled AS (
		UPDATE commerce.attributed_checkouts a SET {names}
		FROM open o JOIN (SELECT id, {values} FROM commerce.users) u ON u.id {=} o.user_id
		WHERE a.checkout_id {=} o.checkout_id RETURNING 1),
	done AS (SELECT pg_catalog.count(*) AS n FROM filled),
	removed AS (
		DELETE FROM firstclick.unknown_users x USING notes n, done
		WHERE x.user_id {=} n.user_id AND x.checkout_id {=} n.checkout_id
			AND done.n {=} (SELECT pg_catalog.count(DISTINCT checkout_id) FROM open) RETURNING 1)
	SELECT (SELECT n FROM done), (SELECT pg_catalog.count(*) FROM notes),
		(SELECT pg_catalog.count(DISTINCT checkout_id) FROM open)`)

// FillUnknown fills in the names of rows whose user was unknown when they were written and is there
// now. With nil ids it does so for all that are noted.
func (s *Sink) FillUnknown(ctx context.Context, ids []int32) (filled int64, err error) {
	var present []int32
	err = s.retry(ctx, "look for users who were unknown", func(ctx context.Context) error {
		present, err = s.present(ctx, ids)
		return err
	})
	if err != nil {
		return 0, err
	}
	try := func(ids []int32) (refusal, err error) {
		n, err := s.fill(ctx, ids)
		filled += n
		if isRefusal(err, 0) {
			return err, nil
		}
		return nil, err
	}
	for chunk := range slices.Chunk(present, usersPerFill) {
		// Postgres may refuse a name: it is too long for user_name, say. The others are filled in.
		err := bisect(chunk, nil, try, func(id int32, refusal error) {
			if _, logged := s.refusedNames.LoadOrStore(id, true); !logged {
				s.log.Warn("Postgres refuses the name of a user who appeared later: rows stay without it",
					"user_id", id, "cause", whyRefused(refusal))
			}
		})
		if err != nil {
			return filled, err
		}
	}
	return filled, nil
}

// fill fills in the names of some users, in as many transactions as it takes.
func (s *Sink) fill(ctx context.Context, ids []int32) (filled int64, err error) {
	for notes := int64(notesPerFill); notes == notesPerFill; {
		var n, unnamed int64
		err := s.run(ctx, "fill in names", func(ctx context.Context, conn *pgx.Conn) error {
			var b pgx.Batch // one transaction
			b.Queue(pgsession.TheirPathSQL)
			b.Queue(fillSQL, notNull(ids), notesPerFill).QueryRow(func(row pgx.Row) error {
				return row.Scan(&n, &notes, &unnamed)
			})
			return conn.SendBatch(ctx, &b).Close()
		})
		if err != nil {
			return filled, err
		}
		if filled += n; n < unnamed {
			return filled, &triggerError{"a trigger of commerce.attributed_checkouts keeps rows as they are"}
		}
	}
	return filled, nil
}

// present returns those of the ids, or of all that are noted, that are users now.
func (s *Sink) present(ctx context.Context, ids []int32) (present []int32, err error) {
	err = s.withConn(ctx, func(conn *pgx.Conn) error {
		sql, args := presentSQL, []any(nil)
		if ids != nil {
			sql, args = `SELECT id FROM commerce.users WHERE id = ANY ($1::int[]) AND username IS NOT NULL`, []any{ids}
		}
		rows, _ := conn.Query(ctx, sql, args...) // CollectRows returns its error
		present, err = pgx.CollectRows(rows, pgx.RowTo[int32])
		return err
	})
	return present, err
}

// fillAfterCommit fills in names of users who appeared between the reading of names and the commit:
// their change was streamed before there was a note to find. What fails here the next FillUnknown
// makes up for.
func (s *Sink) fillAfterCommit(ctx context.Context, unnamed []rowRef) {
	ids := list(unnamed, func(r rowRef) int32 { return r.User })
	slices.Sort(ids)
	present, err := s.present(ctx, slices.Compact(ids))
	if err != nil || len(present) == 0 {
		return
	}
	if _, err := s.FillUnknown(ctx, present); err != nil {
		s.log.Warn("names of users who just appeared wait for the next round", "error", err)
	}
}
