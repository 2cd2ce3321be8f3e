package doctor

import (
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"firstclick/cdc"
)

// perInstance is how many sessions an instance may open: sink, spare ones, users mirror, web.
const perInstance = 10

// found returns the failing finding of one of cdc.Check's problems.
func (f *facts) problem(kinds ...cdc.Problem) []Finding {
	for _, p := range problems(f.postgres.setup) {
		for _, kind := range kinds {
			if p.Problem == kind {
				return fail(p.Mend, "%s", p.What)
			}
		}
	}
	return nil
}

func postgresVersion(f *facts) []Finding {
	if unknown := f.unknown(askServer); unknown != nil {
		return unknown
	}
	if found := f.problem(cdc.ProblemVersion); found != nil {
		return found
	}
	if e := f.postgres.server.Encoding; e != "UTF8" && e != "SQL_ASCII" { // the latter holds any bytes
		return warn("CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0; and move there with pg_dump",
			"the database is encoded in %s: checkouts with a letter that it does not have become dead letters, and clicks with one correct no row", e)
	}
	return ok("%s, encoding %s", f.postgres.server.Version, f.postgres.server.Encoding)
}

func writable(f *facts) []Finding {
	if found := f.problem(cdc.ProblemStandby); found != nil {
		return found
	}
	if unknown := f.unknown(askServer); unknown != nil {
		return unknown
	}
	s := f.postgres.server
	if s.ReadOnly {
		return fail(fmt.Sprintf("ALTER ROLE %s RESET default_transaction_read_only; ALTER DATABASE %s RESET default_transaction_read_only", quoted(s.Role), quoted(s.Database)), "transactions are read-only")
	}
	return ok("yes")
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

func walLevel(f *facts) []Finding {
	if unknown := f.unknown(askServer, askSetup); unknown != nil {
		return unknown
	}
	if found := f.problem(cdc.ProblemWALLevel); found != nil {
		return found
	}
	return ok("%s", f.postgres.server.WALLevel)
}

func slots(f *facts) []Finding {
	s := f.postgres.server
	found := f.left(cdc.ProblemSlots, "replication slots", "max_replication_slots", s.Slots, s.MaxSlots)
	for _, p := range s.Prepared {
		found = append(found, warn(fmt.Sprintf("ask its transaction manager; then, in database %s: COMMIT PREPARED %s, or ROLLBACK PREPARED %[2]s", p.Database, literal(p.ID)),
			"transaction %s in database %s was prepared %s ago and has not ended: no new slot stands before it has, and names are read from the table", literal(p.ID), p.Database, shown(p.Age))...)
	}
	return found
}

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// slotLimit looks at what a slot may hold back while its instance, or the way to it, hangs.
func slotLimit(f *facts) []Finding {
	if unknown := f.unknown(askServer); unknown != nil {
		return unknown
	}
	if f.postgres.server.WALKept < 0 {
		return warn("ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'; SELECT pg_reload_conf() -- a part of the disk that is free for it",
			"max_slot_wal_keep_size is not set: whoever may replicate can leave a slot behind that fills the server's disk")
	}
	return ok("a slot holds back %s at most (max_slot_wal_keep_size)", size(f.postgres.server.WALKept))
}

func senders(f *facts) []Finding {
	s := f.postgres.server
	return f.left(cdc.ProblemSenders, "WAL senders", "max_wal_senders", s.Senders, s.MaxSenders)
}

func (f *facts) left(problem cdc.Problem, what, setting string, taken, most int) []Finding {
	if unknown := f.unknown(askServer, askSetup); unknown != nil {
		return unknown
	}
	if found := f.problem(problem); found != nil {
		if f.mirrors() { // those that run have theirs
			found[0].Status = Warn
			found[0].Text += ", and instances run that have theirs; another one would not get one"
		}
		return found
	}
	if most-taken == 1 {
		return warn(fmt.Sprintf("ALTER SYSTEM SET %s = %d; then restart Postgres", setting, most+4), "%d of %d %s are taken: each instance needs one", taken, most, what)
	}
	return ok("%d of %d %s are taken; each instance needs one", taken, most, what)
}

// mirrors says whether instances run.
func (f *facts) mirrors() bool {
	for _, i := range f.postgres.stored.instances {
		if i.Silent <= silent {
			return true
		}
	}
	return false
}

// replicationRight also looks whether a replication connection stands: a pooler may not let it through.
func replicationRight(f *facts) []Finding {
	if unknown := f.unknown(askSetup, askServer); unknown != nil {
		return unknown
	}
	if found := f.problem(cdc.ProblemReplication); found != nil {
		return found
	}
	if err := f.postgres.identify; err != nil {
		if f.problem(cdc.ProblemSenders) != nil {
			return warn("", "%s may replicate; no connection to try it is left", f.postgres.server.Role)
		}
		return fail("give --database the address of Postgres itself, not of a pooler; and a line in pg_hba.conf", "a replication connection is refused: %s", plainly(err))
	}
	role, r := f.postgres.server.Role, f.postgres.roles
	if r.Replicator == "" {
		return ok("%s may replicate, and can", role)
	}
	var found []Finding
	if r.WriterReplicates && role != r.Replicator {
		found = append(found, warn(fmt.Sprintf("ALTER ROLE %s NOREPLICATION", quoted(role)), "%s replicates, and %s, which writes, may too: it reads every table in the log", r.Replicator, role)...)
	}
	if r.Superuser || r.MayWrite || role == r.Replicator {
		found = append(found, warn("a role of its own: CREATE ROLE firstclick_replication LOGIN REPLICATION PASSWORD '...'", "%s replicates, and may write too", r.Replicator)...)
	}
	if f.postgres.physical {
		found = append(found, warn(fmt.Sprintf("in pg_hba.conf, above other lines for replication: host replication %s all reject", r.Replicator),
			"%s may copy the whole server (pg_basebackup): pg_hba.conf lets it in for physical replication", r.Replicator)...)
	}
	if found == nil {
		return ok("%s may replicate, and can; %s may not", r.Replicator, role)
	}
	return found
}

func users(f *facts) []Finding {
	if unknown := f.unknown(askSetup); unknown != nil {
		return unknown
	}
	if f.postgres.server.Identity == "" && f.problem(cdc.ProblemTable) != nil {
		return f.absent("commerce.users")
	}
	if found := f.problem(cdc.ProblemUnfollowed); found != nil {
		found[0].Status = Warn // names are right, and cost a query
		return found
	}
	if found := f.problem(cdc.ProblemTable, cdc.ProblemColumns, cdc.ProblemSelect, cdc.ProblemIdentity); found != nil {
		return found
	}
	switch f.postgres.server.Identity {
	case "f":
		return ok("replica identity full: passwords stand in the stream, and are dropped while decoding")
	case "i":
		return ok("replica identity by an index")
	}
	return ok("replica identity by the primary key")
}

func publication(f *facts) []Finding {
	if unknown := f.unknown(askSetup, askServer); unknown != nil {
		return unknown
	}
	if found := f.problem(cdc.ProblemPublication); found != nil {
		return found
	}
	if !f.postgres.server.Published {
		return ok("%s is not there yet: the first run makes it", cdc.Publication)
	}
	return ok("%s", cdc.Publication)
}

// connections looks at every limit that a session of ours counts against. https://www.postgresql.org/docs/current/sql-createrole.html (CONNECTION LIMIT)
func connections(f *facts) []Finding {
	if unknown := f.unknown(askServer); unknown != nil {
		return unknown
	}
	s := f.postgres.server
	for _, limit := range []struct {
		of    string
		taken int
		most  int
		fix   string
	}{
		{"", s.Sessions, s.MaxSessions, fmt.Sprintf("ALTER SYSTEM SET max_connections = %d; then restart Postgres", s.MaxSessions+50)},
		{" of role " + s.Role, s.RoleSessions, s.RoleLimit, fmt.Sprintf("ALTER ROLE %s CONNECTION LIMIT %d", quoted(s.Role), s.RoleLimit+50)},
		{" of database " + s.Database, s.DatabaseSessions, s.DatabaseLimit, fmt.Sprintf("ALTER DATABASE %s CONNECTION LIMIT %d", quoted(s.Database), s.DatabaseLimit+50)},
	} {
		if limit.most >= 0 && limit.most-limit.taken < perInstance && !(limit.of != "" && s.Superuser) {
			return warn(limit.fix, "%d of %d%s are taken; an instance uses up to %d", limit.taken, limit.most, limit.of, perInstance)
		}
	}
	return ok("%d of %d are taken; an instance uses up to %d", s.Sessions, s.MaxSessions, perInstance)
}

func migrated(f *facts) []Finding {
	if unknown := f.unknown(askMigrations); unknown != nil {
		return unknown
	}
	var pending []string
	for _, m := range f.postgres.migrations {
		if m.Applied.IsZero() {
			pending = append(pending, m.File)
		}
	}
	if pending != nil {
		return warn("firstclick migrate", "%d of %d are pending: %s", len(pending), len(f.postgres.migrations), strings.Join(pending, ", "))
	}
	if dropped := f.postgres.dropped; len(dropped) > 0 {
		return fail("firstclick migrate -- makes them again, empty; rows come back from a backup alone", "all %d are applied; dropped since: %s", len(f.postgres.migrations), strings.Join(dropped, ", "))
	}
	return ok("all %d are applied", len(f.postgres.migrations))
}

// absent judges a table that is not there: before the migrations it is still to come, after them somebody has dropped it.
func (f *facts) absent(table string) []Finding {
	for _, m := range f.postgres.migrations {
		if m.Applied.IsZero() {
			return warn("firstclick migrate", "there is no table %s yet", table)
		}
	}
	return fail("firstclick migrate -- makes it again, empty", "there is no table %s any more", table)
}

// columns looks at the types of commerce.attributed_checkouts.
func columns(f *facts) []Finding {
	if unknown := f.unknown(askTarget); unknown != nil {
		return unknown
	}
	if len(f.postgres.columns) == 0 {
		return f.absent("commerce.attributed_checkouts")
	}
	if err := f.postgres.target; err != nil {
		text, fix, _ := strings.Cut(plainly(err), "run: ")
		return fail(fix, "%s", strings.TrimRight(text, "; "))
	}
	var found []Finding
	for _, c := range f.postgres.columns {
		if (c.Type == "varchar" || c.Type == "bpchar") && c.Modifier > 4 && c.Modifier-4 < 255 {
			found = append(found, warn(retype(c.Name, "varchar"), "%s is %s: a checkout with a longer text is a dead letter (refused)", c.Name, c.Shown)...)
		}
	}
	if found == nil {
		return ok("%d of commerce.attributed_checkouts, of types that fit", len(f.postgres.columns))
	}
	return found
}

func retype(name, to string) string {
	return fmt.Sprintf("ALTER TABLE commerce.attributed_checkouts ALTER COLUMN %s TYPE %s", quoted(name), to)
}

// amounts looks at what total_amount holds. The pipeline before this one declared decimal(5,2). A modifier is precision and scale, plus 4.
func amounts(f *facts) []Finding {
	if f.unknown(askTarget) != nil {
		return nil
	}
	for _, c := range f.postgres.columns {
		if c.Name != "total_amount" || c.Type != "numeric" {
			continue
		}
		if c.Modifier < 4 {
			return ok("%s holds any amount", c.Shown)
		}
		precision, scale := int(c.Modifier-4)>>16&0xffff, int(c.Modifier-4)&0x7ff
		if scale >= 1024 { // negative, since Postgres 15
			scale -= 2048
		}
		switch digits := precision - scale; {
		case digits < 7:
			return warn(retype(c.Name, "numeric(12,2)"), "total_amount is %s: checkouts of 1%s or more are refused and become dead letters", c.Shown, strings.Repeat("0", max(0, digits)))
		case scale < 2:
			return warn(retype(c.Name, "numeric(12,2)"), "total_amount is %s: amounts are rounded to %d places", c.Shown, scale)
		}
		return ok("%s", c.Shown)
	}
	return nil
}

func permissions(f *facts) []Finding {
	if unknown := f.unknown(askGrants); unknown != nil {
		return unknown
	}
	if len(f.postgres.missing) > 0 {
		return fail(strings.Join(f.postgres.missing, "; "), "%s lacks %d of the rights that a run needs", f.postgres.server.Role, len(f.postgres.missing))
	}
	return ok("%s may do what a run needs", f.postgres.server.Role)
}

// takeover looks whether we could end the sessions of the instances that run, as a takeover does (pg_terminate_backend).
func takeover(f *facts) []Finding {
	if unknown := f.unknown(askSessions); unknown != nil {
		return unknown
	}
	if len(f.postgres.foreign) > 0 {
		return fail(fmt.Sprintf("run all instances under one role, or: GRANT %s TO %s", quoted(f.postgres.foreign[0]), quoted(f.postgres.server.Role)),
			"instances run as %s, whose sessions %s may not end (pg_terminate_backend): it could not take over their shards", strings.Join(f.postgres.foreign, ", "), f.postgres.server.Role)
	}
	return ok("the sessions of other instances can be ended")
}

func postgresClock(f *facts) []Finding {
	if unknown := f.unknown(askClock); unknown != nil {
		return unknown
	}
	skew := f.postgres.skew
	text := fmt.Sprintf("%s from ours (to %s)", shown(skew.Abs()), shown(f.postgres.rtt/2+time.Microsecond))
	const fix = "chronyc tracking, here and on the server"
	switch {
	case skew.Abs() > ahead:
		return fail(fix, "%s", text)
	case skew.Abs() > drift+f.postgres.rtt/2:
		return warn(fix, "%s", text)
	}
	return ok("%s", text)
}

func postgresDisk(f *facts) []Finding {
	if unknown := f.unknown(askServer); unknown != nil {
		return unknown
	}
	s := f.postgres.server
	used := ""
	if s.Size >= 0 {
		used = "; the database takes " + size(s.Size)
	}
	err := ours(s, f.cfg.readFile)
	var d disk
	if err == nil {
		d, err = f.cfg.fileSystem(s.Directory)
	}
	switch {
	case err != nil:
		return warn("df on the server", "free disk is not visible: %s%s", plainly(err), used)
	case d.free < d.total/100*tight:
		return warn("free or add disk", "%s of %s free in %s%s", size(d.free), size(d.total), s.Directory, used)
	}
	return ok("%s of %s free%s", size(d.free), size(d.total), used)
}
