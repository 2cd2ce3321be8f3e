package sink

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"firstclick/join"
)

// target is commerce.attributed_checkouts as it stands: the statements that fit its columns' types.
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

type targetCache struct {
	mu  sync.Mutex
	got *target
}

type column struct {
	Name      string
	Type      string // of the base type, without its modifier
	Shown     string // as declared
	Modifier  int32
	NotNull   bool
	Filled    bool // has a default or an identity, or is generated
	Generated bool // or always has an identity
}

// describe looks the table up, once. See begin for how it is noticed that it was altered since.
func (s *Sink) describe(ctx context.Context, conn *pgx.Conn) (*target, error) {
	s.target.mu.Lock()
	defer s.target.mu.Unlock()
	if s.target.got != nil {
		return s.target.got, nil
	}
	t, err := describe(ctx, conn)
	if err != nil {
		return nil, err
	}
	s.target.got = t
	s.clickMax.Store(int64(t.clickMax))
	return t, nil
}

// Prepare looks at commerce.attributed_checkouts, so that a table which rows cannot be written to
// is said before anything is read.
func (s *Sink) Prepare(ctx context.Context) error {
	return s.run(ctx, "look at the table", func(ctx context.Context, conn *pgx.Conn) error {
		_, err := s.describe(ctx, conn)
		return err
	})
}

// Check says whether commerce.attributed_checkouts is a table that a Sink can write to: nil, or
// what stands in the way, with the statement that mends it after "run: " where there is one. It
// changes nothing.
func Check(ctx context.Context, conn *pgx.Conn) error {
	_, err := describe(ctx, conn)
	return err
}

// Click says what is against a click's id: that the column, as it was last seen, does not hold it.
// Such a click is no row's, whatever comes first, it or the checkout, and must not hide another
// one.
func (s *Sink) Click(id join.ID) error {
	most := s.clickMax.Load()
	if most == 0 {
		return nil
	}
	if n := characters(id); n > int(most) {
		return &join.DecodeError{Reason: join.ReasonRefused, Detail: fmt.Sprintf("click_id has %d characters, and commerce.attributed_checkouts.click_id holds %d", n, most)}
	}
	return nil
}

// characters is how many characters Postgres counts in an id.
func characters(id join.ID) int {
	var room [join.MaxID]byte
	return utf8.RuneCount(id.AppendTo(room[:0]))
}

