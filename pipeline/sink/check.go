package sink

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Check says whether commerce.attributed_checkouts is a table that a Sink can write to: nil, or what stands in the way, with the statement
// that mends it after "run: " where there is one. It changes nothing.
func Check(ctx context.Context, conn *pgx.Conn) error {
	_, err := describe(ctx, conn)
	return err
}
