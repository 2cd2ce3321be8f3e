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

// columnLists is the first server version whose publications have column lists.
const columnLists = 150000

// usersTable is what the catalogs say about commerce.users.
type usersTable struct {
	version     int
	role        string // ours
	oid         uint32
	kind        string // r: an ordinary table
	unlogged    bool
	children    bool     // tables that INHERIT from it
	guarded     bool     // row security hides rows from our role
	generated   []string // of id and username, those that are
	plainName   bool     // the username is of a text type that cannot come to mean other text
	identity    string   // d primary key, i index, f full, n nothing
	identityKey []string
	columns     []string
	idType      uint32 // of a domain: what it is made of
	owned       bool   // by a role that we are a member of
	readable    bool
}

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

// EnsurePublication makes the publication firstclick_users what commerce.users needs now, whether or not it is there:
// the columns id and username and those of the replica identity, or, where the server has no column lists or the identity is
// FULL (an UPDATE of the application would fail if the list did not hold every column), the whole table. A table without a
// replica identity that holds the id is not published, and taken out if it is: publishing it would make the application's own
// updates fail. Where the publication fits already, nothing is written and no right is needed. Errors are *SetupError, or what
// Postgres said.
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
		for _, sql := range table.mend(have) {
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
		return &SetupError{
			Problem: ProblemPublication,
			What:    fmt.Sprintf("the publication %s does not fit commerce.users and this role may not change it", Publication),
			Mend:    "run as a superuser or the table's owner: " + strings.Join(table.mend(have), "; "),
			Err:     err,
		}
	}
	return err
}

func publicationFits(ctx context.Context, conn *pgx.Conn, table usersTable) (bool, error) {
	have, err := describePublication(ctx, conn, table)
	return err == nil && have.exists && len(table.mend(have)) == 0, err
}

// problem says why the table cannot be published.
func (t usersTable) problem() *SetupError {
	switch {
	case t.oid == 0:
		return &SetupError{Problem: ProblemTable, What: "there is no table commerce.users", Mend: "firstclick migrate"}
	case t.kind != "r":
		return &SetupError{Problem: ProblemTable, What: "commerce.users is a view or a partitioned or foreign table, which the mirror does not follow",
			Mend: "make commerce.users an ordinary table"}
	case !slices.Contains(t.columns, "id") || !slices.Contains(t.columns, "username"):
		return &SetupError{Problem: ProblemColumns, What: "commerce.users has no columns id and username",
			Mend: "ALTER TABLE commerce.users RENAME COLUMN ... TO id (or username)"}
	case t.idType != 20 && t.idType != 21 && t.idType != 23:
		return &SetupError{Problem: ProblemColumns, What: "the column id of commerce.users is not an integer",
			Mend: "ALTER TABLE commerce.users ALTER COLUMN id TYPE int USING id::int"}
	case !t.readable:
		return &SetupError{Problem: ProblemSelect, What: "this role may not read commerce.users",
			Mend: fmt.Sprintf("GRANT USAGE ON SCHEMA commerce TO %s; GRANT SELECT (id, username) ON commerce.users TO %[1]s", pgx.Identifier{t.role}.Sanitize())}
	case t.guarded: // our sessions have row_security = off: names that are hidden without a word would be taken for users that are not there
		return &SetupError{Problem: ProblemSelect, What: fmt.Sprintf("row-level security of commerce.users applies to role %s, so names can be neither mirrored nor read", t.role),
			Mend: fmt.Sprintf("as a superuser: ALTER ROLE %s BYPASSRLS", pgx.Identifier{t.role}.Sanitize())}
	}
	if problem := t.unfollowed(); problem != nil {
		return problem
	}
	switch {
	case t.identity == "f":
		return nil
	case len(t.identityKey) == 0:
		return &SetupError{Problem: ProblemIdentity, What: "commerce.users has no replica identity, so its changes are not published",
			Mend: "ALTER TABLE commerce.users ADD PRIMARY KEY (id); ALTER TABLE commerce.users REPLICA IDENTITY DEFAULT (or, without a key: ALTER TABLE commerce.users REPLICA IDENTITY FULL)"}
	case !slices.Contains(t.identityKey, "id"):
		return &SetupError{Problem: ProblemIdentity, What: fmt.Sprintf("the replica identity of commerce.users is (%s), without the id, so its changes are not published", strings.Join(t.identityKey, ", ")),
			Mend: "ALTER TABLE commerce.users REPLICA IDENTITY FULL (or USING INDEX a unique index that holds the id)"}
	}
	return nil
}

