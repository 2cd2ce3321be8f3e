package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"firstclick/pipeline/sink"
)

// grantsSQL selects the statements that give the role what a run needs and the role lacks: the
// rights that SECURITY.md lists. A right on columns is enough if columns are named.
const grantsSQL = `
	WITH wanted (schema, name, privileges, columns) AS (VALUES
		('commerce', 'users', 'SELECT', '{id,username}'::name[]),
		('commerce', 'attributed_checkouts', 'SELECT,INSERT', NULL),
		('commerce', 'attributed_checkouts', 'UPDATE', '{user_name,click_id,click_time}'),
		('firstclick', 'offsets', 'SELECT,INSERT,UPDATE', NULL),
		('firstclick', 'progress', 'SELECT,INSERT,UPDATE', NULL),
		('firstclick', 'dead_letters', 'SELECT,INSERT,UPDATE', NULL),
		('firstclick', 'late', 'SELECT,INSERT,UPDATE', NULL),
		('firstclick', 'unknown_users', 'SELECT,INSERT,DELETE', NULL),
		('firstclick', 'instances', 'SELECT,INSERT,UPDATE,DELETE', NULL),
		('firstclick', 'schema_version', 'SELECT', NULL))
	, missing AS (
		SELECT w.schema, w.name, privilege || coalesce(' (' || array_to_string(w.columns, ', ') || ')', '') AS what
		FROM wanted w JOIN pg_namespace n ON n.nspname = w.schema
		JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name AND c.relkind IN ('r', 'p', 'v'),
			unnest(string_to_array(w.privileges, ',')) privilege
		WHERE CASE WHEN w.columns IS NULL THEN NOT has_table_privilege(c.oid, privilege)
			ELSE EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = ANY (w.columns)
				AND NOT a.attisdropped AND NOT has_column_privilege(c.oid, a.attnum, privilege)) END)
	SELECT format('GRANT %s ON %I.%I TO %I', string_agg(what, ', ' ORDER BY what), schema, name, current_user)
		FROM missing GROUP BY schema, name
	UNION ALL SELECT format('GRANT USAGE ON SCHEMA %I TO %I', nspname, current_user) FROM pg_namespace
		WHERE nspname IN ('commerce', 'firstclick') AND NOT has_schema_privilege(oid, 'USAGE')
	UNION ALL SELECT format('GRANT CREATE ON DATABASE %I TO %I', current_database(), current_user)
		WHERE to_regnamespace('firstclick') IS NULL AND NOT has_database_privilege(current_database(), 'CREATE')
	UNION ALL SELECT format('GRANT TEMPORARY ON DATABASE %I TO %I', current_database(), current_user)
		WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
	ORDER BY 1`

func (p *postgres) grants(ctx context.Context) ([]string, error) {
	rows, _ := p.pool.Query(ctx, grantsSQL)
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func permissions(f *facts) (found findings) {
	role := f.server.Role
	if missing := f.grants; len(missing) > 0 {
		return found.fail(strings.Join(missing, "; "), "%s lacks %d of the rights that a run needs", role, len(missing))
	}
	return found.ok("%s may do what a run needs", role)
}

func (p *postgres) foreignSessions(ctx context.Context) ([]string, error) {
	rows, _ := p.pool.Query(ctx, sink.ForeignSessions+` ORDER BY 1`)
	roles, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if is(err, "42P01", "3F000", "42703") { // no table, schema or column: not migrated yet
		return nil, nil
	}
	return roles, err
}

// is says whether Postgres answered with one of these SQLSTATEs.
func is(err error, codes ...string) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && slices.Contains(codes, answer.Code)
}

// takeover checks whether ours could end the sessions of running instances, as a takeover does.
func takeover(f *facts) (found findings) {
	role, foreign := f.server.Role, f.foreign
	if len(foreign) > 0 {
		grant := fmt.Sprintf("GRANT %s TO %s", quoted(foreign[0]), quoted(role))
		return found.fail("run all instances under one role, or: "+grant,
			"instances run as %s, whose sessions %s may not end (pg_terminate_backend): "+
				"it could not take over their shards", strings.Join(foreign, ", "), role)
	}
	return found.ok("the sessions of other instances can be ended")
}
