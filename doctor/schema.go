package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"firstclick/migrations"
	"firstclick/pipeline/sink"
)

func (p *postgres) migrations(ctx context.Context) ([]migrations.FileStatus, error) {
	return migrations.Status(ctx, p.cfg.Database)
}

func migrated(f *facts) (found findings) {
	all := f.migrations
	var pending []string
	for _, m := range all {
		if m.Applied.IsZero() {
			pending = append(pending, m.File)
		}
	}
	if pending != nil {
		return found.warn("firstclick migrate",
			"%d of %d are pending: %s", len(pending), len(all), strings.Join(pending, ", "))
	}
	if dropped := f.dropped; len(dropped) > 0 {
		return found.fail("firstclick migrate -- makes them again, empty; rows come back from a backup alone",
			"all %d are applied; dropped since: %s", len(all), strings.Join(dropped, ", "))
	}
	return found.ok("all %d are applied", len(all))
}

// absent is about a table that is not there: before the migrations it is still to come, after them
// somebody has dropped it.
func (f *facts) absent(table string) (found findings) {
	if slices.ContainsFunc(f.migrations, func(m migrations.FileStatus) bool { return m.Applied.IsZero() }) {
		return found.warn("firstclick migrate", "there is no table %s yet", table)
	}
	return found.fail("firstclick migrate -- makes it again, empty", "there is no table %s any more", table)
}

// column is a column of commerce.attributed_checkouts.
type column struct {
	Name     string
	Type     string // of a domain: what it is made of
	Shown    string
	Modifier int32
}

func (p *postgres) columns(ctx context.Context) ([]column, error) {
	rows, _ := p.pool.Query(ctx, `SELECT a.attname::text, coalesce(b.typname, t.typname)::text,
			format_type(a.atttypid, a.atttypmod), CASE WHEN b.oid IS NULL THEN a.atttypmod ELSE t.typtypmod END
		FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype
		WHERE a.attrelid = to_regclass('commerce.attributed_checkouts') AND a.attnum > 0 AND NOT a.attisdropped
		ORDER BY a.attnum`)
	return pgx.CollectRows(rows, pgx.RowToStructByPos[column])
}

// checkTable stores what keeps the sink from writing to commerce.attributed_checkouts.
func (p *postgres) checkTable(problem *error) query {
	return func(ctx context.Context) error {
		return p.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
			*problem = sink.Check(ctx, conn.Conn())
			return nil
		})
	}
}

// columns checks the types of commerce.attributed_checkouts.
func columns(f *facts) (found findings) {
	if len(f.columns) == 0 {
		return f.absent("commerce.attributed_checkouts")
	}
	if err := f.table; err != nil {
		text, fix, _ := strings.Cut(rootCause(err), "run: ")
		return found.fail(fix, "%s", strings.TrimRight(text, "; "))
	}
	for _, c := range f.columns {
		// The modifier of varchar(n) and char(n) is n + 4.
		if (c.Type == "varchar" || c.Type == "bpchar") && c.Modifier > 4 && c.Modifier-4 < 255 {
			found = found.warn(retype(c.Name, "varchar"),
				"%s is %s: a checkout with a longer text is a dead letter (refused)", c.Name, c.Shown)
		}
	}
	return found.orOK("%d of commerce.attributed_checkouts, of types that fit", len(f.columns))
}

func retype(name, to string) string {
	return fmt.Sprintf("ALTER TABLE commerce.attributed_checkouts ALTER COLUMN %s TYPE %s", quoted(name), to)
}

// amounts checks what total_amount holds: the old pipeline declared it decimal(5,2).
func amounts(f *facts) (found findings) {
	if f.unknown("table") != nil {
		return nil
	}
	at := slices.IndexFunc(f.columns, func(c column) bool {
		return c.Name == "total_amount" && c.Type == "numeric"
	})
	if at < 0 {
		return nil
	}
	c := f.columns[at]
	if c.Modifier < 4 {
		return found.ok("%s holds any amount", c.Shown)
	}
	precision, scale := int(c.Modifier-4)>>16&0xffff, int(c.Modifier-4)&0x7ff
	if scale >= 1024 { // negative, since Postgres 15
		scale -= 2048
	}
	switch digits := precision - scale; {
	case digits < 7:
		return found.warn(retype(c.Name, "numeric(12,2)"),
			"total_amount is %s: checkouts of 1%s or more are refused and become dead letters",
			c.Shown, strings.Repeat("0", max(0, digits)))
	case scale < 2:
		return found.warn(retype(c.Name, "numeric(12,2)"),
			"total_amount is %s: amounts are rounded to %d places", c.Shown, scale)
	}
	return found.ok("%s", c.Shown)
}
