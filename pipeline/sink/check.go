package sink

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Check says whether commerce.attributed_checkouts is a table that a Sink can write to: nil, or what stands in the way, with the statement
// that mends it after "run: " where there is one. It changes nothing.
func Check(ctx context.Context, conn *pgx.Conn) error {
	_, err := describe(ctx, conn)
	return err
}

// CheckEncoding refuses a database whose encoding cannot hold every text of an event. A checkout that does not fit could be a dead letter; a late
// click, the correction of a row or the words of a dead letter could not, and would stop their shard for good. SQL_ASCII holds any bytes.
func CheckEncoding(encoding string) error {
	if encoding == "UTF8" || encoding == "SQL_ASCII" {
		return nil
	}
	return fmt.Errorf("the database is encoded in %s, which cannot hold every event: it has to be UTF8", encoding)
}
