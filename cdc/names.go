package cdc

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
)

// readThrough asks for users and for the snapshot that the very statement sees, which comes as a row of its own, also when no
// id is a user. The insert position is read by the running statement, so after its snapshot was taken: whatever the snapshot
// sees was written before it.
const readThrough = `SELECT NULL, NULL, pg_current_snapshot()::text, pg_current_wal_insert_lsn()::text
	UNION ALL SELECT id::int, ` + usernameText + `, NULL, NULL FROM commerce.users WHERE id = ANY ($1::int[])`

// usernameText is the username as the stream has it: what the type's output function gives (a cast of char(n) would trim it). It
// stays of type text when the column's type changes, which a prepared statement does not survive.
const usernameText = "CASE WHEN username IS NOT NULL THEN concat(username) END"

// hooks let a test stop the mirror where an unlucky schedule would.
type hooks struct {
	answered   func()           // a read-through has its rows and has not offered them to the cache
	streamed   func(raw []byte) // a replication message, before it is decoded
	preloading func()           // the stream stands and no user has been preloaded
}

// Names sets names[id] for each id of ids that is a user; unknown ids are left as they are. Ids that are not cached are asked
// of Postgres in one query; no query is made when all are cached. The names are at least as new as what Postgres showed when
// Names was called, except that a cached one may lag behind by what the stream does (Stats); while no stream stands, all are
// read through. names may then hold some ids although an error is returned, which is that of the query.
func (m *Mirror) Names(ctx context.Context, ids []int32, names map[int32]string) error {
	if len(ids) == 0 {
		return nil
	}
	var misses []int32
	m.mu.Lock()
	cache := m.cache
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
	m.mu.Unlock()
	if len(misses) == 0 {
		return nil
	}
	slices.Sort(misses)
	users, snap, err := m.read(ctx, slices.Compact(misses))
	if err != nil {
		return fmt.Errorf("read users: %w", err)
	}
	if m.hooks.answered != nil {
		m.hooks.answered()
	}
	for _, u := range users {
		names[u.id] = u.name
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats.ReadThroughQueries++
	m.stats.ReadThroughRows += uint64(len(users))
	m.stats.ServerLSN = max(m.stats.ServerLSN, snap.lsn)
	// Only into the cache that stood before the query began: its slot brings what the query's snapshot did not see.
	if cache != nil && cache == m.cache {
		cache.fill(snap, users)
	}
	return nil
}

// read asks for the users with these ids.
func (m *Mirror) read(ctx context.Context, ids []int32) ([]user, *snapshot, error) {
	rows, err := m.pool.Query(ctx, readThrough, ids)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	var (
		users     = make([]user, 0, len(ids))
		snap      *snapshot
		id        *int32
		name      *string
		text, lsn *string
	)
	for rows.Next() {
		if err := rows.Scan(&id, &name, &text, &lsn); err != nil {
			return nil, nil, err
		}
		if text == nil {
			if id != nil && name != nil { // a user without a name is an unknown one
				users = append(users, user{id: *id, name: *name})
			}
			continue
		}
		if snap, err = parseSnapshot(*text); err != nil {
			return nil, nil, err
		}
		position, err := pglogrepl.ParseLSN(*lsn)
		if err != nil {
			return nil, nil, fmt.Errorf("parse insert position: %w", err)
		}
		snap.lsn = uint64(position)
	}
	if err := rows.Err(); err != nil {
		return nil, nil, err
	}
	if snap == nil {
		return nil, nil, pgx.ErrNoRows
	}
	return users, snap, nil
}
