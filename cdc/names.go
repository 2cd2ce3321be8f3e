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

// readThrough asks for users, and for the snapshot and the edition that the very statement sees, which come as a row of their own, also
// when no id is a user. The insert position is read by the running statement, so after its snapshot was taken: whatever the
// snapshot sees was written before it.
const readThrough = `SELECT NULL, NULL, pg_current_snapshot()::text, pg_current_wal_insert_lsn()::text, (` + EditionSQL + `)
	UNION ALL SELECT id::int, ` + UsernameSQL + `, NULL, NULL, NULL FROM commerce.users WHERE id = ANY ($1::int[])`

// UsernameSQL is a username as the stream has it: what the type's output function gives (a cast of char(n) would trim it). It stays of
// type text when the column's type changes, which a prepared statement does not survive. Whoever reads names of users says it this way,
// so that a row has the same name by whichever way it came.
const UsernameSQL = "CASE WHEN username IS NOT NULL THEN pg_catalog.concat(username) END"

// hooks let a test stop the mirror where an unlucky schedule would.
type hooks struct {
	answered   func()           // a read-through has its rows and has not offered them to the cache
	streamed   func(raw []byte) // a replication message, before it is decoded
	preloading func()           // the stream stands and no user has been preloaded
}

// found is the answer of a read-through.
type found struct {
	users   []user
	snap    *snapshot
	edition string
}

// Names sets names[id] for each id of ids that is a user; unknown ids are left as they are. Ids that are not cached are asked
// of Postgres in one query; no query is made when all are cached. The names are at least as new as what Postgres showed when
// Names was called, except that a cached one may lag behind by what the stream does (Stats); while no stream stands, all are
// read through. names may then hold some ids although an error is returned, which is that of the query.
//
// All names are of one edition of commerce.users, which is returned. DDL makes no noise in the stream: whoever uses the names asks
// EditionSQL for that of the moment, and calls Outdated and then Names again where it is another. While the table cannot be read at
// all (it was dropped, a column was renamed, a right was taken), nobody is known, and the edition is empty: there is nothing to compare.
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
	if cache != nil && got.edition != cache.edition {
		// What was cached is of the table before.
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
	// Only into the cache that stood before the query began: its slot brings what the query's snapshot did not see.
	if cache != nil && cache == m.cache {
		cache.fill(got.snap, got.users)
	}
	return got.edition, nil
}

// lookUp takes what is cached. Without misses the cache is not nil.
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

// unreadable judges what Postgres said to a read-through. That the table as it stands now cannot be asked is no error of the caller's: it
// knows nobody until it can.
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
		m.logger.Warn("users cannot be read: rows are written without names, which are filled in when they can", "cause", pgErr.Message)
	}
	return "", nil
}

// read asks for the users with these ids.
func (m *Mirror) read(ctx context.Context, ids []int32) (got found, err error) {
	m.mu.Lock()
	m.stats.ReadThroughQueries++
	m.mu.Unlock()
	ids = slices.Clone(ids)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	rows, err := m.pool.Query(ctx, readThrough, ids)
	if err != nil {
		return got, err
	}
	defer rows.Close()
	var (
		id                 *int32
		name               *string
		text, lsn, edition *string
	)
	got.users = make([]user, 0, len(ids))
	for rows.Next() {
		if err := rows.Scan(&id, &name, &text, &lsn, &edition); err != nil {
			return got, err
		}
		if text == nil {
			if id != nil && name != nil { // a user without a name is an unknown one
				got.users = append(got.users, user{id: *id, name: *name})
			}
			continue
		}
		if got.snap, err = parseSnapshot(*text); err != nil {
			return got, err
		}
		position, err := pglogrepl.ParseLSN(*lsn)
		if err != nil {
			return got, fmt.Errorf("parse insert position: %w", err)
		}
		got.snap.lsn, got.edition = uint64(position), *edition
	}
	if err := rows.Err(); err != nil {
		return got, err
	}
	if got.snap == nil {
		return got, pgx.ErrNoRows
	}
	return got, nil
}
