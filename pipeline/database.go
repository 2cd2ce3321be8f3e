package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"firstclick/internal/kafkagroup"
	"firstclick/pipeline/rules"
)

// database is the one that this pipeline writes to, as other members of the group are told.
type database struct{ p *Pipeline }

// Database gives its identity; empty: the server does not say.
func (d database) Database(ctx context.Context) (id string, err error) {
	err = d.p.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) (err error) {
		id, err = kafkagroup.DatabaseOf(ctx, conn.Conn())
		return err
	})
	return id, err
}

// Name names it for people.
func (d database) Name() string {
	conn := d.p.pool.Config().ConnConfig
	return fmt.Sprintf("%s on %s:%d", conn.Database, conn.Host, conn.Port)
}

const probeTime = 5 * time.Second // a probe that takes longer has failed

// ServerProbe is what a probe of Postgres found. The values are those of the last one that
// succeeded.
type ServerProbe struct {
	At          time.Time     // of the last one that succeeded; zero: none yet
	OK          bool          // the last one succeeded
	Took        time.Duration // for the round trip
	ClockOffset time.Duration // the server's clock minus ours, to half of Took
	RetainedWAL int64         // bytes of write-ahead log that our slot holds back
}

// probeSQL finds our slot by the session that streams from it, for its name is random. The server
// keeps its log from restart_lsn on
// (https://www.postgresql.org/docs/current/view-pg-replication-slots.html).
const probeSQL = `SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, coalesce(max(pg_wal_lsn_diff(
		CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
		s.restart_lsn)), 0)::bigint
	FROM pg_replication_slots s JOIN pg_stat_activity a ON a.pid = s.active_pid WHERE a.application_name = $1`

// probeServer probes Postgres every 10 s until ctx ends, for monitoring only.
func (p *Pipeline) probeServer(ctx context.Context) error {
	return rules.Every(ctx, 10*time.Second, func() error {
		found, err := p.probe(ctx)
		if err != nil {
			found = *p.server.Load()
			found.OK = false
		}
		p.server.Store(&found)
		return nil
	})
}

func (p *Pipeline) probe(ctx context.Context) (ServerProbe, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	conn, err := p.pool.Acquire(ctx) // the time to connect is not measured
	if err != nil {
		return ServerProbe{}, err
	}
	defer conn.Release()
	var clock int64
	found, began := ServerProbe{OK: true}, time.Now()
	err = conn.QueryRow(ctx, probeSQL, usersApplication(p.cfg.Instance)).Scan(&clock, &found.RetainedWAL)
	found.At = time.Now()
	found.Took = found.At.Sub(began)
	found.ClockOffset = time.UnixMicro(clock).Sub(began.Add(found.Took / 2))
	return found, err
}

// usersApplication is the application_name of the users mirror's sessions.
func usersApplication(instance string) string { return instance + " users" }
