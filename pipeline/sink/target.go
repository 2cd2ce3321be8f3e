package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
)

// target is commerce.attributed_checkouts as it stands: the statements that fit its columns' types.
type target struct {
	clickMax int  // characters that click_id holds; 0: any number
	padded   bool // checkout_id is char(n): it comes back without trailing blanks

	copy        string // COPY into the table
	stage       string // creates the temporary table
	copyStage   string // COPY into the temporary table
	insertStage string // from the temporary table into the table
	compare     string
	known       string // which of some checkout_ids have a row
	correct     string
}

type targetCache struct {
	mu  sync.Mutex
	got *target
}

type column struct {
	Name     string
	Type     string // of the base type, without its modifier
	Shown    string // as declared
	Modifier int32
	NotNull  bool
	Filled   bool // has a default, an identity or is generated
}

// describe looks the table up, once.
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
	return t, nil
}

func describe(ctx context.Context, conn *pgx.Conn) (*target, error) {
	rows, err := conn.Query(ctx, `SELECT a.attname::text, coalesce(b.typname, t.typname)::text, format_type(a.atttypid, a.atttypmod),
			CASE WHEN b.oid IS NULL THEN a.atttypmod ELSE t.typtypmod END, a.attnotnull,
			a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> ''
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
	var unique bool
	err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
		WHERE i.indrelid = 'commerce.attributed_checkouts'::regclass AND a.attname = 'checkout_id' AND i.indnkeyatts = 1
		AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL)`).Scan(&unique)
	if err != nil {
		return nil, fmt.Errorf("look up the key of commerce.attributed_checkouts: %w", err)
	}
	if !unique {
		return nil, errors.New("commerce.attributed_checkouts has no unique index on checkout_id alone; " +
			"run: ALTER TABLE commerce.attributed_checkouts ADD PRIMARY KEY (checkout_id)")
	}
	return statements(columns), nil
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

// earlier is the monotone rule: the new click n is less than the stored one a, by time and then by bytes of the id.
const earlier = `(a.click_id IS NULL OR a.click_time IS NULL OR (n.click_time, n.click_id COLLATE "C") < (a.click_time, a.click_id COLLATE "C"))`

func statements(columns map[string]column) *target {
	all := strings.Join(slices.Concat(ownColumns[:], clickColumns[:]), ", ")
	idType, timeType := columns["checkout_id"].Type, columns["click_time"].Type
	t := &target{padded: idType == "bpchar"}
	if m := columns["click_id"].Modifier; m > 4 { // varchar(n) and char(n) store n + 4
		t.clickMax = int(m - 4)
	}
	t.copy = `COPY commerce.attributed_checkouts (` + all + `) FROM STDIN (FORMAT binary)`
	t.stage = `CREATE TEMPORARY TABLE IF NOT EXISTS firstclick_staged ON COMMIT DELETE ROWS AS SELECT ` + all +
		`, 0::int AS ord FROM commerce.attributed_checkouts WITH NO DATA`
	t.copyStage = `COPY pg_temp.firstclick_staged (` + all + `, ord) FROM STDIN (FORMAT binary)`
	t.insertStage = `INSERT INTO commerce.attributed_checkouts (` + all + `) SELECT ` + all + ` FROM pg_temp.firstclick_staged
		WHERE get_bit($1::bytea, ord) = 1 ORDER BY ord ON CONFLICT (checkout_id) DO NOTHING RETURNING checkout_id::text`
	var differs []string
	for _, c := range ownColumns {
		differs = append(differs, fmt.Sprintf("CASE WHEN n.%s IS DISTINCT FROM a.%s THEN '%s' END", c, c, c))
	}
	t.compare = `SELECT n.ord, concat_ws(', ', ` + strings.Join(differs, ", ") + `), n.click_id IS NOT NULL AND ` + earlier + `, a.user_name IS NULL
		FROM pg_temp.firstclick_staged n JOIN commerce.attributed_checkouts a ON a.checkout_id = n.checkout_id
		WHERE get_bit($1::bytea, n.ord) = 1`
	// The limit keeps the subquery as it is: looked up by the index once for each id, however small the table is thought to be.
	t.known = `SELECT n.ord FROM unnest($1::text[]) WITH ORDINALITY AS n (checkout_id, ord)
		CROSS JOIN LATERAL (SELECT FROM commerce.attributed_checkouts a WHERE a.checkout_id = n.checkout_id::` + idType + ` LIMIT 1) AS stored`
	// The rows are locked in the order of the arrays (a subquery with FOR UPDATE is not merged into the one around it), and only those that move.
	// Once locked they stay as they were judged, so the UPDATE itself asks for nothing but the key, which leaves the planner one way.
	t.correct = `WITH moving AS MATERIALIZED (
			SELECT n.checkout_id, n.click_id, n.click_time
			FROM unnest($1::text[], $2::text[], $3::` + timeType + `[]) AS n (checkout_id, click_id, click_time)
			CROSS JOIN LATERAL (SELECT FROM commerce.attributed_checkouts a
				WHERE a.checkout_id = n.checkout_id::` + idType + ` AND ` + earlier + ` FOR NO KEY UPDATE) AS stored)
		UPDATE commerce.attributed_checkouts a SET click_id = n.click_id, click_time = n.click_time
		FROM moving n WHERE a.checkout_id = n.checkout_id::` + idType
	return t
}
