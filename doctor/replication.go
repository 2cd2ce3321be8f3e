package doctor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"firstclick/cdc"
	"firstclick/internal/pgsession"
)

// replicator says whether a replication connection can be opened: err is always set. The other
// fields are set only if a separate role replicates. Neither that role nor the one that writes
// should be able to do the other's work.
type replicator struct {
	err              error  // why a replication connection was refused
	role             string // empty: the writer replicates
	physical         bool   // it may copy the whole server
	superuser        bool
	mayWrite         bool
	writerReplicates bool
}

func (p *postgres) setup(ctx context.Context) ([]*cdc.SetupError, error) {
	return withConn(p, func(ctx context.Context, conn *pgx.Conn) ([]*cdc.SetupError, error) {
		return cdc.Check(ctx, conn, cdc.Role(p.cfg.Replication))
	})(ctx)
}

// setupProblem is the failing finding for the first of these problems that cdc.Check found.
func (f *facts) setupProblem(problems ...cdc.Problem) (found findings) {
	for _, p := range f.setup {
		if slices.Contains(problems, p.Problem) {
			return found.fail(p.Mend, "%s", p.What)
		}
	}
	return nil
}

// replicator opens a replication connection, as the users mirror does: a pooler or pg_hba.conf may
// not let it through. A role that only replicates needs logical replication, and should be refused
// physical.
func (p *postgres) replicator(ctx context.Context) (r replicator, err error) {
	config := p.config
	if p.cfg.Replication != "" {
		config, err = pgsession.Config(p.cfg.Replication, p.config.RuntimeParams["application_name"])
		if err != nil {
			return r, fmt.Errorf("--database-replication: %w", err)
		}
		config.ConnectTimeout = p.cfg.reachWithin
	}
	conn, err := pgsession.OpenReplication(ctx, config)
	if err == nil {
		_, err = conn.Exec(ctx, "IDENTIFY_SYSTEM").ReadAll()
		closeSoon(ctx, conn.Close)
	}
	if r.err = err; err != nil || p.cfg.Replication == "" {
		return r, nil
	}
	r.physical = pgsession.AdmitsPhysical(ctx, config)
	r.role = config.User
	// Superusers may do anything, whatever they were granted.
	err = p.pool.QueryRow(ctx, `SELECT w.rolreplication OR w.rolsuper, r.rolsuper,
			has_table_privilege(r.oid, t.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
		FROM pg_roles w, pg_roles r, pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
		WHERE w.rolname = current_user AND r.rolname = $1
			AND n.nspname = 'commerce' AND t.relname = 'attributed_checkouts'`,
		r.role).Scan(&r.writerReplicates, &r.superuser, &r.mayWrite)
	return r, err
}

func mayReplicate(f *facts) (found findings) {
	writer, r := f.server.Role, f.replicator
	if r.err != nil {
		if f.setupProblem(cdc.ProblemSenders) != nil {
			return found.warn("", "%s may replicate; that could not be tried, for all WAL senders are taken", writer)
		}
		return found.fail("give --database the address of Postgres itself, not of a pooler; and a line in pg_hba.conf",
			"a replication connection is refused: %s", rootCause(r.err))
	}
	if r.role == "" {
		return found.ok("%s may replicate, and can", writer)
	}
	if r.writerReplicates && writer != r.role {
		found = found.warn(fmt.Sprintf("ALTER ROLE %s NOREPLICATION", quoted(writer)),
			"%s replicates, and %s, the role that writes, may replicate too: so it can read every table from the log",
			r.role, writer)
	}
	if r.superuser || r.mayWrite || writer == r.role {
		found = found.warn("a role of its own: CREATE ROLE firstclick_replication LOGIN REPLICATION PASSWORD '...'",
			"%s replicates, and may write too", r.role)
	}
	if r.physical {
		found = found.warn("in pg_hba.conf, above other lines for replication: host replication "+r.role+" all reject",
			"%s may copy the whole server (pg_basebackup): pg_hba.conf lets it in for physical replication", r.role)
	}
	return found.orOK("%s may replicate, and can; %s may not", r.role, writer)
}

