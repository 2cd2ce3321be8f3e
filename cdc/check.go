package cdc

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"firstclick/internal/pgsession"
)

// Check returns what stands in the way of the mirror's replication. It changes nothing. A role that may not
// create the publication is no problem while one that fits exists. replicator is the role that replicates;
// empty: that of conn. An error is what Postgres answered to a query.
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
	if statements := table.mend(have); len(statements) > 0 {
		var may bool
		err := conn.QueryRow(ctx, "SELECT has_database_privilege(current_database(), 'CREATE')").Scan(&may)
		if err != nil {
			return nil, fmt.Errorf("read database privilege: %w", err)
		}
		if !may || !table.owned || have.exists && !have.owned {
			problems = append(problems, &SetupError{
				Problem: ProblemPublication,
				What:    fmt.Sprintf("there is no publication %s that fits commerce.users and this role may not make one", Publication),
				Mend:    "run as a superuser or the table's owner: " + strings.Join(statements, "; "),
			})
		}
	}
	return problems, nil
}

// CheckStart joins what Check finds for a run that begins. A table that cannot be mirrored does not keep it
// from beginning: its names are read through, and the mirror says why.
func CheckStart(ctx context.Context, conn *pgx.Conn, replicator string) error {
	problems, err := Check(ctx, conn, replicator)
	for _, p := range problems {
		if p.Problem != ProblemUnfollowed {
			err = errors.Join(err, p)
		}
	}
	return err
}

// Role is the role of a connection string; empty where there is none, or one that cannot be read.
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
		       coalesce((SELECT m.rolreplication OR m.rolsuper
		           OR EXISTS (SELECT FROM pg_roles d WHERE d.rolname = 'rds_replication' AND pg_has_role(m.oid, d.oid, 'MEMBER')) FROM pg_roles m WHERE m.rolname = r.role), false),
		       (SELECT count(*) FROM pg_replication_slots), current_setting('max_replication_slots')::int,
		       (SELECT count(*) FROM pg_stat_replication), current_setting('max_wal_senders')::int,
		       ARRAY(SELECT slot_name::text FROM pg_replication_slots WHERE NOT active ORDER BY 1 LIMIT 3)
		FROM (SELECT coalesce(nullif($1, ''), current_user::text) AS role) r`, replicator,
	).Scan(&version, &standby, &walLevel, &role, &replicates, &slots, &maxSlots, &senders, &maxSenders, &idle)
	if err != nil {
		return nil, fmt.Errorf("read replication settings: %w", err)
	}
	add := func(problem Problem, what, mend string) {
		problems = append(problems, &SetupError{Problem: problem, What: what, Mend: mend})
	}
	if version < 130000 {
		add(ProblemVersion, fmt.Sprintf("the server's version is %d, the users mirror needs Postgres 13", version/10000), "upgrade Postgres")
	}
	if standby {
		add(ProblemStandby, "the server is a standby", "give --database the address of the primary")
	}
	if walLevel != "logical" {
		add(ProblemWALLevel, fmt.Sprintf("wal_level is %s, not logical", walLevel), "ALTER SYSTEM SET wal_level = logical; then restart Postgres")
	}
	if !replicates {
		add(ProblemReplication, fmt.Sprintf("the role %s may not replicate", role),
			fmt.Sprintf("ALTER ROLE %s REPLICATION; -- on Amazon RDS: GRANT rds_replication TO %[1]s", pgx.Identifier{role}.Sanitize()))
	}
	if slots >= maxSlots {
		mend := fmt.Sprintf("ALTER SYSTEM SET max_replication_slots = %d; then restart Postgres", maxSlots+4)
		for _, name := range idle {
			mend += fmt.Sprintf("; or, if nobody needs it: SELECT pg_drop_replication_slot('%s')", name)
		}
		add(ProblemSlots, fmt.Sprintf("all %d replication slots are taken", maxSlots), mend)
	}
	if senders >= maxSenders {
		add(ProblemSenders, fmt.Sprintf("all %d WAL senders are taken", maxSenders),
			fmt.Sprintf("ALTER SYSTEM SET max_wal_senders = %d; then restart Postgres", maxSenders+4))
	}
	return problems, nil
}
