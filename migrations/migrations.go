package migrations

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"firstclick/internal/pgsession"
)

//go:embed *.sql
var files embed.FS

// FS returns the SQL files.
func FS() embed.FS { return files }

const (
	versionTable = "firstclick.schema_version"
	application  = "firstclick migrate"

	// lockKey is our session advisory lock, one per database: the bytes "firstcli".
	// https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
	lockKey int64 = 0x6669727374636c69
)

// FileStatus says whether a database has one SQL file.
type FileStatus struct {
	Version int64
	File    string
	Applied time.Time // zero: not applied
}

// Up brings the database up to the newest version. It waits while another instance does the same.
// The logger may be nil.
func Up(ctx context.Context, dsn string, logger *slog.Logger) (err error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	unlock, err := lock(ctx, dsn, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	provider, err := open(dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, provider.Close()) }()
	results, err := provider.Up(ctx)
	for _, r := range results {
		logger.InfoContext(ctx, "migration applied",
			"version", r.Source.Version, "file", r.Source.Path, "duration", r.Duration)
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "42501" { // insufficient_privilege
		return fmt.Errorf("migrate the database: %w; this role may not change the tables: "+
			"run firstclick migrate as their owner", err)
	}
	if err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	return nil
}

// Status says for each SQL file, in order, whether the database has it. It changes nothing, also in
// a database that was never migrated.
func Status(ctx context.Context, dsn string) (statuses []FileStatus, err error) {
	conn, err := pgsession.Connect(ctx, dsn, application)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	var known bool
	err = conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", versionTable).Scan(&known)
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		return nil, fmt.Errorf("look for %s: %w", versionTable, err)
	}
	provider, err := open(dsn)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, provider.Close()) }()
	if !known { // goose would make its table
		for _, s := range provider.ListSources() {
			statuses = append(statuses, FileStatus{Version: s.Version, File: s.Path})
		}
		return statuses, nil
	}
	found, err := provider.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the schema version: %w", err)
	}
	for _, f := range found {
		statuses = append(statuses, FileStatus{Version: f.Source.Version, File: f.Source.Path, Applied: f.AppliedAt})
	}
	return statuses, nil
}

func open(dsn string) (*goose.Provider, error) {
	config, err := pgsession.Config(dsn, application)
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %w", err)
	}
	db := stdlib.OpenDB(*config)
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the migrations: %w", err), db.Close())
	}
	return provider, nil
}

// lock takes the advisory lock on its own connection, and creates the schema of the version table
// under it: two instances at once would meet a unique violation, even with IF NOT EXISTS. goose's
// own session lock is not used: goose takes it after that, tries only every few seconds, and reads
// what is pending before it.
func lock(ctx context.Context, dsn string, logger *slog.Logger) (unlock func() error, err error) {
	conn, err := pgsession.Connect(ctx, dsn, application)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	var taken bool
	if err = conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", lockKey).Scan(&taken); err == nil && !taken {
		logger.InfoContext(ctx, "waiting for another instance that migrates the database")
		_, err = conn.Exec(ctx, "SELECT pg_advisory_lock($1)", lockKey)
	}
	var known bool
	if err == nil {
		err = conn.QueryRow(ctx, "SELECT to_regnamespace('firstclick') IS NOT NULL").Scan(&known)
	}
	if err == nil && !known { // IF NOT EXISTS needs the right to create one even if it exists
		_, err = conn.Exec(ctx, "CREATE SCHEMA firstclick")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("take the migration lock: %w", err), conn.Close(context.WithoutCancel(ctx)))
	}
	return func() error {
		// The lock ends with its session. Closing must not hang on a server that is gone.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := conn.Close(ctx); err != nil {
			return fmt.Errorf("release the migration lock: %w", err)
		}
		return nil
	}, nil
}
