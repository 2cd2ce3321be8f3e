package migrations

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"firstclick/internal/pgsession"
)

var (
	creates    = regexp.MustCompile(`(?m)^CREATE TABLE (?:IF NOT EXISTS )?((?:commerce|firstclick)\.\w+)`)
	ourSchemas = regexp.MustCompile(`\b(?:commerce|firstclick)\.`)
)

// madeIn is the schema in which Remake makes all tables, to see what the database lacks.
const madeIn = "firstclick_made"

// Tables returns the tables that the files make and firstclick needs, sorted.
func Tables() ([]string, error) {
	ups, err := ups()
	if err != nil {
		return nil, err
	}
	var tables []string
	for _, m := range creates.FindAllStringSubmatch(ups, -1) {
		if m[1] != "commerce.products" { // only readers need it
			tables = append(tables, m[1])
		}
	}
	slices.Sort(tables)
	return tables, nil
}

// ups is the SQL of all files for an empty database, in order.
func ups() (string, error) {
	names, err := files.ReadDir(".")
	if err != nil {
		return "", fmt.Errorf("list the migrations: %w", err)
	}
	var all strings.Builder
	for _, name := range names { // sorted, so by version
		text, err := files.ReadFile(name.Name())
		if err != nil {
			return "", fmt.Errorf("read a migration: %w", err)
		}
		up, _, _ := strings.Cut(string(text), "-- +goose Down")
		all.WriteString(up)
	}
	return all.String(), nil
}

// Missing returns those of Tables that the database does not have.
func Missing(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	tables, err := Tables()
	if err != nil {
		return nil, err
	}
	// Not to_regclass, which needs the right to use the schema.
	rows, _ := conn.Query(ctx, `SELECT t FROM unnest($1::text[]) t WHERE NOT EXISTS (
		SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname || '.' || c.relname = t) ORDER BY 1`, tables) // its error comes with the rows
	missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for missing tables: %w", err)
	}
	return missing, nil
}

// Remake makes again, empty, what was dropped from a database that has every migration: tables, and
// columns of firstclick's own. Up leaves those alone. Remake makes everything in another schema, as
// in a new database, and moves over what is missing. It does not touch what exists. It is for a
// person who asks for it: a run that begins while somebody exchanges tables must not make them.
func Remake(ctx context.Context, dsn string, logger *slog.Logger) (err error) {
	unlock, err := lock(ctx, dsn, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	conn, err := pgsession.Connect(ctx, dsn, application)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	missing, err := Missing(ctx, conn)
	if err != nil {
		return err
	}
	var may bool
	if err := conn.QueryRow(ctx, "SELECT has_database_privilege(current_database(), 'CREATE')").Scan(&may); err != nil {
		return fmt.Errorf("read database privilege: %w", err)
	}
	switch {
	case !may && len(missing) == 0:
		return nil // who may not make columns does not look for missing ones
	case !may:
		return fmt.Errorf("%s missing, and this role may not make tables: run firstclick migrate as their owner",
			strings.Join(missing, ", "))
	}
	var statements []string
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		statements, err = remake(ctx, tx, missing)
		return err
	})
	if err != nil {
		return fmt.Errorf("make again what is missing: %w", err)
	}
	for _, s := range statements {
		logger.WarnContext(ctx, "made again, empty: it had been dropped", "what", s)
	}
	return nil
}

func remake(ctx context.Context, tx pgx.Tx, missing []string) (made []string, err error) {
	aside, err := ups()
	if err != nil {
		return nil, err
	}
	// The files themselves make schemas that are gone.
	aside = "CREATE SCHEMA " + madeIn + ";" + ourSchemas.ReplaceAllString(aside, madeIn+".")
	if _, err := tx.Exec(ctx, aside, pgx.QueryExecModeSimpleProtocol); err != nil {
		return nil, err
	}
	var statements []string
	for _, table := range missing {
		schema, name, _ := strings.Cut(table, ".")
		statements = append(statements, fmt.Sprintf("ALTER TABLE %s.%s SET SCHEMA %s", madeIn, name, schema))
		made = append(made, table)
	}
	rows, _ := tx.Query(ctx, `SELECT m.relname || '.' || a.attname,
			format('ALTER TABLE firstclick.%I ADD COLUMN %I %s', m.relname, a.attname,
				format_type(a.atttypid, a.atttypmod))
			|| coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')
			|| CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
		FROM pg_class m JOIN pg_class c ON c.relname = m.relname AND c.relnamespace = 'firstclick'::regnamespace
		JOIN pg_attribute a ON a.attrelid = m.oid AND a.attnum > 0 AND NOT a.attisdropped
		LEFT JOIN pg_attrdef d ON d.adrelid = m.oid AND d.adnum = a.attnum
		WHERE m.relnamespace = $1::regnamespace AND m.relkind = 'r'
		AND NOT EXISTS (SELECT FROM pg_attribute h
			WHERE h.attrelid = c.oid AND h.attname = a.attname AND NOT h.attisdropped) ORDER BY 1`, madeIn)
	var what, add string
	if _, err := pgx.ForEachRow(rows, []any{&what, &add}, func() error {
		statements, made = append(statements, add), append(made, "firstclick."+what)
		return nil
	}); err != nil {
		return nil, err
	}
	statements = append(statements, "SET LOCAL client_min_messages = warning", "DROP SCHEMA "+madeIn+" CASCADE")
	for _, s := range statements {
		if _, err := tx.Exec(ctx, s); err != nil {
			return nil, fmt.Errorf("%s: %w", s, err)
		}
	}
	return made, nil
}
