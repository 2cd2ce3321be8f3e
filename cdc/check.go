package cdc

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"firstclick/internal/pgsession"
)

// Problem names what stands in the way of replication. The words are stable.
type Problem string

// What EnsurePublication, Check and the mirror find.
const (
	ProblemVersion     Problem = "version"     // the server is older than 13
	ProblemStandby     Problem = "standby"     // the server is a standby; publications need the primary
	ProblemWALLevel    Problem = "wal_level"   // wal_level is not logical
	ProblemReplication Problem = "replication" // the role may not replicate
	ProblemSlots       Problem = "slots"       // every replication slot is taken
	ProblemSenders     Problem = "senders"     // every WAL sender is taken
	ProblemTable       Problem = "table"       // no table commerce.users
	ProblemColumns     Problem = "columns"     // it lacks id or username, or id is no integer
	ProblemSelect      Problem = "select"      // the role may not read them
	ProblemIdentity    Problem = "identity"    // the table has no replica identity, or one without the id
	ProblemUnfollowed  Problem = "unfollowed"  // the stream would miss changes of names: they are read through
	ProblemPublication Problem = "publication" // the publication does not fit and the role may not mend it
)

// SetupError says what stands in the way of replication, and what mends it.
type SetupError struct {
	Problem Problem
	What    string // what is wrong
	Mend    string // the SQL or the setting that mends it
	Err     error  // what Postgres said, if it was asked; may be nil
}

func (e *SetupError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s (%v); to mend it: %s", e.What, e.Err, e.Mend)
	}
	return fmt.Sprintf("%s; to mend it: %s", e.What, e.Mend)
}

func (e *SetupError) Unwrap() error { return e.Err }

// Check returns what stands in the way of the mirror's replication. It changes nothing. A role that
// may not create the publication is no problem while one that fits exists. replicator is the role
// that replicates; empty: that of conn. The error is what Postgres answered to a query.
func Check(ctx context.Context, conn *pgx.Conn, replicator string) ([]*SetupError, error) {
	problems, err := checkServer(ctx, conn, replicator)
	if err != nil {
		return nil, err
	}
	table, err := describeUsers(ctx, conn)
	if err != nil {
		return nil, err
	}
	if problem := table.problem(); problem != nil {
		return append(problems, problem), nil
	}
	have, err := describePublication(ctx, conn, table)
	if err != nil {
		return nil, err
	}
	if statements := table.publish(have); len(statements) > 0 {
		var may bool
		err := conn.QueryRow(ctx, "SELECT has_database_privilege(current_database(), 'CREATE')").Scan(&may)
		if err != nil {
			return nil, fmt.Errorf("read database privilege: %w", err)
		}
		if !may || !table.owned || have.exists && !have.owned {
			problems = append(problems, &SetupError{ProblemPublication,
				"there is no publication " + Publication + " that fits commerce.users and this role may not make one",
				"run as a superuser or the table's owner: " + strings.Join(statements, "; "), nil})
		}
	}
	return problems, nil
}

// CheckStart joins what Check finds for a run that begins. A table that cannot be mirrored does not
// keep it from beginning: its names are read through, and the mirror says why.
func CheckStart(ctx context.Context, conn *pgx.Conn, replicator string) error {
	problems, err := Check(ctx, conn, replicator)
	for _, p := range problems {
		if p.Problem != ProblemUnfollowed {
			err = errors.Join(err, p)
		}
	}
	return err
}

// Role is the role of a connection string; empty if there is none, or one that cannot be read.
func Role(dsn string) string {
	if dsn == "" {
		return ""
	}
	config, err := pgsession.Config(dsn, "")
	if err != nil {
		return ""
	}
	return config.User
}

func checkServer(ctx context.Context, conn *pgx.Conn, replicator string) (problems []*SetupError, err error) {
	var (
		version, slots, maxSlots, senders, maxSenders int
		standby, replicates                           bool
		walLevel, role                                string
		idle                                          []string
	)
	// Amazon RDS gives the right by membership in rds_replication instead of the attribute.
	err = conn.QueryRow(ctx, `
		SELECT current_setting('server_version_num')::int, pg_is_in_recovery(), current_setting('wal_level'), r.role,
			coalesce((SELECT m.rolreplication OR m.rolsuper OR EXISTS (SELECT FROM pg_roles d
				WHERE d.rolname = 'rds_replication' AND pg_has_role(m.oid, d.oid, 'MEMBER'))
				FROM pg_roles m WHERE m.rolname = r.role), false),
			(SELECT count(*) FROM pg_replication_slots), current_setting('max_replication_slots')::int,
			(SELECT count(*) FROM pg_stat_replication), current_setting('max_wal_senders')::int,
			ARRAY(SELECT slot_name::text FROM pg_replication_slots WHERE NOT active ORDER BY 1 LIMIT 3)
		FROM (SELECT coalesce(nullif($1, ''), current_user::text) AS role) r`, replicator,
	).Scan(&version, &standby, &walLevel, &role, &replicates, &slots, &maxSlots, &senders, &maxSenders, &idle)
	if err != nil {
		return nil, fmt.Errorf("read replication settings: %w", err)
	}
	add := func(problem Problem, mend, what string, args ...any) {
		problems = append(problems, &SetupError{problem, fmt.Sprintf(what, args...), mend, nil})
	}
	if version < 130000 {
		add(ProblemVersion, "upgrade Postgres", "the server's version is %d, the users mirror needs Postgres 13",
			version/10000)
	}
	if standby {
		add(ProblemStandby, "give --database the address of the primary", "the server is a standby")
	}
	if walLevel != "logical" {
		add(ProblemWALLevel, "ALTER SYSTEM SET wal_level = logical; then restart Postgres",
			"wal_level is %s, not logical", walLevel)
	}
	if !replicates {
		add(ProblemReplication,
			fmt.Sprintf("ALTER ROLE %s REPLICATION; -- on Amazon RDS: GRANT rds_replication TO %[1]s",
				pgx.Identifier{role}.Sanitize()), "the role %s may not replicate", role)
	}
	if slots >= maxSlots {
		mend := fmt.Sprintf("ALTER SYSTEM SET max_replication_slots = %d; then restart Postgres", maxSlots+4)
		for _, name := range idle {
			mend += fmt.Sprintf("; or, if nobody needs it: SELECT pg_drop_replication_slot('%s')", name)
		}
		add(ProblemSlots, mend, "all %d replication slots are taken", maxSlots)
	}
	if senders >= maxSenders {
		add(ProblemSenders, fmt.Sprintf("ALTER SYSTEM SET max_wal_senders = %d; then restart Postgres", maxSenders+4),
			"all %d WAL senders are taken", maxSenders)
	}
	return problems, nil
}
