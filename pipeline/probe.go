package pipeline

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	probeEvery = 10 * time.Second
	probeTime  = 5 * time.Second // a probe that takes longer has failed
)

// ServerProbe is what a look at Postgres found. What it says is from when it last succeeded.
type ServerProbe struct {
	At          time.Time     // of the newest probe that succeeded; zero: none yet
	OK          bool          // the newest one succeeded
	Took        time.Duration // there and back
	ClockOffset time.Duration // the server's clock minus ours, to half of Took
	RetainedWAL int64         // bytes of write-ahead log that our slot holds back
}

// probeSQL finds our slot by the session that streams from it: its own name is random. restart_lsn is where the server must keep its log from
// (https://www.postgresql.org/docs/current/view-pg-replication-slots.html).
const probeSQL = `SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, coalesce(max(pg_wal_lsn_diff(
		CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, s.restart_lsn)), 0)::bigint
	FROM pg_replication_slots s JOIN pg_stat_activity a ON a.pid = s.active_pid WHERE a.application_name = $1`

// probeServer looks at Postgres every 10 s until ctx ends, for monitoring only: what fails is told by others.
func (p *Pipeline) probeServer(ctx context.Context, pool *pgxpool.Pool) error {
	t := time.NewTicker(probeEvery)
	defer t.Stop()
	for {
		found, err := probe(ctx, pool, usersApplication(p.cfg.Instance))
		p.mu.Lock()
		if err == nil {
			p.server = found
		}
		p.server.OK = err == nil
		p.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

func probe(ctx context.Context, pool *pgxpool.Pool, application string) (ServerProbe, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	var clock int64
	p := ServerProbe{OK: true}
	conn, err := pool.Acquire(ctx) // connecting is no part of the time that is measured
	if err != nil {
		return p, err
	}
	defer conn.Release()
	began := time.Now()
	err = conn.QueryRow(ctx, probeSQL, application).Scan(&clock, &p.RetainedWAL)
	p.At = time.Now()
	p.Took = p.At.Sub(began)
	p.ClockOffset = time.UnixMicro(clock).Sub(began.Add(p.Took / 2))
	return p, err
}

// usersApplication is the application_name of the users mirror's sessions.
func usersApplication(instance string) string { return instance + " users" }

// probeLogs asks every 10 s where the topics begin, until ctx ends, for monitoring only.
func (s *session) probeLogs(ctx context.Context) error {
	t := time.NewTicker(probeEvery)
	defer t.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, probeTime)
		starts, _ := askOffsets(asking, s.clicksClient, s.sizes(), atStart, false)
		cancel()
		for topic, offsets := range starts {
			if slices.Contains(offsets, unknownOffset) {
				continue
			}
			for p, o := range offsets {
				s.p.ingest.logStart.WithLabelValues(topic, strconv.Itoa(p)).Set(float64(o))
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}
