package webtest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"firstclick/pipeline"
)

// Pipeline is an invented pipeline: each call of Stats is a second later, at a steady pace.
type Pipeline struct{ calls atomic.Int64 }

// Calls is how often Stats was called.
func (p *Pipeline) Calls() int64 { return p.calls.Load() }

// Stats are the figures of the next second.
func (p *Pipeline) Stats() pipeline.Stats {
	n := p.calls.Add(1)
	now := time.Now()
	st := pipeline.Stats{
		Started: now.Add(-time.Hour),
		Totals: pipeline.Totals{
			ClicksRead: 120 * n, CheckoutsRead: 60 * n, Transactions: 40 * n, DelayRows: 60 * n,
			Delay: time.Duration(60*n) * 6 * time.Millisecond,
		},
		Status: pipeline.Status{
			At: now, Ready: true, EndsAt: now, Watermark: now.UnixMicro(),
			Clicks: []pipeline.PartitionStats{{Next: 120 * n, End: 120 * n, MaxTime: now.UnixMicro()}},
			Shards: []pipeline.ShardStats{{
				Next: 60 * n, End: 60 * n, Committed: 60 * n, Queued: 2, Open: 900,
				MaxReleased: now.UnixMicro(), FinalBefore: now.UnixMicro(),
			}},
		},
	}
	st.Result.Fresh, st.Result.Attributed = 60*n, 50*n
	st.Window.Clicks, st.Window.Bytes = 7200, 400_000
	st.Users.Connected, st.Users.Entries, st.Users.Capacity, st.Users.Hits = true, 100, 1000, uint64(60*n)
	return st
}

// Texts that a page must show as they are, and obey in no way.
const (
	HostileName    = `<img src=x onerror="document.title='owned'">`
	HostilePayload = "<script>document.title='owned'</script>\n\u202eevil\x00\xff\x1b[2J"
)

// Furnish puts rows, an instance and dead letters with hostile texts into a database.
func Furnish(t testing.TB, conn *pgx.Conn) {
	t.Helper()
	for _, step := range []struct {
		sql  string
		args []any
	}{
		{`INSERT INTO commerce.attributed_checkouts (checkout_id, user_name, click_id, product_id, total_amount,
			checkout_time, click_time)
			VALUES ('k1', 'Ada', 'c1', 'p', 12.35, '2026-11-23 09:00:00', '2026-11-23 08:57:00'),
			($1, $1, NULL, 'p', NULL, '2026-11-23 09:00:01', NULL)`, []any{HostileName}},
		{`INSERT INTO firstclick.instances (instance, group_id, host, pid, version, listen, shards)
			VALUES ('firstclick one', 'firstclick', $1, 7, 'v1', ':8081', '{0,1}')`, []any{HostileName}},
		{`INSERT INTO firstclick.dead_letters (group_id, topic, partition, "offset", reason, detail, payload,
			payload_size, payload_sha256)
			VALUES ('firstclick', 'clicks', 1, 42, 'json', $1, $2::bytea, length($2::bytea), '\x00'),
			('firstclick', 'clicks', 1, 43, 'too_large', '', NULL, 9000000, '\x01'),
			('another', 'clicks', 1, 44, 'json', '', 'secret of another group', 23, '\x02')`,
			[]any{HostileName, []byte(HostilePayload)}},
	} {
		if _, err := conn.Exec(t.Context(), step.sql, step.args...); err != nil {
			t.Fatal(err)
		}
	}
}
