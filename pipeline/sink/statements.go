package sink

import (
	"fmt"
	"hash/fnv"
	"strings"
)

// The statements for the table. A word in braces is filled in by newTarget. {=} and {<} are the
// operators of pg_catalog: these statements run while the search_path is that of the database's
// triggers, and so they name all that they use.
const (
	stageSQL = `CREATE TEMPORARY TABLE IF NOT EXISTS {staged} ON COMMIT DELETE ROWS AS
		SELECT {columns}, 0::int AS ord FROM commerce.attributed_checkouts WITH NO DATA`

	insertStageSQL = `INSERT INTO commerce.attributed_checkouts ({columns})
		SELECT {columns without a refused click} FROM pg_temp.{staged}
		WHERE pg_catalog.get_bit($1::bytea, ord) {=} 1 ORDER BY ord
		ON CONFLICT (checkout_id) DO NOTHING RETURNING checkout_id::text`

	compareSQL = `SELECT n.ord, pg_catalog.concat_ws(', ', {columns that differ}),
			n.click_id IS NOT NULL AND {earlier}, {no name}
		FROM pg_temp.{staged} n JOIN commerce.attributed_checkouts a ON a.checkout_id {=} n.checkout_id
		WHERE pg_catalog.get_bit($1::bytea, n.ord) {=} 1`

	// The limit keeps the subquery as it is: looked up by the index once for each id, however small
	// the table is thought to be.
	existingSQL = `SELECT n.ord FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY AS n (checkout_id, ord)
		CROSS JOIN LATERAL (SELECT FROM commerce.attributed_checkouts a
			WHERE a.checkout_id {=} n.checkout_id::{id type} LIMIT 1) AS stored`

	// The rows are locked in the order of the arrays (a subquery with FOR UPDATE is not merged into
	// the one around it), and only those that move. Once locked they stay as they were compared, so
	// the UPDATE has no condition but the key, which leaves the planner one way. A trigger may give
	// a row back with the click that it had, or without one: then it has not moved.
	correctSQL = `WITH moving AS MATERIALIZED (
			SELECT n.checkout_id, n.click_id, n.click_time, stored.click_time AS was
			FROM unnest($1::text[], $2::text[], $3::{time type}[]) AS n (checkout_id, click_id, click_time)
			CROSS JOIN LATERAL (SELECT a.click_time FROM commerce.attributed_checkouts a
				WHERE a.checkout_id {=} n.checkout_id::{id type} AND {earlier} FOR NO KEY UPDATE) AS stored),
		moved AS (
			UPDATE commerce.attributed_checkouts a SET {click columns}
			FROM moving n WHERE a.checkout_id {=} n.checkout_id::{id type}
			RETURNING a.click_time IS NULL OR a.click_time {=} n.was AND n.click_time {<} n.was AS kept)
		SELECT (SELECT pg_catalog.count(*) FROM moving),
			(SELECT pg_catalog.count(*) FROM moved WHERE kept IS NOT TRUE)`
)

// newTarget makes the statements that fit the table's columns.
func newTarget(found map[string]tableColumn, facts tableFacts) *target {
	t := &target{
		version: facts.Version, rowTriggers: facts.RowTriggers,
		padded: found["checkout_id"].Type == "bpchar",
		lock:   "LOCK TABLE ONLY commerce.attributed_checkouts IN ROW EXCLUSIVE MODE",
	}
	if m := found["click_id"].Modifier; m > 4 { // varchar(n) and char(n) store n + 4
		t.clickMax = int(m - 4)
	}
	if facts.Kind == "p" { // partitions have triggers of their own
		t.lock = strings.Replace(t.lock, "ONLY ", "", 1)
	}
	// A session may have a temporary table that was made before the table was altered.
	version := fnv.New64a()
	_, _ = version.Write([]byte(facts.Version))
	name := func(c column) string { return c.name }
	fill := strings.NewReplacer(
		"{=}", "OPERATOR(pg_catalog.=)", "{<}", "OPERATOR(pg_catalog.<)",
		"{staged}", fmt.Sprintf("firstclick_staged_%x", version.Sum64()),
		"{columns}", eachColumn(", ", name),
		"{columns without a refused click}", eachColumn(", ", func(c column) string {
			if c.origin != ofClick {
				return c.name
			}
			return "CASE WHEN pg_catalog.get_bit($2::bytea, ord) OPERATOR(pg_catalog.=) 0 THEN " + c.name + " END"
		}),
		"{columns that differ}", eachColumn(", ", func(c column) string {
			return fmt.Sprintf("CASE WHEN n.%[1]s OPERATOR(pg_catalog.=) a.%[1]s "+
				"OR n.%[1]s IS NULL AND a.%[1]s IS NULL THEN NULL ELSE '%[1]s' END", c.name)
		}, ofCheckout),
		"{click columns}", eachColumn(", ", func(c column) string { return c.name + " = n." + c.name }, ofClick),
		"{no name}", noName,
		"{earlier}", earlier,
		"{id type}", found["checkout_id"].Type, "{time type}", found["click_time"].Type,
	)
	t.copy = fill.Replace(`COPY commerce.attributed_checkouts ({columns}) FROM STDIN (FORMAT binary)`)
	t.copyStage = fill.Replace(`COPY pg_temp.{staged} ({columns}, ord) FROM STDIN (FORMAT binary)`)
	t.stage, t.insertStage = fill.Replace(stageSQL), fill.Replace(insertStageSQL)
	t.compare, t.existing, t.correct = fill.Replace(compareSQL), fill.Replace(existingSQL), fill.Replace(correctSQL)
	return t
}

// earlier is the monotone rule: the new click n is less than the stored one a, by time and then by
// the bytes of the id.
const earlier = `(a.click_id IS NULL OR a.click_time IS NULL OR (n.click_time, n.click_id COLLATE "C")
	OPERATOR(pg_catalog.<) (a.click_time, a.click_id COLLATE "C"))`

// noName says that a row waits for its names: see fillSQL.
var noName = eachColumn(" AND ", func(c column) string { return "a." + c.name + " IS NULL" }, ofUser)
