package deadletters

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"firstclick/internal/pgsession"
)

// ErrNoTable says that the database was never migrated.
var ErrNoTable = errors.New("there is no table firstclick.dead_letters; run: firstclick migrate")

// NotFoundError says that no letter has the id, or none of the given group.
type NotFoundError struct {
	ID    int64
	Group string // the letter's, if it is another one
}

func (e *NotFoundError) Error() string {
	if e.Group != "" {
		return fmt.Sprintf("dead letter %d is of the group %q: --group says which one is meant", e.ID, e.Group)
	}
	return fmt.Sprintf("there is no dead letter %d", e.ID)
}

// UnknownGroupError says that a group neither ran nor has dead letters, while others did. The name
// is probably wrong.
type UnknownGroupError struct {
	Group  string
	Others []string // some of them
}

func (e *UnknownGroupError) Error() string {
	return fmt.Sprintf("there is no group %q in this database; there is %q: --group says which one is meant", e.Group,
		e.Others)
}

// Store is the table, over one session. It is not safe for concurrent use.
type Store struct{ conn *pgx.Conn }

// Connect opens a session. The connection string is one that pgsession reads.
func Connect(ctx context.Context, dsn string) (*Store, error) {
	conn, err := pgsession.Connect(ctx, dsn, "firstclick dead-letters")
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	return &Store{conn: conn}, nil
}

// Close ends the session.
func (s *Store) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return s.conn.Close(ctx)
}

// CheckGroup returns an *UnknownGroupError if the group is not in this database while others are.
func (s *Store) CheckGroup(ctx context.Context, group string) error {
	rows, _ := s.conn.Query(ctx, `SELECT group_id
		FROM (SELECT group_id FROM firstclick.progress UNION SELECT group_id FROM firstclick.dead_letters) g
		ORDER BY group_id = $1 DESC, group_id LIMIT 10`, group) // its error comes with the rows
	groups, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return explain("look for the group", err)
	}
	if len(groups) > 0 && groups[0] != group {
		return &UnknownGroupError{Group: group, Others: groups}
	}
	return nil
}

// Count counts the letters that the filter selects.
func (s *Store) Count(ctx context.Context, f Filter) (n int64, err error) {
	where, args := f.where()
	err = s.conn.QueryRow(ctx, `SELECT count(*) FROM firstclick.dead_letters WHERE `+where, args...).Scan(&n)
	return n, explain("count dead letters", err)
}

// List returns the newest letters that the filter selects, newest first, at most limit of them (0:
// all), without payloads.
func (s *Store) List(ctx context.Context, f Filter, limit int) ([]Letter, error) {
	where, args := f.where()
	where += ` ORDER BY id DESC`
	if limit > 0 {
		where += fmt.Sprintf(" LIMIT %d", limit)
	}
	letters, err := s.selectLetters(ctx, "NULL::bytea", where, args...)
	return letters, explain("list dead letters", err)
}

// Show returns one letter with its payload, or a *NotFoundError.
func (s *Store) Show(ctx context.Context, id int64) (Letter, error) {
	letters, err := s.selectLetters(ctx, "payload", "id = $1", id)
	switch {
	case err != nil:
		return Letter{}, explain("read a dead letter", err)
	case len(letters) == 0:
		return Letter{}, &NotFoundError{ID: id}
	}
	return letters[0], nil
}

func (s *Store) selectLetters(ctx context.Context, payload, where string, args ...any) ([]Letter, error) {
	rows, _ := s.conn.Query(ctx, `SELECT id, group_id, topic, partition, "offset", reason, detail, payload_size,
			payload_sha256, payload IS NOT NULL OR payload_size = 0 AND reason <> 'refused_click',
			record_time, created_at, status, resolved_at, `+payload+`
		FROM firstclick.dead_letters WHERE `+where, args...)
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (l Letter, err error) {
		var hash []byte
		var recorded, created, resolved pgtype.Timestamptz // may be infinite
		err = row.Scan(&l.ID, &l.Group, &l.Topic, &l.Partition, &l.Offset, &l.Reason, &l.Detail, &l.Size, &hash,
			&l.Kept,
			&recorded, &created, &l.Status, &resolved, &l.Payload)
		l.SHA256, l.CreatedAt = hex.EncodeToString(hash), created.Time.UTC()
		l.RecordTime, l.ResolvedAt = utc(recorded), utc(resolved)
		return l, err
	})
}

func utc(t pgtype.Timestamptz) *time.Time {
	if !t.Valid {
		return nil
	}
	at := t.Time.UTC()
	return &at
}

// Drop marks the letters that the filter selects as dropped and counts them. Letters that were
// dropped before keep the time at which they were.
func (s *Store) Drop(ctx context.Context, f Filter) (int64, error) {
	if err := s.checkIDs(ctx, f); err != nil {
		return 0, err
	}
	where, args := f.where()
	tag, err := s.conn.Exec(ctx, `UPDATE firstclick.dead_letters SET status = 'dropped', resolved_at = clock_timestamp()
		WHERE status <> 'dropped' AND `+where, args...)
	return tag.RowsAffected(), explain("drop dead letters", err)
}

// checkIDs refuses ids that no letter of the group has: a mistyped one must not pass for done.
func (s *Store) checkIDs(ctx context.Context, f Filter) error {
	if len(f.IDs) == 0 {
		return nil
	}
	missing := &NotFoundError{}
	err := s.conn.QueryRow(ctx, `SELECT i, coalesce(d.group_id, '')
		FROM unnest($1::bigint[]) i LEFT JOIN firstclick.dead_letters d ON d.id = i
		WHERE d.group_id IS DISTINCT FROM $2 ORDER BY i LIMIT 1`, f.IDs, f.group()).Scan(&missing.ID, &missing.Group)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return explain("look for dead letters", err)
	}
	return missing
}

// explain says what was being done when Postgres refused. A missing table is ErrNoTable.
func explain(doing string, err error) error {
	var answer *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answer) && (answer.Code == "42P01" || answer.Code == "3F000"): // no table or schema
		return ErrNoTable
	}
	return fmt.Errorf("%s: %w", doing, err)
}
