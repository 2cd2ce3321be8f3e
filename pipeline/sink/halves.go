package sink

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// byHalves has pieces written one after another, and finds by halves the members that Postgres refuses (a check, a trigger, an encoding). write makes
// the savepoint "piece" and releases it.
func byHalves[T any](ctx context.Context, conn *pgx.Conn, pieces [][]T, write func(piece []T) error, refused func(one T, pe *pgconn.PgError)) error {
	slices.Reverse(pieces) // the last one comes next
	for len(pieces) > 0 {
		piece := pieces[len(pieces)-1]
		pieces = pieces[:len(pieces)-1]
		err := write(piece)
		if err == nil {
			continue
		}
		pe, isRefusal := refuses(err)
		if !isRefusal {
			return err
		}
		if _, err := conn.Exec(ctx, "ROLLBACK TO SAVEPOINT piece; RELEASE SAVEPOINT piece", pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("go back to before what was refused: %w", err)
		}
		if half := len(piece) / 2; half > 0 {
			pieces = append(pieces, piece[half:], piece[:half])
		} else {
			refused(piece[0], pe)
		}
	}
	return nil
}
