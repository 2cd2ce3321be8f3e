package cdc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// usersTable is what the catalogs say about commerce.users.
type usersTable struct {
	version     int    // of the server
	role        string // ours
	oid         uint32 // 0: there is no table
	kind        string // r: an ordinary table
	identity    string // d primary key, i index, f full, n nothing
	unlogged    bool
	children    bool     // tables that INHERIT from it
	guarded     bool     // row security hides rows from our role
	generated   []string // of id and username, those that are
	plainName   bool     // the username is of a text type that cannot come to mean other text
	columns     []string
	identityKey []string
	idType      uint32 // of a domain: what it is made of
	owned       bool   // by a role that we are a member of
	readable    bool
}

func describeUsers(ctx context.Context, conn *pgx.Conn) (usersTable, error) {
	var t usersTable
	err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int, current_user::text").
		Scan(&t.version, &t.role)
	if err != nil {
		return t, fmt.Errorf("read server version and role: %w", err)
	}
	// The identity's index is the chosen one, else the primary key unless the identity is another.
	// Text types are those of category S, and domains of them. The text of other types can change
	// without a change of the row: an enum's words, or what time zones and formats make of a value.
	err = conn.QueryRow(ctx, `
		WITH RECURSIVE named AS (
			SELECT a.attname, a.attgenerated, a.atttypid AS typ
			FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname = 'commerce' AND c.relname = 'users' AND a.attname IN ('id', 'username')
				AND NOT a.attisdropped),
		made AS (
			SELECT attname, typ FROM named
			UNION ALL SELECT m.attname, t.typbasetype FROM made m JOIN pg_type t ON t.oid = m.typ WHERE t.typtype = 'd')
		SELECT c.oid, c.relkind::text, c.relreplident::text, c.relpersistence = 'u',
			EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid), row_security_active(c.oid),
			ARRAY(SELECT attname::text FROM named WHERE attgenerated <> '' ORDER BY 1),
			EXISTS (SELECT FROM made m JOIN pg_type t ON t.oid = m.typ
				WHERE m.attname = 'username' AND t.typtype = 'b' AND t.typcategory = 'S'),
			ARRAY(SELECT a.attname::text FROM pg_attribute a
				WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
			ARRAY(SELECT a.attname::text FROM pg_index i
				JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts-1])
				WHERE i.indrelid = c.oid AND CASE c.relreplident
					WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END ORDER BY a.attnum),
			coalesce((SELECT t.oid FROM made m JOIN pg_type t ON t.oid = m.typ
				WHERE m.attname = 'id' AND t.typtype = 'b'), 0),
			pg_has_role(c.relowner, 'USAGE'),
			has_schema_privilege(n.oid, 'USAGE') AND NOT EXISTS (SELECT FROM pg_attribute a
				WHERE a.attrelid = c.oid AND a.attname IN ('id', 'username') AND NOT a.attisdropped
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

// problem says why the table cannot be published; nil: it can.
func (t usersTable) problem() *SetupError {
	const alter = "ALTER TABLE commerce.users "
	role := pgx.Identifier{t.role}.Sanitize()
	switch {
	case t.oid == 0:
		return &SetupError{ProblemTable, "there is no table commerce.users", "firstclick migrate", nil}
	case t.kind != "r":
		return &SetupError{ProblemTable,
			"commerce.users is a view or a partitioned or foreign table, which the mirror does not follow",
			"make commerce.users an ordinary table", nil}
	case !slices.Contains(t.columns, "id") || !slices.Contains(t.columns, "username"):
		return &SetupError{ProblemColumns, "commerce.users has no columns id and username",
			alter + "RENAME COLUMN ... TO id (or username)", nil}
	case t.idType != 20 && t.idType != 21 && t.idType != 23: // int8, int2, int4
		return &SetupError{ProblemColumns, "the column id of commerce.users is not an integer",
			alter + "ALTER COLUMN id TYPE int USING id::int", nil}
	case !t.readable:
		return &SetupError{ProblemSelect, "this role may not read commerce.users",
			"GRANT USAGE ON SCHEMA commerce TO " +
				role + "; GRANT SELECT (id, username) ON commerce.users TO " + role, nil}
	case t.guarded: // our sessions have row_security = off, because a hidden row would pass for an unknown user
		return &SetupError{ProblemSelect,
			"row-level security of commerce.users applies to role " + t.role +
				", so names can be neither mirrored nor read",
			"as a superuser: ALTER ROLE " + role + " BYPASSRLS", nil}
	}
	const unfollowed = ", so names are read from Postgres at each transaction instead of being mirrored"
	switch {
	case t.unlogged:
		return &SetupError{ProblemUnfollowed, "commerce.users is UNLOGGED, which Postgres never publishes" + unfollowed,
			alter + "SET LOGGED", nil}
	case len(t.generated) > 0:
		return &SetupError{ProblemUnfollowed, "commerce.users has a generated column " +
			strings.Join(t.generated, " and ") + ", which Postgres does not publish" + unfollowed,
			alter + "ALTER COLUMN " + t.generated[0] + " DROP EXPRESSION -- the application fills it in from then on",
			nil}
	case t.children:
		return &SetupError{ProblemUnfollowed,
			"commerce.users has child tables (INHERITS), whose changes are not published with its own" + unfollowed,
			"move their rows into commerce.users and ALTER TABLE ... NO INHERIT commerce.users", nil}
	case !t.plainName:
		return &SetupError{ProblemUnfollowed,
			"commerce.users has a username of a type whose text may change without the row" + unfollowed,
			alter + "ALTER COLUMN username TYPE text USING username::text", nil}
	case t.identity == "f":
		return nil
	case len(t.identityKey) == 0:
		return &SetupError{ProblemIdentity, "commerce.users has no replica identity, so its changes are not published",
			alter + "ADD PRIMARY KEY (id); " + alter + "REPLICA IDENTITY DEFAULT (or, without a key: " +
				alter + "REPLICA IDENTITY FULL)", nil}
	case !slices.Contains(t.identityKey, "id"):
		return &SetupError{ProblemIdentity, "the replica identity of commerce.users is (" +
			strings.Join(t.identityKey, ", ") + "), without the id, so its changes are not published",
			alter + "REPLICA IDENTITY FULL (or USING INDEX a unique index that holds the id)", nil}
	}
	return nil
}