// unfollowed says why the stream would not bring all that changes names, so that they are read through, as Postgres has them at
// each transaction.
func (t usersTable) unfollowed() *SetupError {
	const what = ", so names are read from Postgres at each transaction instead of being mirrored"
	follow := func(why, mend string) *SetupError {
		return &SetupError{Problem: ProblemUnfollowed, What: "commerce.users " + why + what, Mend: mend}
	}
	switch {
	case t.unlogged:
		return follow("is UNLOGGED, which Postgres never publishes", "ALTER TABLE commerce.users SET LOGGED")
	case len(t.generated) > 0:
		return follow(fmt.Sprintf("has a generated column %s, which Postgres does not publish", strings.Join(t.generated, " and ")),
			fmt.Sprintf("ALTER TABLE commerce.users ALTER COLUMN %s DROP EXPRESSION -- the application fills it in from then on", t.generated[0]))
	case t.children:
		return follow("has child tables (INHERITS), whose changes are not published with its own",
			"move their rows into commerce.users and ALTER TABLE ... NO INHERIT commerce.users")
	case !t.plainName:
		return follow("has a username of a type whose text may change without the row",
			"ALTER TABLE commerce.users ALTER COLUMN username TYPE text USING username::text")
	}
	return nil
}

// list returns the columns to publish, sorted; nil: the whole table.
func (t usersTable) list() []string {
	if t.version < columnLists || t.identity == "f" {
		return nil
	}
	columns := slices.Concat([]string{"id", "username"}, t.identityKey)
	slices.Sort(columns)
	return slices.Compact(columns)
}

// mend returns the statements that make the publication right; none: it is.
func (t usersTable) mend(have publication) []string {
	const operations = "publish = 'insert, update, delete, truncate'"
	if t.problem() != nil {
		if have.exists && have.users && !have.allTables {
			return []string{"ALTER PUBLICATION " + Publication + " DROP TABLE commerce.users"}
		}
		return nil
	}
	target := "TABLE ONLY commerce.users"
	if list := t.list(); list != nil {
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
	if have.tables != 1 || !have.users || have.filtered || !slices.Equal(have.columns, t.list()) {
		statements = append(statements, fmt.Sprintf("ALTER PUBLICATION %s SET %s", Publication, target))
	}
	if !have.operations {
		statements = append(statements, fmt.Sprintf("ALTER PUBLICATION %s SET (%s)", Publication, operations))
	}
	return statements
}

func describeUsers(ctx context.Context, conn *pgx.Conn) (usersTable, error) {
	var t usersTable
	err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int, current_user::text").Scan(&t.version, &t.role)
	if err != nil {
		return t, fmt.Errorf("read server version and role: %w", err)
	}
	// The identity's index: the chosen one, else the primary key unless the identity is another. Text types are those of category S, domains
	// of them too: an enum's words, and what time zones and formats make of other types, change without a change of the row.
	err = conn.QueryRow(ctx, `
		WITH RECURSIVE named AS (
			SELECT a.attname, a.attgenerated, a.atttypid AS typ FROM pg_attribute a
			WHERE a.attrelid = (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'commerce' AND c.relname = 'users')
			AND a.attname IN ('id', 'username') AND NOT a.attisdropped),
		made AS (
			SELECT attname, typ FROM named
			UNION ALL SELECT m.attname, t.typbasetype FROM made m JOIN pg_type t ON t.oid = m.typ WHERE t.typtype = 'd')
		SELECT c.oid, c.relkind::text, c.relreplident::text, c.relpersistence = 'u', EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid), row_security_active(c.oid),
		       ARRAY(SELECT attname::text FROM named WHERE attgenerated <> '' ORDER BY 1),
		       EXISTS (SELECT FROM made m JOIN pg_type t ON t.oid = m.typ WHERE m.attname = 'username' AND t.typtype = 'b' AND t.typcategory = 'S'),
		       ARRAY(SELECT a.attname::text FROM pg_attribute a
		             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
		       ARRAY(SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts-1])
		             WHERE i.indrelid = c.oid AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END
		             ORDER BY a.attnum),
		       coalesce((SELECT t.oid FROM made m JOIN pg_type t ON t.oid = m.typ WHERE m.attname = 'id' AND t.typtype = 'b'), 0),
		       pg_has_role(c.relowner, 'USAGE'),
		       has_schema_privilege(n.oid, 'USAGE') AND NOT EXISTS
		           (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname IN ('id', 'username') AND NOT a.attisdropped
		            AND NOT has_column_privilege(c.oid, a.attnum, 'SELECT'))
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = 'commerce' AND c.relname = 'users'`,
	).Scan(&t.oid, &t.kind, &t.identity, &t.unlogged, &t.children, &t.guarded, &t.generated, &t.plainName,
		&t.columns, &t.identityKey, &t.idType, &t.owned, &t.readable)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return t, fmt.Errorf("describe commerce.users: %w", err)
	}
	return t, nil
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
