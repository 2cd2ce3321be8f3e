package doctor

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"firstclick/cdc"
	"firstclick/internal/pgsession"
)

const (
	poolSize    = 3  // sessions of a doctor besides those that probe, identify and read the migrations
	perInstance = 10 // sessions that an instance may open: sink, spare ones, users mirror, web
)

// postgres gathers facts from the server.
type postgres struct {
	cfg    Config
	config *pgx.ConnConfig
	pool   *pgxpool.Pool
}

func newPostgres(cfg Config) (*postgres, error) {
	p := &postgres{cfg: cfg}
	pc, err := pgsession.PoolConfig(cfg.Database, "firstclick doctor", poolSize)
	if err != nil {
		return p, err
	}
	pc.ConnConfig.ConnectTimeout = cfg.reachWithin
	p.config = pc.ConnConfig.Copy()
	p.pool, err = pgsession.OpenPool(pc)
	return p, err
}

func (p *postgres) close() {
	if p.pool != nil {
		p.pool.Close()
	}
}

// server holds the columns of serverSQL, in their order.
type server struct {
	Version      string
	Encoding     string
	Database     string
	Role         string
	Superuser    bool
	WALLevel     string
	Slots        int
	MaxSlots     int
	Senders      int
	MaxSenders   int
	Sessions     int
	MaxSessions  int
	ReadOnly     bool
	Published    bool
	Identity     string // replica identity of commerce.users; empty: no table
	Size         int64  // bytes of the database; -1: not visible
	Directory    string // empty: not visible
	Started      time.Time
	RoleSessions int
	RoleLimit    int // below 0: none
	DBSessions   int
	DBLimit      int   // below 0: none
	WALKept      int64 // bytes of WAL that a slot may hold back; -1: any number
	Local        bool  `db:"-"` // on this machine: its address is loopback or a socket
}

const serverSQL = `SELECT current_setting('server_version'), getdatabaseencoding()::text, current_database()::text,
	current_user::text,
	coalesce((SELECT rolsuper FROM pg_roles WHERE rolname = current_user), false), current_setting('wal_level'),
	(SELECT count(*) FROM pg_replication_slots)::int, current_setting('max_replication_slots')::int,
	(SELECT count(*) FROM pg_stat_replication)::int, current_setting('max_wal_senders')::int,
	(SELECT count(*) FROM pg_stat_activity WHERE backend_type IS NULL OR backend_type = 'client backend')::int,
	current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
	current_setting('transaction_read_only')::bool OR pg_is_in_recovery(),
	EXISTS (SELECT FROM pg_publication WHERE pubname = $1),
	coalesce((SELECT c.relreplident::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = 'commerce' AND c.relname = 'users'), ''),
	CASE WHEN has_database_privilege(current_database(), 'CONNECT')
		THEN pg_database_size(current_database()) ELSE -1 END,
	coalesce((SELECT setting FROM pg_settings WHERE name = 'data_directory'), ''), pg_postmaster_start_time(),
	(SELECT count(*) FROM pg_stat_activity WHERE usename = session_user)::int,
	(SELECT rolconnlimit FROM pg_roles WHERE rolname = session_user),
	(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database())::int,
	(SELECT datconnlimit FROM pg_database WHERE datname = current_database()),
	coalesce((SELECT setting::bigint << 20 FROM pg_settings
		WHERE name = 'max_slot_wal_keep_size' AND setting::bigint >= 0), -1)`

func (p *postgres) server(ctx context.Context) (server, error) {
	rows, _ := p.pool.Query(ctx, serverSQL, cdc.Publication) // its error comes with the rows
	s, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[server])
	host := p.config.Host
	ip := net.ParseIP(host)
	s.Local = strings.HasPrefix(host, "/") || host == "localhost" || ip != nil && ip.IsLoopback()
	return s, err
}

// withConn gives get a session of the pool.
func withConn[T any](p *postgres, get func(context.Context, *pgx.Conn) (T, error)) func(context.Context) (T, error) {
	return func(ctx context.Context) (got T, err error) {
		err = p.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) (err error) {
			got, err = get(ctx, conn.Conn())
			return err
		})
		return got, err
	}
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

func postgresVersion(f *facts) (found findings) {
	if e := f.server.Encoding; e != "UTF8" && e != "SQL_ASCII" { // the latter holds any bytes
		return found.warn("CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0; and move there with pg_dump",
			"the database is encoded in %s: checkouts with a letter that it does not have become dead letters, "+
				"and clicks with one correct no row", e)
	}
	return found.ok("%s, encoding %s", f.server.Version, f.server.Encoding)
}

func writable(f *facts) (found findings) {
	if s := f.server; s.ReadOnly {
		return found.fail(fmt.Sprintf("ALTER ROLE %s RESET default_transaction_read_only; "+
			"ALTER DATABASE %s RESET default_transaction_read_only", quoted(s.Role), quoted(s.Database)),
			"transactions are read-only")
	}
	return found.ok("yes")
}

// connections checks every limit that a session of ours counts against.
// https://www.postgresql.org/docs/current/sql-createrole.html (CONNECTION LIMIT)
func connections(f *facts) (found findings) {
	s := f.server
	for _, limit := range []struct {
		of          string
		taken, most int
		fix         string
	}{
		{"", s.Sessions, s.MaxSessions,
			fmt.Sprintf("ALTER SYSTEM SET max_connections = %d; then restart Postgres", s.MaxSessions+50)},
		{" of role " + s.Role, s.RoleSessions, s.RoleLimit,
			fmt.Sprintf("ALTER ROLE %s CONNECTION LIMIT %d", quoted(s.Role), s.RoleLimit+50)},
		{" of database " + s.Database, s.DBSessions, s.DBLimit,
			fmt.Sprintf("ALTER DATABASE %s CONNECTION LIMIT %d", quoted(s.Database), s.DBLimit+50)},
	} {
		exempt := limit.of != "" && s.Superuser
		if limit.most >= 0 && limit.most-limit.taken < perInstance && !exempt {
			return found.warn(limit.fix, "%d of %d%s are taken; an instance uses up to %d",
				limit.taken, limit.most, limit.of, perInstance)
		}
	}
	return found.ok("%d of %d are taken; an instance uses up to %d", s.Sessions, s.MaxSessions, perInstance)
}

// clock says how far Postgres' clock is ahead of ours. The error is at most half of the round trip.
type clock struct{ skew, rtt time.Duration }

// clock measures as NTP does: the server's time belongs to the middle of the shortest round trip.
func (p *postgres) clock(ctx context.Context, conn *pgx.Conn) (c clock, err error) {
	for i := range 5 {
		began := p.cfg.Now()
		var there time.Time
		if err := conn.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&there); err != nil {
			return c, fmt.Errorf("read Postgres' clock: %w", err)
		}
		if rtt := p.cfg.Now().Sub(began); i == 0 || rtt < c.rtt {
			c = clock{there.Sub(began.Add(rtt / 2)), rtt}
		}
	}
	return c, nil
}

func postgresClock(f *facts) (found findings) {
	const fix = "chronyc tracking, here and on the server"
	skew, doubt := f.clock.skew.Abs(), f.clock.rtt/2
	text := fmt.Sprintf("%s from ours (to %s)", shown(skew), shown(doubt+time.Microsecond))
	switch {
	case skew > maxFutureSkew:
		return found.fail(fix, "%s", text)
	case skew > maxDrift+doubt:
		return found.warn(fix, "%s", text)
	}
	return found.ok("%s", text)
}
