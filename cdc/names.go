package cdc

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// readThrough selects users. A row of its own, which comes also if no id is a user, has the
// snapshot and the edition that the statement itself sees. The running statement reads the insert
// position, so after its snapshot was taken: what the snapshot sees was written before that
// position.
const readThrough = `SELECT NULL::int, NULL::text, pg_current_snapshot()::text, pg_current_wal_insert_lsn()::text, (` +
	EditionSQL + `)
	UNION ALL SELECT id::int, ` + UsernameSQL + `, NULL, NULL, NULL FROM commerce.users WHERE id = ANY ($1::int[])`

// UsernameSQL is a username as the stream has it: the output of the type's output function (a cast
// of char(n) would trim it). It stays of type text when the column's type changes, which a prepared
// statement does not survive otherwise. All readers of names use it, so that a row has the same
// name whichever way it came.
const UsernameSQL = "CASE WHEN username IS NOT NULL THEN pg_catalog.concat(username) END"

// Names sets names[id] for each id of ids that is a user. Unknown ids are left as they are. One
// query reads the ids that are not cached; if all are cached there is none. The names are at least
// as new as what Postgres showed when Names was called, but a cached one may lag as far behind as
// the stream (Stats). While no stream is up, all are read through. If the query fails, its error
// is returned and names may hold some ids.
//
// All names are of one edition of commerce.users, which is returned. Whoever uses the names reads
// EditionSQL again, and calls Outdated and then Names if it differs. While the table cannot be read
// (it was dropped, a column was renamed, a right was taken), nobody is known, and the edition is
// empty: there is nothing to compare.
func (m *Mirror) Names(ctx context.Context, ids []int32, names map[int32]string) (edition string, err error) {
	if len(ids) == 0 {
		return "", nil
	}
	cache, misses := m.lookUp(ids, names)
	if len(misses) == 0 {
		return cache.edition, nil
	}
	got, err := m.read(ctx, misses)
	if err != nil {
		return m.unreadable(cache, names, err)
	}
	if cache != nil && got.edition != cache.edition { // the cached names are of the edition before
		m.Outdated(cache.edition)
		clear(names)
		cache = nil
		if got, err = m.read(ctx, ids); err != nil {
			return m.unreadable(nil, names, err)
		}
	}
	if m.hooks.answered != nil {
		m.hooks.answered()
	}
	for _, u := range got.users {
		names[u.id] = u.name
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unread = ""
	m.stats.ReadThroughRows += uint64(len(got.users))
	m.stats.ServerLSN = max(m.stats.ServerLSN, got.snap.lsn)
	// Only into the cache that existed before the query began: its slot brings what the query's
	// snapshot did not see.
	if cache != nil && cache == m.cache {
		cache.fill(got.snap, got.users)
	}
	return got.edition, nil
}

// lookUp sets the cached names and returns the other ids. If there are none, the cache is not nil.
func (m *Mirror) lookUp(ids []int32, names map[int32]string) (cache *cache, misses []int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	cache = m.cache
	for _, id := range ids {
		if cache != nil {
			if name, ok := cache.get(id); ok {
				names[id] = name
				continue
			}
		}
		misses = append(misses, id)
	}
	m.stats.Hits += uint64(len(ids) - len(misses))
	m.stats.Misses += uint64(len(misses))
	return cache, misses
}

// unreadable handles the error of a read-through. If the table cannot be queried now, that
// is no error of the caller's: nobody is known until it can.
func (m *Mirror) unreadable(cache *cache, names map[int32]string, err error) (string, error) {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code[:2] != "42" && pgErr.Code != "3F000" { // access rule violation; no schema
		return "", fmt.Errorf("read users: %w", err)
	}
	clear(names)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outdate(cache)
	if m.unread != pgErr.Message {
		m.unread = pgErr.Message
		m.logger.Warn("users cannot be read: rows are written without names, which are filled in when they can",
			"cause", pgErr.Message)
	}
	return "", nil
}

// found is the answer of a read-through.
type found struct {
	users   []user
	snap    *snapshot
	edition string
}

func (m *Mirror) read(ctx context.Context, ids []int32) (got found, err error) {
	m.mu.Lock()
	m.stats.ReadThroughQueries++
	m.mu.Unlock()
	ids = slices.Clone(ids)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	rows, _ := m.pool.Query(ctx, readThrough, ids) // its error comes with the rows
	var (
		id                 *int32
		name               *string
		text, lsn, edition *string
	)
	got.users = make([]user, 0, len(ids))
	_, err = pgx.ForEachRow(rows, []any{&id, &name, &text, &lsn, &edition}, func() (err error) {
		if text == nil {
			if id != nil && name != nil { // a user without a name is an unknown one
				got.users = append(got.users, user{id: *id, name: *name})
			}
			return nil
		}
		if got.snap, err = parseSnapshot(*text); err != nil {
			return err
		}
		position, err := pglogrepl.ParseLSN(*lsn)
		if err != nil {
			return fmt.Errorf("parse insert position: %w", err)
		}
		got.snap.lsn, got.edition = uint64(position), *edition
		return nil
	})
	if err == nil && got.snap == nil {
		err = pgx.ErrNoRows
	}
	return got, err
}
