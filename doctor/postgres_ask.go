package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"firstclick/cdc"
	"firstclick/internal/pgsession"
	"firstclick/migrations"
	"firstclick/pipeline/sink"
)

// sessions are how many a doctor opens besides those that knock, identify and read the migrations.
const sessions = 3

// postgres asks the server.
type postgres struct {
	cfg    Config
	config *pgx.ConnConfig
	pool   *pgxpool.Pool
}

func newPostgres(cfg Config) (*postgres, error) {
	p := &postgres{cfg: cfg}
	pc, err := pgsession.PoolConfig(cfg.Database, "firstclick doctor", sessions)
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

// ask gathers all that needs Postgres alone.
func (p *postgres) ask(ctx context.Context, f *facts) {
	facts := &f.postgres
	f.all(ctx, p.cfg.askWithin, map[question]func(context.Context) error{
		askServer: func(ctx context.Context) error { return p.server(ctx, &facts.server) },
		askSetup: func(ctx context.Context) error {
			return p.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
				err := cdc.Check(ctx, conn.Conn(), cdc.Role(p.cfg.Replication))
				if facts.setup = err; len(problems(err)) > 0 {
					return nil
				}
				return err
			})
		},
		askIdentify: p.identify(facts),
		askClock: func(ctx context.Context) error {
			return p.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) (err error) {
				facts.skew, facts.rtt, err = clock(ctx, conn.Conn(), p.cfg.Now)
				return err
			})
		},
		askMigrations: func(ctx context.Context) (err error) {
			if facts.migrations, err = migrations.Status(ctx, p.cfg.Database); err != nil {
				return err
			}
			return p.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) (err error) {
				facts.dropped, err = migrations.Missing(ctx, conn.Conn())
				return err
			})
		},
		askTarget: func(ctx context.Context) error { return p.target(ctx, facts) },
		askGrants: func(ctx context.Context) (err error) {
			facts.missing, err = p.missingGrants(ctx)
			return err
		},
		askSessions: func(ctx context.Context) (err error) {
			facts.foreign, err = p.foreignSessions(ctx)
			return err
		},
	})
}

