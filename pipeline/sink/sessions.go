package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// session identifies a session of ours: process id, start and role. A process id alone may be
// another session's later, or another server's after a failover. An application_name is anybody's
// to take. Times are compared as numbers: printed, they are in some zone.
type session string

// initLimit bounds the preparation of a new session: one that freezes meanwhile must not keep its
// place in the pool.
const initLimit = 15 * time.Second

const sessionKey = "firstclick session"

// sessionOfActivity is the session of a row a of pg_stat_activity. Postgres shows no start of a
// role's session to roles that are not its members, and these may not end it either.
// https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-SIGNAL
const sessionOfActivity = `a.pid || '/' || (extract(epoch FROM a.backend_start) * 1000000)::bigint || '/' || a.usesysid`

func sessionOf(pc *pgconn.PgConn) session {
	s, _ := pc.CustomData()[sessionKey].(session)
	return s
}

// initSession prepares a new session. Every statement here finds its rows by a key. With the
// planner's other ways closed, a plan that is made while a table is small stays right when it has
// grown. With the tcp settings the server notices within a minute that our host is gone, and frees
// our locks. A session that is not noted as ours is not used: no takeover could find it.
func (s *Sink) initSession(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, initLimit)
	defer cancel()
	var who session
	err := conn.QueryRow(ctx, `SELECT `+sessionOfActivity+`, n FROM pg_stat_get_activity(pg_backend_pid()) a,
		(SELECT count(set_config(name, setting, false)) AS n FROM (VALUES
			('enable_seqscan', 'off'), ('enable_hashjoin', 'off'), ('enable_mergejoin', 'off'),
			('enable_material', 'off'), ('enable_bitmapscan', 'off'), ('jit', 'off'), ('work_mem', '64MB'),
			('tcp_keepalives_idle', '20'), ('tcp_keepalives_interval', '5'),
			('tcp_keepalives_count', '4'), ('tcp_user_timeout', '40000')) AS v (name, setting)) AS settings`,
		pgx.QueryExecModeExec).Scan(&who, nil)
	if err != nil {
		return fmt.Errorf("prepare a database session: %w", err)
	}
	// A lost session may hold the row of this instance.
	if err := s.endLost(ctx, conn); err != nil {
		return err
	}
	// Sessions that have ended are left out. The instance itself may not have announced itself yet.
	//
	// Invariant: it is one message of the simple protocol, so that no connection that freezes
	// leaves the row locked. Whoever waits for the row longer than a moment waits for a session
	// that was lost meanwhile: the next attempt ends it.
	_, err = conn.Exec(ctx, `BEGIN; SET LOCAL lock_timeout = '2s';
		INSERT INTO firstclick.instances AS i (instance, group_id, host, pid, version, sessions)
		VALUES ($1, '', '', 0, '', ARRAY[$2::text])
		ON CONFLICT (instance) DO UPDATE SET sessions = array_append(ARRAY(SELECT s FROM unnest(i.sessions) s
			WHERE s <> $2::text AND s IN (SELECT `+sessionOfActivity+` FROM pg_stat_activity a)), $2::text);
		COMMIT`, pgx.QueryExecModeSimpleProtocol, s.application, string(who))
	if err != nil {
		return fmt.Errorf("note a database session: %w", err)
	}
	conn.PgConn().CustomData()[sessionKey] = who
	return nil
}

// lostSessions are sessions whose connection broke. Postgres may not have noticed. Then they hold
// the locks of an open transaction, and nothing of ours could go on.
type lostSessions struct {
	mu   sync.Mutex
	list []session
}

func (l *lostSessions) add(who session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if who != "" {
		l.list = append(l.list, who)
	}
}

// endLost ends lost sessions and waits until they are gone, before anything else is done.
func (s *Sink) endLost(ctx context.Context, conn *pgx.Conn) error {
	s.lost.mu.Lock()
	lost := slices.Clone(s.lost.list)
	s.lost.mu.Unlock()
	for _, who := range lost {
		_, err := s.endSessions(ctx, conn, sessionOfActivity+` = $1`, string(who))
		if err != nil {
			return err
		}
	}
	s.lost.mu.Lock()
	defer s.lost.mu.Unlock()
	s.lost.list = slices.DeleteFunc(s.lost.list, func(who session) bool { return slices.Contains(lost, who) })
	return nil
}

