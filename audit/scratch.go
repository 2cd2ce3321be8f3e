package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// scratch is the table that WhatIf makes.
type scratch struct {
	schema, name string
	kind         string // pg_class.relkind of what is there under the name, "" where nothing is
}

func (s scratch) sql() string { return pgx.Identifier{s.schema, s.name}.Sanitize() }

var scratchColumns = []string{
	"checkout_id", "user_id", "product_id", "total_amount", "checkout_time", "click_id", "click_time",
	"clicks", "weight",
}

const scratchTypes = `(checkout_id text NOT NULL, user_id int NOT NULL, product_id text NOT NULL, total_amount numeric,
	checkout_time timestamp NOT NULL, click_id text, click_time timestamp, clicks int NOT NULL,
	weight numeric(13,12) NOT NULL)`

// scratchMark begins the comment on each table that WhatIf made.
const scratchMark = "made by firstclick whatif"

// longestName is what Postgres keeps of a name, in bytes (NAMEDATALEN - 1).
const longestName = 63

// findScratch looks whether the table may be made. It reads the name as Postgres does.
func (w *whatIfRun) findScratch(ctx context.Context, tx pgx.Tx) error {
	s, typed := &w.into, w.scenario.Into
	var parts []string
	if err := tx.QueryRow(ctx, `SELECT parse_ident($1)`, typed).Scan(&parts); err != nil || len(parts) != 2 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("%w %s: give its name with its schema, as in scratch.half_hour", ErrTable, quote(typed))
	}
	*s = scratch{schema: parts[0], name: parts[1]}
	var schemaThere, ours bool
	err := tx.QueryRow(ctx, `
		SELECT true, coalesce(c.relkind::text, ''), coalesce(obj_description(c.oid, 'pg_class') LIKE $3 || '%', false)
		FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = $2 WHERE n.nspname = $1`,
		s.schema, s.name, scratchMark).Scan(&schemaThere, &s.kind, &ours)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("look up table %s: %w", typed, err)
	}
	known := []string{"attributed_checkouts", "users", "products"}
	switch {
	case s.schema == "firstclick", s.schema == "information_schema", strings.HasPrefix(s.schema, "pg_"),
		s.schema == "commerce" && slices.Contains(known, s.name):
		return fmt.Errorf("%w %s is not for this: name one of your own, as in scratch.half_hour", ErrTable, typed)
	case len(s.name) > longestName:
		return fmt.Errorf("%w %s: the name has %d bytes, and Postgres would cut it at %d",
			ErrTable, typed, len(s.name), longestName)
	case !schemaThere:
		return fmt.Errorf("%w %s: there is no schema %s; CREATE SCHEMA %s",
			ErrTable, typed, s.schema, pgx.Identifier{s.schema}.Sanitize())
	case s.kind == "":
		return nil
	case !ours || s.kind != "r":
		return fmt.Errorf("%w %s is there, and was not made by whatif: name another, or drop it yourself",
			ErrTable, typed)
	case !w.scenario.Replace:
		return fmt.Errorf("%w %s is there from an earlier whatif: --replace it, or name another", ErrTable, typed)
	}
	return nil
}

// writeScratch makes the table under another name and renames it at the end, in one transaction. So
// there is always the old table or the new one, and readers of the old one do not wait.
func (w *whatIfRun) writeScratch(ctx context.Context) error {
	typed := w.scenario.Into
	w.progress.phase("checkouts written to "+typed, w.enqueued)
	conn, err := connect(ctx, w.cfg.Database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) // which rolls back what was not committed
	tx, err := conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin to write %s: %w", typed, err)
	}
	making := pgx.Identifier{w.into.schema, fmt.Sprintf("firstclick_whatif_%d", conn.PgConn().PID())}
	_, err = tx.Exec(ctx, "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; "+
		"CREATE TABLE "+making.Sanitize()+scratchTypes)
	if err != nil {
		return fmt.Errorf("create table %s: %w", typed, err)
	}
	next, stop := iter.Pull2(w.scratchRows(ctx))
	defer stop()
	w.out.Written, err = tx.CopyFrom(ctx, making, scratchColumns, pgx.CopyFromFunc(func() ([]any, error) {
		row, err, _ := next()
		return row, err
	}))
	if err != nil {
		return fmt.Errorf("write table %s: %w", typed, err)
	}
	if err := w.findScratch(ctx, tx); err != nil { // once more, for the copy took its time
		return err
	}
	statements := []string{
		"ALTER TABLE " + making.Sanitize() + " RENAME TO " + pgx.Identifier{w.into.name}.Sanitize(),
		fmt.Sprintf("COMMENT ON TABLE %s IS '%s: model %s, window %s, %s'", w.into.sql(), scratchMark,
			w.scenario.Model, w.snap.window, time.Now().UTC().Format(time.RFC3339)),
	}
	if w.into.kind != "" {
		statements = append([]string{"DROP TABLE " + w.into.sql()}, statements...)
	}
	for _, statement := range statements {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return fmt.Errorf("put table %s in place: %w", typed, err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit table %s: %w", typed, err)
	}
	return nil
}