func (p *postgres) server(ctx context.Context, s *server) error {
	rows, err := p.pool.Query(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_version'), getdatabaseencoding()::text, current_database()::text, current_user::text,
		coalesce((SELECT rolsuper FROM pg_roles WHERE rolname = current_user), false), current_setting('wal_level'),
		(SELECT count(*) FROM pg_replication_slots)::int, current_setting('max_replication_slots')::int,
		(SELECT count(*) FROM pg_stat_replication)::int, current_setting('max_wal_senders')::int,
		(SELECT count(*) FROM pg_stat_activity WHERE backend_type IS NULL OR backend_type = 'client backend')::int,
		current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
		current_setting('transaction_read_only')::bool OR pg_is_in_recovery(),
		EXISTS (SELECT FROM pg_publication WHERE pubname = $1),
		coalesce((SELECT c.relreplident::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'commerce' AND c.relname = 'users'), ''),
		CASE WHEN has_database_privilege(current_database(), 'CONNECT') THEN pg_database_size(current_database()) ELSE -1 END,
		coalesce((SELECT setting FROM pg_settings WHERE name = 'data_directory'), ''), pg_postmaster_start_time(),
		(SELECT count(*) FROM pg_stat_activity WHERE usename = session_user)::int, (SELECT rolconnlimit FROM pg_roles WHERE rolname = session_user),
		(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database())::int, (SELECT datconnlimit FROM pg_database WHERE datname = current_database())`, cdc.Publication)
	if err == nil {
		*s, err = pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (s server, err error) {
			err = row.Scan(&s.Number, &s.Version, &s.Encoding, &s.Database, &s.Role, &s.Superuser, &s.WALLevel, &s.Slots, &s.MaxSlots, &s.Senders, &s.MaxSenders,
				&s.Sessions, &s.MaxSessions, &s.ReadOnly, &s.Published, &s.Identity, &s.Size, &s.Directory, &s.Started, &s.RoleSessions, &s.RoleLimit, &s.DatabaseSessions, &s.DatabaseLimit)
			return s, err
		})
	}
	s.Local = local(p.config.Host)
	if err != nil {
		return err
	}
	// A slot stands when all transactions that began before it have ended, in any database of the server.
	rows, err = p.pool.Query(ctx, `SELECT gid, database::text, now() - prepared FROM pg_prepared_xacts ORDER BY prepared`)
	if err == nil {
		s.Prepared, err = pgx.CollectRows(rows, pgx.RowToStructByPos[prepared])
	}
	if err == nil {
		err = p.pool.QueryRow(ctx, `SELECT CASE WHEN setting::bigint < 0 THEN -1 ELSE setting::bigint << 20 END FROM pg_settings WHERE name = 'max_slot_wal_keep_size'`).Scan(&s.WALKept)
	}
	return err
}

func local(host string) bool {
	ip := net.ParseIP(host)
	return strings.HasPrefix(host, "/") || host == "localhost" || ip != nil && ip.IsLoopback()
}

// identify opens a replication connection as the users mirror does: a pooler in between, or pg_hba.conf, may not let it through. A role that is
// there for that alone is let in for logical replication, and should not be for physical.
func (p *postgres) identify(facts *postgresFacts) func(context.Context) error {
	return func(ctx context.Context) error {
		config := p.config
		if p.cfg.Replication != "" {
			var err error
			if config, err = pgsession.Config(p.cfg.Replication, p.config.RuntimeParams["application_name"]); err != nil {
				return fmt.Errorf("--database-replication: %w", err)
			}
			config.ConnectTimeout = p.cfg.reachWithin
		}
		if facts.identify = identifyAs(ctx, config); facts.identify != nil || p.cfg.Replication == "" {
			return nil
		}
		facts.physical = pgsession.AdmitsPhysical(ctx, config)
		// Superusers may do anything, whatever they were granted.
		facts.roles.Replicator = config.User
		return p.pool.QueryRow(ctx, `SELECT w.rolreplication OR w.rolsuper, r.rolsuper, has_table_privilege(r.oid, t.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
			FROM pg_roles w, pg_roles r, pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
			WHERE w.rolname = current_user AND r.rolname = $1 AND n.nspname = 'commerce' AND t.relname = 'attributed_checkouts'`, config.User,
		).Scan(&facts.roles.WriterReplicates, &facts.roles.Superuser, &facts.roles.MayWrite)
	}
}

func identifyAs(ctx context.Context, config *pgx.ConnConfig) error {
	conn, err := pgsession.OpenReplication(ctx, config)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "IDENTIFY_SYSTEM").ReadAll()
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(closing) // nothing was written
	return err
}

// clock measures how far Postgres' clock is ahead of ours, as NTP does: by the exchange with the shortest round trip, of which it lies in the
// middle. The error is at most half of that round trip.
func clock(ctx context.Context, conn *pgx.Conn, now func() time.Time) (skew, rtt time.Duration, err error) {
	for i := range 5 {
		began := now()
		var there time.Time
		if err := conn.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&there); err != nil {
			return 0, 0, fmt.Errorf("ask Postgres for the time: %w", err)
		}
		took := now().Sub(began)
		if i == 0 || took < rtt {
			skew, rtt = there.Sub(began.Add(took/2)), took
		}
	}
	return skew, rtt, nil
}

func (p *postgres) target(ctx context.Context, facts *postgresFacts) error {
	return p.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		rows, err := conn.Query(ctx, `SELECT a.attname::text, coalesce(b.typname, t.typname)::text, format_type(a.atttypid, a.atttypmod),
				CASE WHEN b.oid IS NULL THEN a.atttypmod ELSE t.typtypmod END
			FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype
			WHERE a.attrelid = to_regclass('commerce.attributed_checkouts') AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`)
		if err == nil {
			facts.columns, err = pgx.CollectRows(rows, pgx.RowToStructByPos[column])
		}
		if err != nil || len(facts.columns) == 0 {
			return err
		}
		facts.target = sink.Check(ctx, conn.Conn())
		return nil
	})
}

// missingGrants returns the statements that would give the role what a run needs and it does not have: the rights that SECURITY.md lists. A right
// on columns is enough where columns are named.
func (p *postgres) missingGrants(ctx context.Context) ([]string, error) {
	rows, err := p.pool.Query(ctx, `
		WITH wanted (schema, name, privileges, columns) AS (VALUES
			('commerce', 'users', 'SELECT', '{id,username}'::name[]),
			('commerce', 'attributed_checkouts', 'SELECT,INSERT', NULL), ('commerce', 'attributed_checkouts', 'UPDATE', '{user_name,click_id,click_time}'),
			('firstclick', 'offsets', 'SELECT,INSERT,UPDATE', NULL), ('firstclick', 'progress', 'SELECT,INSERT,UPDATE', NULL),
			('firstclick', 'dead_letters', 'SELECT,INSERT,UPDATE', NULL), ('firstclick', 'late', 'SELECT,INSERT,UPDATE', NULL),
			('firstclick', 'unknown_users', 'SELECT,INSERT,DELETE', NULL), ('firstclick', 'instances', 'SELECT,INSERT,UPDATE,DELETE', NULL),
			('firstclick', 'schema_version', 'SELECT', NULL))
		, missing AS (SELECT w.schema, w.name, privilege || coalesce(' (' || array_to_string(w.columns, ', ') || ')', '') AS what
			FROM wanted w JOIN pg_namespace n ON n.nspname = w.schema
			JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name AND c.relkind IN ('r', 'p', 'v'), unnest(string_to_array(w.privileges, ',')) privilege
			WHERE CASE WHEN w.columns IS NULL THEN NOT has_table_privilege(c.oid, privilege) ELSE EXISTS (SELECT FROM pg_attribute a
				WHERE a.attrelid = c.oid AND a.attname = ANY (w.columns) AND NOT a.attisdropped AND NOT has_column_privilege(c.oid, a.attnum, privilege)) END)
		SELECT format('GRANT %s ON %I.%I TO %I', string_agg(what, ', ' ORDER BY what), schema, name, current_user) FROM missing GROUP BY schema, name
		UNION ALL SELECT format('GRANT USAGE ON SCHEMA %I TO %I', nspname, current_user) FROM pg_namespace
			WHERE nspname IN ('commerce', 'firstclick') AND NOT has_schema_privilege(oid, 'USAGE')
		UNION ALL SELECT format('GRANT CREATE ON DATABASE %I TO %I', current_database(), current_user)
			WHERE to_regnamespace('firstclick') IS NULL AND NOT has_database_privilege(current_database(), 'CREATE')
		UNION ALL SELECT format('GRANT TEMPORARY ON DATABASE %I TO %I', current_database(), current_user)
			WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
		ORDER BY 1`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// foreignSessions returns the roles of other instances' sessions in this database that ours may not end, as a takeover must.
func (p *postgres) foreignSessions(ctx context.Context) ([]string, error) {
	rows, err := p.pool.Query(ctx, sink.ForeignSessions+` ORDER BY 1`)
	if err != nil {
		return nil, err
	}
	roles, err := pgx.CollectRows(rows, pgx.RowTo[string])
	var answer *pgconn.PgError
	if errors.As(err, &answer) && (answer.Code == "42P01" || answer.Code == "3F000" || answer.Code == "42703") {
		return nil, nil // nothing is noted before migrate
	}
	return roles, err
}

// problems returns what cdc.Check found.
func problems(err error) []*cdc.SetupError {
	var found []*cdc.SetupError
	if joined, is := err.(interface{ Unwrap() []error }); is {
		for _, e := range joined.Unwrap() {
			found = append(found, problems(e)...)
		}
		return found
	}
	var one *cdc.SetupError
	if errors.As(err, &one) {
		found = append(found, one)
	}
	return found
}
