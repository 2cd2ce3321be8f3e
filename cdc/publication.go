package cdc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Publication is the name of the publication of commerce.users.
const Publication = "firstclick_users"

// columnLists is the first server version whose publications have column lists.
const columnLists = 150000

// publication is what the catalogs say about ours.
type publication struct {
	exists     bool
	owned      bool
	allTables  bool
	operations bool // inserts, updates, deletes and truncates are published
	tables     int
	users      bool     // commerce.users is one of them
	columns    []string // its column list, sorted; nil: none
	filtered   bool     // it has a row filter
	schemas    int
}

func describePublication(ctx context.Context, conn *pgx.Conn, table usersTable) (publication, error) {
	var p publication
	var oid uint32
	err := conn.QueryRow(ctx, `
		SELECT oid, pg_has_role(pubowner, 'USAGE'), puballtables, pubinsert AND pubupdate AND pubdelete AND pubtruncate,
			(SELECT count(*) FROM pg_publication_rel WHERE prpubid = p.oid),
			EXISTS (SELECT FROM pg_publication_rel WHERE prpubid = p.oid AND prrelid = $2)
		FROM pg_publication p WHERE pubname = $1`, Publication, table.oid,
	).Scan(&oid, &p.owned, &p.allTables, &p.operations, &p.tables, &p.users)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return p, nil
	case err != nil:
		return p, fmt.Errorf("describe publication: %w", err)
	}
	p.exists = true
	if table.version < columnLists {
		return p, nil
	}
	err = conn.QueryRow(ctx, `
		SELECT (SELECT array_agg(a.attname::text ORDER BY a.attname::text COLLATE "C") FROM pg_attribute a
				WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs)),
			coalesce(r.prqual IS NOT NULL, false), (SELECT count(*) FROM pg_publication_namespace WHERE pnpubid = $1)
		FROM (VALUES (1)) one LEFT JOIN pg_publication_rel r ON r.prpubid = $1 AND r.prrelid = $2`, oid, table.oid,
	).Scan(&p.columns, &p.filtered, &p.schemas)
	if err != nil {
		return p, fmt.Errorf("describe publication's columns: %w", err)
	}
	return p, nil
}

// EnsurePublication makes the publication firstclick_users what commerce.users needs now, whether
// or not it exists. It publishes the columns id and username and those of the replica identity. It
// publishes the whole table if the server has no column lists, or if the identity is FULL: then the
// application's own UPDATE would fail if the list did not hold every column. A table without a
// replica identity that holds the id is not published, and is taken out if it is, because the
// application's own updates would fail. If the publication fits already, nothing is written and no
// right is needed. Errors are *SetupError, or what Postgres said.
//
// https://www.postgresql.org/docs/current/logical-replication-col-lists.html
func EnsurePublication(ctx context.Context, conn *pgx.Conn) error {
	table, err := describeUsers(ctx, conn)
	if err != nil {
		return err
	}
	problem := table.problem()
	fits, err := publicationFits(ctx, conn, table)
	if err != nil {
		return err
	}
	if fits && problem == nil {
		return nil
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// Instances that begin together wait for each other here.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", Publication); err != nil {
			return fmt.Errorf("lock publication: %w", err)
		}
		have, err := describePublication(ctx, conn, table)
		if err != nil {
			return err
		}
		for _, sql := range table.publish(have) {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return fmt.Errorf("publish users: %w", err)
			}
		}
		return nil
	})
	var pgErr *pgconn.PgError
	switch {
	case problem != nil:
		return errors.Join(problem, err)
	case errors.As(err, &pgErr) && pgErr.Code == "42501": // insufficient_privilege
		have, _ := describePublication(ctx, conn, table)
		return &SetupError{ProblemPublication,
			"the publication " + Publication + " does not fit commerce.users and this role may not change it",
			"run as a superuser or the table's owner: " + strings.Join(table.publish(have), "; "), err}
	}
	return err
}

func publicationFits(ctx context.Context, conn *pgx.Conn, table usersTable) (bool, error) {
	have, err := describePublication(ctx, conn, table)
	return err == nil && have.exists && len(table.publish(have)) == 0, err
}

// checkPublished is an error unless the table can be mirrored and the publication carries it.
func checkPublished(ctx context.Context, conn *pgx.Conn) error {
	table, err := describeUsers(ctx, conn)
	if err != nil {
		return err
	}
	fits, err := publicationFits(ctx, conn, table)
	if err != nil {
		return err
	}
	if problem := table.problem(); problem != nil {
		return problem
	}
	if !fits {
		return &SchemaError{Reason: "the publication " + Publication + " no longer fits it"}
	}
	return nil
}

// publish returns the statements that make the publication fit the table; none: it fits.
func (t usersTable) publish(have publication) []string {
	const operations = "publish = 'insert, update, delete, truncate'"
	if t.problem() != nil {
		if have.exists && have.users && !have.allTables {
			return []string{"ALTER PUBLICATION " + Publication + " DROP TABLE commerce.users"}
		}
		return nil
	}
	target := "TABLE ONLY commerce.users"
	var list []string // sorted; nil: the whole table
	if t.version >= columnLists && t.identity != "f" {
		list = slices.Concat([]string{"id", "username"}, t.identityKey)
		slices.Sort(list)
		list = slices.Compact(list)
		quoted := make([]string, len(list))
		for i, column := range list {
			quoted[i] = pgx.Identifier{column}.Sanitize()
		}
		target += " (" + strings.Join(quoted, ", ") + ")"
	}
	create := fmt.Sprintf("CREATE PUBLICATION %s FOR %s WITH (%s)", Publication, target, operations)
	switch {
	case !have.exists:
		return []string{create}
	case have.allTables || have.schemas > 0: // cannot be altered to a list of tables
		return []string{"DROP PUBLICATION " + Publication, create}
	}
	var statements []string
	if have.tables != 1 || !have.users || have.filtered || !slices.Equal(have.columns, list) {
		statements = append(statements, fmt.Sprintf("ALTER PUBLICATION %s SET %s", Publication, target))
	}
	if !have.operations {
		statements = append(statements, fmt.Sprintf("ALTER PUBLICATION %s SET (%s)", Publication, operations))
	}
	return statements
}
