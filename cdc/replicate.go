package cdc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// errAltered ends a stream whose names may no longer be those of the table.
var errAltered = &SchemaError{Reason: "it was altered or replaced, or is published otherwise"}

// replicate runs one replication stream, with its connections, publication, slot and snapshot. up
// says that the stream was up. It returns when the stream is lost. Then everything that was cached
// under it is forgotten and its goroutines have ended. err is never nil.
func (m *Mirror) replicate(ctx context.Context) (up bool, err error) {
	side, err := m.connectSide(ctx)
	if err != nil {
		return false, fmt.Errorf("connect to Postgres: %w", err)
	}
	defer closeConn(side.PgConn())
	if err := EnsurePublication(ctx, side); err != nil {
		return false, err
	}
	if err := errIfSlotWaits(ctx, side); err != nil {
		return false, err
	}
	replication, received, err := m.connectReplication(ctx)
	if err != nil {
		return false, m.withProblems(ctx, side, fmt.Errorf("connect for replication: %w", err))
	}
	defer closeReplication(replication)
	defer received.wipe()
	slot, err := m.createSlot(ctx, replication)
	if err != nil {
		return false, m.withProblems(ctx, side, fmt.Errorf("create replication slot: %w", err))
	}
	exported, edition, err := importSnapshot(ctx, side, slot.SnapshotName)
	if err != nil {
		return false, err
	}
	consistent, err := pglogrepl.ParseLSN(slot.ConsistentPoint)
	if err != nil {
		return false, fmt.Errorf("parse consistent point: %w", err)
	}
	// The second connection holds the snapshot now, so the first one may go on.
	err = pglogrepl.StartReplication(ctx, replication, slot.SlotName, consistent, pglogrepl.StartReplicationOptions{
		Mode: pglogrepl.LogicalReplication,
		// Version 1: a transaction is sent whole after its commit, never in progress.
		PluginArgs: []string{"proto_version '1'", "publication_names '" + Publication + "'"},
	})
	if err != nil {
		return false, fmt.Errorf("start replication: %w", err)
	}
	cache, err := newCache(m.cfg.CacheSize, m.tuning.ringSize, exported, uint64(consistent))
	if err != nil {
		return false, err
	}
	cache.edition = edition
	m.attach(cache)
	defer m.detach(cache)

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer m.detach(cache) // at once: nothing is answered from the cache of a lost stream
		s := &stream{m: m, conn: replication, cache: cache, decoder: newDecoder()}
		return s.run(ctx)
	})
	group.Go(func() error {
		if err := m.preload(ctx, side, cache, exported); err != nil {
			return err
		}
		return m.watch(ctx, side, edition)
	})
	group.Go(func() error {
		select {
		case <-cache.outdated:
			return errAltered
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return true, group.Wait()
}

// importSnapshot begins the transaction in which preload reads. It returns the transaction's
// snapshot and the edition that it sees. The table may have changed since it was published, so it
// is checked again.
func importSnapshot(ctx context.Context, conn *pgx.Conn, name string) (*snapshot, string, error) {
	if _, err := conn.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
		return nil, "", fmt.Errorf("begin preload: %w", err)
	}
	// The statement takes no parameters. The name is the server's own: hexadecimal and dashes.
	if _, err := conn.Exec(ctx, "SET TRANSACTION SNAPSHOT '"+name+"'"); err != nil {
		return nil, "", fmt.Errorf("import exported snapshot: %w", err)
	}
	var text, edition string
	if err := conn.QueryRow(ctx, "SELECT pg_current_snapshot()::text, ("+EditionSQL+")").Scan(&text,
		&edition); err != nil {
		return nil, "", fmt.Errorf("read exported snapshot and edition of commerce.users: %w", err)
	}
	exported, err := parseSnapshot(text)
	if err != nil {
		return nil, "", err
	}
	return exported, edition, checkPublished(ctx, conn)
}

// preloadChunk is how many users are offered to the cache under one hold of its lock.
const preloadChunk = 512

// preload fills the cache with the newest users while the stream already runs. The rule of fills
// refuses what the stream has overtaken. Users that were read through meanwhile are not evicted.
func (m *Mirror) preload(ctx context.Context, conn *pgx.Conn, cache *cache, exported *snapshot) error {
	if m.hooks.preloading != nil {
		m.hooks.preloading()
	}
	began := time.Now()
	// An error of Query comes with the rows.
	rows, _ := conn.Query(ctx, "SELECT id::int, "+UsernameSQL+` FROM commerce.users
		WHERE id BETWEEN -2147483648 AND 2147483647 ORDER BY id DESC LIMIT $1`, m.cfg.CacheSize)
	// The exported snapshot sees nothing of what the slot streams, so its entries take every
	// change.
	from := *exported
	from.lsn = 0
	chunk := make([]user, 0, preloadChunk)
	offer := func() (entries int) {
		m.mu.Lock()
		defer m.mu.Unlock()
		room := max(0, cache.capacity-cache.len())
		cache.fill(&from, chunk[:min(len(chunk), room)])
		chunk = chunk[:0]
		return cache.len()
	}
	var id int32
	var name *string
	_, err := pgx.ForEachRow(rows, []any{&id, &name}, func() error {
		if name != nil {
			chunk = append(chunk, user{id: id, name: *name})
		}
		if len(chunk) == cap(chunk) {
			offer()
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("preload users: %w", err)
	}
	entries := offer()
	if _, err := conn.Exec(ctx, "COMMIT"); err != nil {
		return fmt.Errorf("end preload: %w", err)
	}
	m.logger.Info("users mirror stands", "users", entries, "took_seconds", time.Since(began).Seconds())
	if m.cfg.OnSnapshot != nil {
		m.cfg.OnSnapshot()
	}
	return nil
}

// watch checks now and then whether the table and its publication are those that the stream began
// with. Writers of names compare editions themselves. This is for a mirror whose names nobody
// writes, and for what is not part of an edition: a dropped index of the replica identity.
func (m *Mirror) watch(ctx context.Context, conn *pgx.Conn, edition string) error {
	for sleep(ctx, m.tuning.watch) {
		if err := checkPublished(ctx, conn); err != nil {
			return err
		}
		var now, text string
		err := conn.QueryRow(ctx, "SELECT pg_current_wal_lsn()::text, ("+EditionSQL+")").Scan(&text, &now)
		if err != nil {
			return fmt.Errorf("read server's position and edition of commerce.users: %w", err)
		}
		if now != edition {
			return errAltered
		}
		position, err := pglogrepl.ParseLSN(text)
		if err != nil {
			return fmt.Errorf("parse server's position: %w", err)
		}
		m.mu.Lock()
		m.stats.ServerLSN = max(m.stats.ServerLSN, uint64(position))
		m.mu.Unlock()
	}
	return ctx.Err()
}

func (m *Mirror) attach(cache *cache) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cache = cache
	m.stats.Snapshots++
	m.stats.LastLSN = cache.position
	m.stats.LastMessageTime = time.Now()
}

// detach forgets the cache if it is still the current one. Its counters stay.
func (m *Mirror) detach(cache *cache) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(cache)
}

// forget is detach for a caller that holds m.mu.
func (m *Mirror) forget(cache *cache) {
	if m.cache == cache && cache != nil {
		m.stats.add(cache)
		m.cache = nil
	}
}

// withProblems joins to err what Check finds, so that the operator sees what to do.
func (m *Mirror) withProblems(ctx context.Context, conn *pgx.Conn, err error) error {
	problems, checkErr := Check(ctx, conn, Role(m.cfg.Replication))
	for _, p := range problems {
		err = errors.Join(err, p)
	}
	return errors.Join(err, checkErr)
}
