package sink

import (
	"context"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Two shops under one role: groups of one database, and databases of one cluster, even where
// instances are called alike. A takeover in one ends that shard's sessions alone, and nothing of
// the other's shards, letters and notes moves.
func TestTenantsThatShareARole(t *testing.T) {
	for name, noted := range map[string]bool{"sessions are noted": true, "of a version that notes none": false} {
		t.Run(name, func(t *testing.T) {
			ours, other := newBench(t), newBench(t)
			dsn := ours.asRole("tenant")
			address, err := url.Parse(dsn)
			if err != nil {
				t.Fatal(err)
			}
			role := pgx.Identifier{address.User.Username()}.Sanitize()
			other.exec(`GRANT USAGE ON SCHEMA commerce, firstclick TO ` + role +
				`; GRANT ALL ON ALL TABLES IN SCHEMA commerce, firstclick TO ` + role)
			t.Cleanup(func() { _, _ = other.db.Exec(context.Background(), `DROP OWNED BY `+role) })
			address.Path = "/" + other.db.Config().Database

			ours.claim(ours.open(dsn, "firstclick-old", ours.names), 0)
			neighbour := ours.open(dsn, "firstclick-b", ours.names)
			claimOf := func(s *Sink, group string) error {
				_, err := s.Claim(t.Context(), group, checkouts, 0, State{Position: noPosition()})
				return err
			}
			if err := claimOf(neighbour, "shop-b"); err != nil {
				t.Fatal(err)
			}
			far := other.open(address.String(), "firstclick-old", other.names)
			other.claim(far, 0)
			for _, b := range []*bench{ours, other} {
				b.exec(`INSERT INTO firstclick.dead_letters (group_id, topic, topic_id, partition, "offset", reason,
					detail, payload_size)
					VALUES ('shop-b', 'clicks', '00000000-0000-0000-0000-000000000001', 0, 1, 'json', 'x', 1)`)
				if !noted {
					b.exec(`UPDATE firstclick.instances SET sessions = '{}'`)
				}
			}
			const state = `SELECT (SELECT string_agg(o::text, ';' ORDER BY o::text) FROM firstclick.offsets o
				WHERE group_id = 'shop-b' OR $1),
				(SELECT string_agg(i::text, ';' ORDER BY i::text) FROM firstclick.instances i
				WHERE instance = 'firstclick-b' OR $1),
				(SELECT string_agg(d::text, ';' ORDER BY d::text) FROM firstclick.dead_letters d),
				(SELECT string_agg(pid || ' ' || backend_start, ';' ORDER BY pid) FROM pg_stat_activity
					WHERE datname = current_database() AND (application_name = 'firstclick-b' OR $1
					AND application_name LIKE 'firstclick%'))`
			inOurs, inOther := ours.rows(state, false), other.rows(state, true)

			ours.claim(ours.open(dsn, "firstclick-new", ours.names), 0)
			ours.await(`SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'firstclick-old'
				AND datname = current_database()`)
			ours.expect(inOurs, state, false)
			other.expect(inOther, state, true)
			if _, err := ours.sink.ForgetLetters(t.Context(), testGroup, 0); err != nil {
				t.Fatal(err)
			}
			ours.expect(inOurs, state, false)
			if err := claimOf(neighbour, "shop-b"); err != nil {
				t.Errorf("the neighbour's group: %v", err)
			}
			if err := claimOf(far, testGroup); err != nil {
				t.Errorf("the neighbour's database: %v", err)
			}
		})
	}
}