func walLevel(f *facts) (found findings) {
	return found.ok("%s", f.server.WALLevel)
}

// prepared is a transaction whose two-phase commit has not ended.
type prepared struct {
	ID, Database string
	Age          time.Duration
}

func (p *postgres) prepared(ctx context.Context) ([]prepared, error) {
	rows, _ := p.pool.Query(ctx, `SELECT gid, database::text, now() - prepared FROM pg_prepared_xacts ORDER BY 3 DESC`)
	return pgx.CollectRows(rows, pgx.RowToStructByPos[prepared])
}

// slots also looks for prepared transactions: a new slot waits until all transactions that began
// before it have ended, in any database of the server.
func slots(f *facts) (found findings) {
	s := f.server
	found = f.taken(cdc.ProblemSlots, "replication slots", "max_replication_slots", s.Slots, s.MaxSlots)
	for _, p := range f.prepared {
		found = found.warn(
			fmt.Sprintf("ask its transaction manager; then, in database %s: COMMIT PREPARED %s, "+
				"or ROLLBACK PREPARED %[2]s", p.Database, literal(p.ID)),
			"transaction %s in database %s was prepared %s ago and has not ended: "+
				"no new slot can be made before it ends, and names are read from the table",
			literal(p.ID), p.Database, shown(p.Age))
	}
	return found
}

func senders(f *facts) (found findings) {
	s := f.server
	return f.taken(cdc.ProblemSenders, "WAL senders", "max_wal_senders", s.Senders, s.MaxSenders)
}

func (f *facts) taken(problem cdc.Problem, what, setting string, taken, most int) (found findings) {
	if found := f.setupProblem(problem); found != nil {
		if slices.ContainsFunc(f.stored.instances, instance.alive) {
			found[0].Status = Warn
			found[0].Text += "; the instances that run have theirs, and one more could not start"
		}
		return found
	}
	if most-taken == 1 {
		return found.warn(fmt.Sprintf("ALTER SYSTEM SET %s = %d; then restart Postgres", setting, most+4),
			"%d of %d %s are taken: each instance needs one", taken, most, what)
	}
	return found.ok("%d of %d %s are taken; each instance needs one", taken, most, what)
}

// slotLimit checks what a slot may hold back while its instance, or the network to it, hangs.
func slotLimit(f *facts) (found findings) {
	if f.server.WALKept < 0 {
		return found.warn("ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'; SELECT pg_reload_conf() "+
			"-- a part of the disk that is free for it",
			"max_slot_wal_keep_size is not set: a slot that somebody leaves behind can fill the server's disk")
	}
	return found.ok("a slot holds back %s at most (max_slot_wal_keep_size)", size(f.server.WALKept))
}

func users(f *facts) (found findings) {
	if f.server.Identity == "" && f.setupProblem(cdc.ProblemTable) != nil {
		return f.absent("commerce.users")
	}
	if found := f.setupProblem(cdc.ProblemUnfollowed); found != nil {
		found[0].Status = Warn // names are right, and cost a query
		return found
	}
	found = f.setupProblem(cdc.ProblemTable, cdc.ProblemColumns, cdc.ProblemSelect, cdc.ProblemIdentity)
	if found != nil {
		return found
	}
	switch f.server.Identity {
	case "f":
		return found.ok("replica identity full: passwords stand in the stream, and are dropped while decoding")
	case "i":
		return found.ok("replica identity by an index")
	}
	return found.ok("replica identity by the primary key")
}

func publication(f *facts) (found findings) {
	if !f.server.Published {
		return found.ok("%s is not there yet: the first run makes it", cdc.Publication)
	}
	return found.ok("%s", cdc.Publication)
}