// altered forgets a description that is no longer true.
func (s *Sink) altered(t *target) {
	s.target.mu.Lock()
	defer s.target.mu.Unlock()
	if s.target.got == t {
		s.target.got = nil
	}
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

// kind is what the table is, apart from its columns.
type kind struct {
	Version     string
	Kind        string
	Secured     bool   // row-level security applies to us
	Rule        string // of INSERT or UPDATE
	Unique      bool   // checkout_id alone
	RowTriggers bool   // a trigger may keep rows out or change them
	Role        string
}

func describe(ctx context.Context, conn *pgx.Conn) (*target, error) {
	// The mark comes first: what is altered after it is noticed.
	rows, err := conn.Query(ctx, `SELECT (`+versionSQL+`), c.relkind::text, row_security_active(c.oid),
			coalesce((SELECT rulename::text FROM pg_rewrite WHERE ev_class = c.oid AND ev_type IN ('2', '3') ORDER BY 1 LIMIT 1), ''),
			EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
				WHERE i.indrelid = c.oid AND a.attname = 'checkout_id' AND i.indnkeyatts = 1
				AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL),
			EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid IN (SELECT c.oid UNION ALL SELECT relid FROM pg_partition_tree(c.oid))
				AND t.tgtype & 3 = 3 AND t.tgtype & 20 <> 0 AND t.tgenabled <> 'D'), -- BEFORE INSERT or UPDATE, FOR EACH ROW
			current_user::text
		FROM pg_class c WHERE c.oid = 'commerce.attributed_checkouts'::regclass`)
	if err != nil {
		return nil, fmt.Errorf("look up commerce.attributed_checkouts: %w", err)
	}
	k, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[kind])
	if err != nil {
		return nil, fmt.Errorf("look up commerce.attributed_checkouts: %w", err)
	}
	if err := checkKind(k); err != nil {
		return nil, err
	}
	rows, err = conn.Query(ctx, `SELECT a.attname::text, coalesce(b.typname, t.typname)::text, format_type(a.atttypid, a.atttypmod),
			CASE WHEN b.oid IS NULL THEN a.atttypmod ELSE t.typtypmod END, a.attnotnull OR t.typnotnull,
			a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '', a.attidentity = 'a' OR a.attgenerated <> ''
		FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype
		WHERE a.attrelid = 'commerce.attributed_checkouts'::regclass AND a.attnum > 0 AND NOT a.attisdropped`)
	if err != nil {
		return nil, fmt.Errorf("look up commerce.attributed_checkouts: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[column])
	if err != nil {
		return nil, fmt.Errorf("look up commerce.attributed_checkouts: %w", err)
	}
	columns := make(map[string]column, len(list))
	for _, c := range list {
		columns[c.Name] = c
	}
	if err := checkColumns(columns); err != nil {
		return nil, err
	}
	return statements(columns, k), nil
}

// checkKind refuses tables that rows cannot be written to as they are written here.
func checkKind(k kind) error {
	switch kinds := map[string]string{"v": "a view", "m": "a materialized view", "f": "a foreign table"}; {
	case kinds[k.Kind] != "":
		return fmt.Errorf("commerce.attributed_checkouts is %s: firstclick writes to a table, which readers may see through a view of another name", kinds[k.Kind])
	case k.Rule != "":
		return fmt.Errorf("commerce.attributed_checkouts has the rule %s, which Postgres allows no INSERT with ON CONFLICT beside; "+
			"make it a trigger, and run: DROP RULE %s ON commerce.attributed_checkouts", k.Rule, pgx.Identifier{k.Rule}.Sanitize())
	case k.Secured:
		return fmt.Errorf("row-level security of commerce.attributed_checkouts applies to role %s, and hides the rows that are to be compared and corrected; "+
			"as a superuser, run: ALTER ROLE %s BYPASSRLS", k.Role, pgx.Identifier{k.Role}.Sanitize())
	case !k.Unique:
		return errors.New("commerce.attributed_checkouts has no unique index on checkout_id alone; " +
			"run: ALTER TABLE commerce.attributed_checkouts ADD PRIMARY KEY (checkout_id)")
	}
	return nil
}

// checkColumns refuses types whose binary form is not what we render.
func checkColumns(columns map[string]column) error {
	known := slices.Concat(ownColumns[:], clickColumns[:])
	for _, name := range known {
		c, ok := columns[name]
		if !ok {
			return fmt.Errorf("commerce.attributed_checkouts has no column %s; run: ALTER TABLE commerce.attributed_checkouts ADD COLUMN %s %s", name, name, wanted(name)[0])
		}
		if !slices.Contains(wanted(name), c.Type) {
			return fmt.Errorf("commerce.attributed_checkouts.%s is %s; supported: %s", name, c.Shown, strings.Join(wanted(name), ", "))
		}
		if c.Generated {
			return fmt.Errorf("commerce.attributed_checkouts.%s is generated, and firstclick writes to it; "+
				"run: ALTER TABLE commerce.attributed_checkouts ALTER COLUMN %s DROP EXPRESSION", name, name)
		}
		// Rounded times have lost their order: a later click would stay, and what is equal would
		// differ.
		if strings.HasPrefix(c.Type, "timestamp") && c.Modifier >= 0 && c.Modifier < 6 {
			exact := "timestamp(6)"
			if c.Type == "timestamptz" {
				exact = "timestamp(6) with time zone"
			}
			return fmt.Errorf("commerce.attributed_checkouts.%s is %s, which rounds times, and firstclick compares them to the microsecond; "+
				"to widen it rewrites no row; run: SET lock_timeout = '2s'; ALTER TABLE commerce.attributed_checkouts ALTER COLUMN %s TYPE %s", name, c.Shown, name, exact)
		}
		if c.NotNull && name != "checkout_id" && name != "product_id" && name != "checkout_time" {
			return fmt.Errorf("commerce.attributed_checkouts.%s is NOT NULL, but may be unknown; "+
				"run: ALTER TABLE commerce.attributed_checkouts ALTER COLUMN %s DROP NOT NULL", name, name)
		}
	}
	for name, c := range columns {
		if c.NotNull && !c.Filled && !slices.Contains(known, name) {
			return fmt.Errorf("commerce.attributed_checkouts.%s is NOT NULL without a default, and firstclick does not know it; "+
				"run: ALTER TABLE commerce.attributed_checkouts ALTER COLUMN %q DROP NOT NULL", name, name)
		}
	}
	return nil
}

// wanted lists the types of a column that are the same in binary.
func wanted(column string) []string {
	switch column {
	case "total_amount":
		return []string{"numeric"}
	case "checkout_time", "click_time":
		return []string{"timestamp", "timestamptz"}
	}
	return []string{"varchar", "text", "bpchar"}
}

// earlier is the monotone rule: the new click n is less than the stored one a, by time and then by
// bytes of the id.
const earlier = `(a.click_id IS NULL OR a.click_time IS NULL OR (n.click_time, n.click_id COLLATE "C") OPERATOR(pg_catalog.<) (a.click_time, a.click_id COLLATE "C"))`

func statements(columns map[string]column, k kind) *target {
	all := strings.Join(slices.Concat(ownColumns[:], clickColumns[:]), ", ")
	idType, timeType := columns["checkout_id"].Type, columns["click_time"].Type
	t := &target{version: k.Version, rowTriggers: k.RowTriggers, padded: idType == "bpchar"}
	mark := fnv.New64a()
	_, _ = mark.Write([]byte(k.Version))
	staged := fmt.Sprintf("firstclick_staged_%x", mark.Sum64()) // a session may have one that was made before the table was altered
	if m := columns["click_id"].Modifier; m > 4 {               // varchar(n) and char(n) store n + 4
		t.clickMax = int(m - 4)
	}
	t.lock = "LOCK TABLE ONLY commerce.attributed_checkouts IN ROW EXCLUSIVE MODE"
	if k.Kind == "p" { // partitions have triggers of their own
		t.lock = strings.Replace(t.lock, "ONLY ", "", 1)
	}
	t.copy = `COPY commerce.attributed_checkouts (` + all + `) FROM STDIN (FORMAT binary)`
	t.stage = `CREATE TEMPORARY TABLE IF NOT EXISTS ` + staged + ` ON COMMIT DELETE ROWS AS SELECT ` + all +
		`, 0::int AS ord FROM commerce.attributed_checkouts WITH NO DATA`
	t.copyStage = `COPY pg_temp.` + staged + ` (` + all + `, ord) FROM STDIN (FORMAT binary)`
	clicked := func(column string) string {
		return `CASE WHEN pg_catalog.get_bit($2::bytea, ord) OPERATOR(pg_catalog.=) 0 THEN ` + column + ` END`
	}
	t.insertStage = `INSERT INTO commerce.attributed_checkouts (` + all + `) SELECT ` + strings.Join(ownColumns[:], ", ") + `, ` +
		clicked("click_id") + `, ` + clicked("click_time") + `, user_name FROM pg_temp.` + staged + `
		WHERE pg_catalog.get_bit($1::bytea, ord) OPERATOR(pg_catalog.=) 1 ORDER BY ord ON CONFLICT (checkout_id) DO NOTHING RETURNING checkout_id::text`
	var differs []string
	for _, c := range ownColumns {
		differs = append(differs, fmt.Sprintf("CASE WHEN n.%s OPERATOR(pg_catalog.=) a.%s OR n.%s IS NULL AND a.%s IS NULL THEN NULL ELSE '%s' END", c, c, c, c, c))
	}
	t.compare = `SELECT n.ord, pg_catalog.concat_ws(', ', ` + strings.Join(differs, ", ") + `), n.click_id IS NOT NULL AND ` + earlier + `, a.user_name IS NULL
		FROM pg_temp.` + staged + ` n JOIN commerce.attributed_checkouts a ON a.checkout_id OPERATOR(pg_catalog.=) n.checkout_id
		WHERE pg_catalog.get_bit($1::bytea, n.ord) OPERATOR(pg_catalog.=) 1`
	// The limit keeps the subquery as it is: looked up by the index once for each id, however small
	// the table is thought to be.
	t.existing = `SELECT n.ord FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY AS n (checkout_id, ord)
		CROSS JOIN LATERAL (SELECT FROM commerce.attributed_checkouts a WHERE a.checkout_id OPERATOR(pg_catalog.=) n.checkout_id::` + idType + ` LIMIT 1) AS stored`
	// The rows are locked in the order of the arrays (a subquery with FOR UPDATE is not merged into
	// the one around it), and only those that move. Once locked they stay as they were judged, so
	// the UPDATE itself asks for nothing but the key, which leaves the planner one way. A trigger
	// may give a row back with the click that it had, or without one: then it has not moved.
	t.correct = `WITH moving AS MATERIALIZED (
			SELECT n.checkout_id, n.click_id, n.click_time, stored.click_time AS was
			FROM unnest($1::text[], $2::text[], $3::` + timeType + `[]) AS n (checkout_id, click_id, click_time)
			CROSS JOIN LATERAL (SELECT a.click_time FROM commerce.attributed_checkouts a
				WHERE a.checkout_id OPERATOR(pg_catalog.=) n.checkout_id::` + idType + ` AND ` + earlier + ` FOR NO KEY UPDATE) AS stored),
		moved AS (
			UPDATE commerce.attributed_checkouts a SET click_id = n.click_id, click_time = n.click_time
			FROM moving n WHERE a.checkout_id OPERATOR(pg_catalog.=) n.checkout_id::` + idType + `
			RETURNING a.click_time IS NULL OR a.click_time OPERATOR(pg_catalog.=) n.was AND n.click_time OPERATOR(pg_catalog.<) n.was AS kept)
		SELECT (SELECT pg_catalog.count(*) FROM moving), (SELECT pg_catalog.count(*) FROM moved WHERE kept IS NOT TRUE)`
	return t
}
