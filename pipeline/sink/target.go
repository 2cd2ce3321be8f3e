package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"firstclick/join/event"
)

// target is commerce.attributed_checkouts as it is, with the statements that fit its columns'
// types.
type target struct {
	version     string // see versionSQL
	rowTriggers bool   // a trigger may keep rows out or change them
	clickMax    int    // characters that click_id holds; 0: any number
	padded      bool   // checkout_id is char(n): it comes back without trailing blanks

	lock        string // keeps the table as it is described
	copy        string // COPY into the table
	stage       string // creates the temporary table
	copyStage   string // COPY into the temporary table
	insertStage string // from the temporary table into the table
	compare     string
	existing    string // which of some checkout_ids have a row
	correct     string // it answers how many rows were to move, and how many did
}

// describe looks the table up, once. The transaction notices if it was altered since: see begin.
func (s *Sink) describe(ctx context.Context, conn *pgx.Conn) (*target, error) {
	if t := s.target.Load(); t != nil {
		return t, nil
	}
	t, err := describe(ctx, conn)
	if err == nil {
		s.target.Store(t)
	}
	return t, err
}

// Prepare looks at commerce.attributed_checkouts: a table that rows cannot be written to is an
// error before anything is read.
func (s *Sink) Prepare(ctx context.Context) error {
	return s.run(ctx, "look at the table", func(ctx context.Context, conn *pgx.Conn) error {
		_, err := s.describe(ctx, conn)
		return err
	})
}

// Check says whether commerce.attributed_checkouts is a table that a Sink can write to: nil, or
// what stands in the way, with the statement that mends it after "run: " if there is one. It
// changes nothing.
func Check(ctx context.Context, conn *pgx.Conn) error {
	_, err := describe(ctx, conn)
	return err
}

// Click is an error if the column, as it was last described, does not hold a click's id. No row
// gets such a click, whether it comes before the checkout or after it, and it must not hide another
// one.
func (s *Sink) Click(id event.ID) error {
	t := s.target.Load()
	if t == nil || !t.tooLong(id) {
		return nil
	}
	return &event.DecodeError{Reason: event.ReasonRefused, Detail: fmt.Sprintf(
		"click_id has %d characters, and commerce.attributed_checkouts.click_id holds %d", characters(id), t.clickMax)}
}

func (t *target) tooLong(click event.ID) bool {
	return t.clickMax > 0 && characters(click) > t.clickMax
}

// characters is how many characters Postgres counts in an id.
func characters(id event.ID) int {
	var room [event.MaxID]byte
	return utf8.RuneCount(id.AppendTo(room[:0]))
}

// versionSQL is something that changes with everything that a description depends on: it is made of
// the transactions that last changed the catalogs' rows.
const versionSQL = `SELECT concat_ws(' ', c.oid, c.xmin, row_security_active(c.oid),
		(SELECT string_agg(xmin::text, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0),
		(SELECT string_agg(indexrelid || '=' || xmin, ',' ORDER BY indexrelid) FROM pg_index WHERE indrelid = c.oid),
		(SELECT string_agg(oid || '=' || xmin, ',' ORDER BY oid) FROM pg_trigger WHERE tgrelid = c.oid),
		CASE c.relkind WHEN 'p' THEN (SELECT string_agg(t.oid || '=' || t.xmin, ',' ORDER BY t.oid)
			FROM pg_partition_tree(c.oid) p JOIN pg_trigger t ON t.tgrelid = p.relid WHERE p.relid <> c.oid) END)
	FROM pg_class c WHERE c.oid = 'commerce.attributed_checkouts'::regclass`

// tableFacts is what the table is, apart from its columns.
type tableFacts struct {
	Version     string
	Kind        string
	Secured     bool   // row-level security applies to us
	Rule        string // of INSERT or UPDATE
	Unique      bool   // checkout_id alone
	RowTriggers bool   // a trigger may keep rows out or change them
	Role        string
}

// tableColumn is a column of the table as it is.
type tableColumn struct {
	Name      string
	Type      string // of the base type, without its modifier
	Shown     string // as declared
	Modifier  int32
	NotNull   bool
	Filled    bool // has a default or an identity, or is generated
	Generated bool // or always has an identity
}