// endInstance ends the sessions that another instance has noted, and waits until they are gone. Of
// an instance of a version that noted none, these are the sessions of our role with its
// application_name.
func (s *Sink) endInstance(ctx context.Context, conn *pgx.Conn, instance string) error {
	rows, _ := conn.Query(ctx, ForeignSessions+` AND i.instance = $1`, instance) // CollectRows returns its error
	roles, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look for the sessions of instance %q: %w", instance, err)
	}
	if len(roles) > 0 {
		return fmt.Errorf("instance %q owned the shard as role %s, and its sessions cannot be ended as role %s; "+
			"run all instances under one role", instance, strings.Join(roles, ", "), conn.Config().User)
	}
	ended, err := s.endSessions(ctx, conn, `a.datname = current_database() AND a.pid <> pg_backend_pid() AND CASE
		WHEN EXISTS (SELECT FROM firstclick.instances WHERE instance = $1 AND cardinality(sessions) > 0)
		THEN `+sessionOfActivity+` IN (SELECT unnest(sessions) FROM firstclick.instances WHERE instance = $1)
		ELSE a.application_name = $1
			AND a.usesysid = (SELECT me.usesysid FROM pg_stat_get_activity(pg_backend_pid()) me) END`, instance)
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.Code == "42501" { // it became so this moment
		return fmt.Errorf("the sessions of instance %q cannot be ended: %s; run all instances under one role",
			instance, pe.Message)
	}
	if err != nil {
		return fmt.Errorf("end the sessions of instance %q: %w", instance, err)
	}
	if ended > 0 {
		s.log.Info("ended the sessions of the instance that owned a shard", "instance", instance, "sessions", ended)
	}
	return nil
}

const (
	gonePoll  = 20 * time.Millisecond
	goneLimit = 30 * time.Second // then it is said, and tried again
)

// endSessions ends the sessions of pg_stat_activity a for which a condition holds, and says how
// many they were, once there is none any more.
func (s *Sink) endSessions(ctx context.Context, conn *pgx.Conn, condition, arg string) (ended int64, err error) {
	ticker := time.NewTicker(gonePoll)
	defer ticker.Stop()
	limit := time.NewTimer(s.goneLimit)
	defer limit.Stop()
	for {
		var n int64
		err := conn.QueryRow(ctx, `SELECT count(*) FROM (SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a
			WHERE `+condition+` OFFSET 0) t`, arg).Scan(&n)
		if err != nil {
			return ended, fmt.Errorf("end sessions: %w", err)
		}
		if n == 0 {
			return ended, nil
		}
		ended = max(ended, n)
		select {
		case <-ctx.Done():
			return ended, context.Cause(ctx)
		case <-limit.C:
			return ended, fmt.Errorf("end sessions: %d are still there %v after pg_terminate_backend: %w",
				n, s.goneLimit, &passingError{causeConnection})
		case <-ticker.C:
		}
	}
}

// ForeignSessions selects the roles of noted sessions that exist and that the current role may not
// end.
const ForeignSessions = `SELECT DISTINCT r.rolname::text FROM firstclick.instances i, unnest(i.sessions) s
	JOIN pg_stat_activity a ON a.pid = split_part(s, '/', 1)::int
		AND a.usesysid = split_part(s, '/', 3)::oid AND a.backend_start IS NULL
	JOIN pg_roles r ON r.oid = a.usesysid WHERE a.datname = current_database()`

// Announce writes this instance's row in firstclick.instances, and that it is alive. Rows of
// instances that ended without Leave stay for a day, for people who look for them. Those of a
// frozen instance stay as long as its sessions, for the takeover.
func (s *Sink) Announce(ctx context.Context, a Announcement) error {
	return s.exec(ctx, "announce this instance", `WITH gone AS (
			DELETE FROM firstclick.instances
			WHERE group_id IN ($2, '') AND instance <> $1 AND heartbeat_at < now() - interval '1 day'
				AND NOT EXISTS (SELECT FROM unnest(sessions) s JOIN pg_stat_activity a ON s = `+sessionOfActivity+`))
		INSERT INTO firstclick.instances (instance, group_id, host, pid, version, listen, shards)
		VALUES ($1, $2, $3, $4, $5, nullif($6, ''), $7)
		ON CONFLICT (instance) DO UPDATE SET group_id = excluded.group_id, host = excluded.host, pid = excluded.pid,
			version = excluded.version, listen = excluded.listen, shards = excluded.shards, heartbeat_at = now()`,
		s.application, a.Group, a.Host, int32(a.PID), a.Version, a.Listen, notNull(a.Shards))
}

// Leave is for the end, when nothing of this instance runs any more. It removes the instance's row,
// and releases shards that still carry its name, as one does whose takeover was cut short after
// Postgres had made it.
func (s *Sink) Leave(ctx context.Context) error {
	err := s.exec(ctx, "release what is left",
		`UPDATE firstclick.offsets SET owner = NULL, instance = NULL WHERE instance = $1`, s.application)
	if err != nil {
		return err
	}
	return s.exec(ctx, "leave", `DELETE FROM firstclick.instances WHERE instance = $1`, s.application)
}
