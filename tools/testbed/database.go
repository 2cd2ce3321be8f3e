package testbed

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"firstclick/internal/pgsession"
)

// Database is a database of Postgres, and the application_name of the tool's sessions with it.
type Database struct{ DSN, Application string }

// Connect opens a session.
func (d Database) Connect(ctx context.Context) (*pgx.Conn, error) {
	return pgsession.Connect(ctx, d.DSN, d.Application)
}

// With calls fn with a session of its own.
func (d Database) With(ctx context.Context, fn func(conn *pgx.Conn) error) error {
	conn, err := d.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return fn(conn)
}

// Exec runs statements one after the other, each in its own transaction.
func (d Database) Exec(ctx context.Context, statements ...string) error {
	return d.With(ctx, func(conn *pgx.Conn) error {
		for _, statement := range statements {
			if _, err := conn.Exec(ctx, statement); err != nil {
				return fmt.Errorf("run %q: %w", strings.Join(strings.Fields(statement), " "), err)
			}
		}
		return nil
	})
}

// Row reads the only row of a query into the variables.
func (d Database) Row(ctx context.Context, sql string, args []any, into ...any) error {
	return d.With(ctx, func(conn *pgx.Conn) error { return conn.QueryRow(ctx, sql, args...).Scan(into...) })
}

// Rows reads each row of a query into the variables and calls each.
func (d Database) Rows(ctx context.Context, sql string, args, into []any, each func() error) error {
	return d.With(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		_, err = pgx.ForEachRow(rows, into, each)
		return err
	})
}
