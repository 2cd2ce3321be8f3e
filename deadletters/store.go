package deadletters

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"firstclick/internal/pgsession"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// ErrNoTable says that the database was never migrated.
var ErrNoTable = errors.New("there is no table firstclick.dead_letters; run: firstclick migrate")

// NotFoundError says that no letter has the id, or none of the group that was meant.
type NotFoundError struct {
	ID    int64
	Group string // the letter's, where it has another than the one that was meant
}

func (e *NotFoundError) Error() string {
	if e.Group != "" {
		return fmt.Sprintf("dead letter %d is of the group %q: --group says which one is meant", e.ID, e.Group)
	}
	return fmt.Sprintf("there is no dead letter %d", e.ID)
}

// UnknownGroupError says that a group neither ran nor has dead letters, while others did: "there are none" would be an answer to
// another question.
type UnknownGroupError struct {
	Group  string
	Others []string // some of them
}

func (e *UnknownGroupError) Error() string {
	return fmt.Sprintf("there is no group %q in this database; there is %q: --group says which one is meant", e.Group, e.Others)
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

const columns = `id, group_id, topic, partition, "offset", reason, detail, payload_size, payload_sha256,
	payload IS NOT NULL OR payload_size = 0 AND reason <> 'refused_click', record_time, created_at, status, resolved_at`

func scan(row pgx.CollectableRow) (Letter, error) {
	var l Letter
	var hash []byte
	var recorded, created, resolved pgtype.Timestamptz
	err := row.Scan(&l.ID, &l.Group, &l.Topic, &l.Partition, &l.Offset, &l.Reason, &l.Detail, &l.Size, &hash,
		&l.Kept, &recorded, &created, &l.Status, &resolved)
	l.SHA256, l.CreatedAt = hex.EncodeToString(hash), created.Time.UTC()
	l.RecordTime, l.ResolvedAt = instant(recorded), instant(resolved)
	return l, err
}

func instant(t pgtype.Timestamptz) *time.Time {
	if !t.Valid {
		return nil
	}
	utc := t.Time.UTC()
	return &utc
}

// Group refuses one that is not in this database, while others are: an *UnknownGroupError.
func (s *Store) Group(ctx context.Context, group string) error {
	rows, err := s.conn.Query(ctx, `SELECT group_id FROM (SELECT group_id FROM firstclick.progress UNION SELECT group_id FROM firstclick.dead_letters) g
		ORDER BY group_id = $1 DESC, group_id LIMIT 10`, group)
	if err != nil {
		return explain("look for the group", err)
	}
	groups, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return explain("look for the group", err)
	}
	if len(groups) > 0 && groups[0] != group {
		return &UnknownGroupError{Group: group, Others: groups}
	}
	return nil
}

// Count says how many letters the filter means.
func (s *Store) Count(ctx context.Context, f Filter) (n int64, err error) {
	where, args := f.where()
	if err := s.conn.QueryRow(ctx, `SELECT count(*) FROM firstclick.dead_letters WHERE `+where, args...).Scan(&n); err != nil {
		return 0, explain("count dead letters", err)
	}
	return n, nil
}

// List returns the newest letters that the filter means, newest first, at most limit of them (0: all), without payloads.
func (s *Store) List(ctx context.Context, f Filter, limit int) ([]Letter, error) {
	where, args := f.where()
	sql := `SELECT ` + columns + ` FROM firstclick.dead_letters WHERE ` + where + ` ORDER BY id DESC`
	if limit > 0 {
		sql += fmt.Sprintf(" LIMIT %d", limit)
	}
	rows, err := s.conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, explain("list dead letters", err)
	}
	letters, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, explain("list dead letters", err)
	}
	return letters, nil
}

// Show returns one letter with its payload, or a *NotFoundError.
func (s *Store) Show(ctx context.Context, id int64) (Letter, error) {
	rows, err := s.conn.Query(ctx, `SELECT `+columns+` FROM firstclick.dead_letters WHERE id = $1`, id)
	if err != nil {
		return Letter{}, explain("read a dead letter", err)
	}
	l, err := pgx.CollectExactlyOneRow(rows, scan)
	if errors.Is(err, pgx.ErrNoRows) {
		return Letter{}, &NotFoundError{ID: id}
	}
	if err != nil {
		return Letter{}, explain("read a dead letter", err)
	}
	err = s.conn.QueryRow(ctx, `SELECT payload FROM firstclick.dead_letters WHERE id = $1`, id).Scan(&l.Payload)
	if err != nil {
		return Letter{}, explain("read a dead letter's payload", err)
	}
	return l, nil
}

// Drop marks the letters that the filter means as dropped and says how many they were. Those that were dropped before keep
// the time at which they were.
func (s *Store) Drop(ctx context.Context, f Filter) (int64, error) {
	if err := s.known(ctx, f); err != nil {
		return 0, err
	}
	where, args := f.where()
	tag, err := s.conn.Exec(ctx, `UPDATE firstclick.dead_letters SET status = 'dropped', resolved_at = clock_timestamp()
		WHERE status <> 'dropped' AND `+where, args...)
	if err != nil {
		return 0, explain("drop dead letters", err)
	}
	return tag.RowsAffected(), nil
}

// known refuses ids that no letter of the group has: a mistyped one must not pass for done.
func (s *Store) known(ctx context.Context, f Filter) error {
	if len(f.IDs) == 0 {
		return nil
	}
	missing := &NotFoundError{}
	err := s.conn.QueryRow(ctx, `SELECT i, coalesce(d.group_id, '') FROM unnest($1::bigint[]) i LEFT JOIN firstclick.dead_letters d ON d.id = i
		WHERE d.group_id IS DISTINCT FROM $2 ORDER BY i LIMIT 1`, f.IDs, f.group()).Scan(&missing.ID, &missing.Group)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return explain("look for dead letters", err)
	}
	return missing
}

// explain wraps what Postgres said; a table that is not there is ErrNoTable.
func explain(what string, err error) error {
	var answer *pgconn.PgError
	if errors.As(err, &answer) && (answer.Code == "42P01" || answer.Code == "3F000") { // undefined_table, invalid_schema_name
		return ErrNoTable
	}
	return fmt.Errorf("%s: %w", what, err)
}
