package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"firstclick/internal/pgsession"
)

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

// instant is a stored time: noTime where it is NULL.
func instant(t pgtype.Timestamptz) int64 {
	switch {
	case !t.Valid, t.InfinityModifier == pgtype.NegativeInfinity:
		return noTime
	case t.InfinityModifier == pgtype.Infinity:
		return endless
	}
	return t.Time.UnixMicro()
}

// endOfTime is the last microsecond of the year 9999, the latest that an event can have. Infinity
// is shown as this.
const endOfTime = 253_402_300_799_999_999

func moment(micros int64) time.Time {
	return time.UnixMicro(min(max(micros, -endOfTime), endOfTime)).UTC()
}