const (
	// The version comes first: what is altered after it is noticed. Triggers: BEFORE INSERT or
	// UPDATE, FOR EACH ROW.
	tableFactsSQL = `SELECT (` + versionSQL + `), c.relkind::text, row_security_active(c.oid),
			coalesce((SELECT rulename::text FROM pg_rewrite
				WHERE ev_class = c.oid AND ev_type IN ('2', '3') ORDER BY 1 LIMIT 1), ''),
			EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
				WHERE i.indrelid = c.oid AND a.attname = 'checkout_id' AND i.indnkeyatts = 1
				AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL),
			EXISTS (SELECT FROM pg_trigger t
				WHERE t.tgrelid IN (SELECT c.oid UNION ALL SELECT relid FROM pg_partition_tree(c.oid))
				AND t.tgtype & 3 = 3 AND t.tgtype & 20 <> 0 AND t.tgenabled <> 'D'),
			current_user::text
		FROM pg_class c WHERE c.oid = 'commerce.attributed_checkouts'::regclass`

	tableColumnsSQL = `SELECT a.attname::text, coalesce(b.typname, t.typname)::text,
			format_type(a.atttypid, a.atttypmod),
			CASE WHEN b.oid IS NULL THEN a.atttypmod ELSE t.typtypmod END, a.attnotnull OR t.typnotnull,
			a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '', a.attidentity = 'a' OR a.attgenerated <> ''
		FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype
		WHERE a.attrelid = 'commerce.attributed_checkouts'::regclass AND a.attnum > 0 AND NOT a.attisdropped`
)

func describe(ctx context.Context, conn *pgx.Conn) (*target, error) {
	rows, _ := conn.Query(ctx, tableFactsSQL) // CollectExactlyOneRow returns its error
	facts, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[tableFacts])
	if err != nil {
		return nil, fmt.Errorf("look up commerce.attributed_checkouts: %w", err)
	}
	if err := checkFacts(facts); err != nil {
		return nil, err
	}
	rows, _ = conn.Query(ctx, tableColumnsSQL)
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[tableColumn])
	if err != nil {
		return nil, fmt.Errorf("look up commerce.attributed_checkouts: %w", err)
	}
	found := make(map[string]tableColumn, len(list))
	for _, c := range list {
		found[c.Name] = c
	}
	if err := checkColumns(found); err != nil {
		return nil, fmt.Errorf("commerce.attributed_checkouts%w", err)
	}
	return newTarget(found, facts), nil
}

// checkFacts refuses tables that rows cannot be written to as they are written here.
func checkFacts(t tableFacts) error {
	const table = "commerce.attributed_checkouts"
	switch kinds := map[string]string{"v": "a view", "m": "a materialized view", "f": "a foreign table"}; {
	case kinds[t.Kind] != "":
		return fmt.Errorf(table+" is %s: firstclick writes to a table, "+
			"which readers may see through a view of another name", kinds[t.Kind])
	case t.Rule != "":
		return fmt.Errorf(table+" has the rule %s, which Postgres allows no INSERT with ON CONFLICT beside; "+
			"make it a trigger, and run: DROP RULE %s ON "+table, t.Rule, pgx.Identifier{t.Rule}.Sanitize())
	case t.Secured:
		return fmt.Errorf("row-level security of "+table+" applies to role %s, "+
			"and hides the rows that are to be compared and corrected; "+
			"as a superuser, run: ALTER ROLE %s BYPASSRLS", t.Role, pgx.Identifier{t.Role}.Sanitize())
	case !t.Unique:
		return errors.New(table + " has no unique index on checkout_id alone; " +
			"run: ALTER TABLE " + table + " ADD PRIMARY KEY (checkout_id)")
	}
	return nil
}

// checkColumns refuses columns that do not hold what is rendered for them.
func checkColumns(found map[string]tableColumn) error {
	const run = "; run: ALTER TABLE commerce.attributed_checkouts "
	for _, c := range columns {
		is, ok := found[c.name]
		switch {
		case !ok:
			return fmt.Errorf(" has no column %s"+run+"ADD COLUMN %s %s", c.name, c.name, c.types()[0])
		case !slices.Contains(c.types(), is.Type):
			return fmt.Errorf(".%s is %s; supported: %s", c.name, is.Shown, strings.Join(c.types(), ", "))
		case is.Generated:
			return fmt.Errorf(".%s is generated, and firstclick writes to it"+
				run+"ALTER COLUMN %s DROP EXPRESSION", c.name, c.name)
		case strings.HasPrefix(is.Type, "timestamp") && is.Modifier >= 0 && is.Modifier < 6:
			// Rounded times have lost their order: a later click would stay, and what is equal
			// would differ.
			exact := "timestamp(6)"
			if is.Type == "timestamptz" {
				exact += " with time zone"
			}
			return fmt.Errorf(".%s is %s, which rounds times, and firstclick compares them to the microsecond; "+
				"to widen it rewrites no row; run: SET lock_timeout = '2s'; "+
				"ALTER TABLE commerce.attributed_checkouts ALTER COLUMN %s TYPE %s", c.name, is.Shown, c.name, exact)
		case is.NotNull && !c.required():
			return fmt.Errorf(".%s is NOT NULL, but may be unknown"+run+"ALTER COLUMN %s DROP NOT NULL", c.name, c.name)
		}
	}
	for name, c := range found {
		known := slices.ContainsFunc(columns, func(k column) bool { return k.name == name })
		if c.NotNull && !c.Filled && !known {
			return fmt.Errorf(".%s is NOT NULL without a default, and firstclick does not know it"+
				run+"ALTER COLUMN %q DROP NOT NULL", name, name)
		}
	}
	return nil
}
