package cdc

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// EditionSQL asks which edition of commerce.users stands: one text, which is another one after anything that may change names
// without a row change in the stream. That is the table that has the name, its columns id and username (a rename, another type,
// USING), its file (a rewrite), its children, row security, and what is published of it. The xmin of a catalog's row changes
// with every change of it, so an edition never comes back. It asks nothing but catalogs and answers while there is no table.
//
// The stream carries no DDL, and sends a relation anew only with its next row. So whoever writes names asks for the edition in the
// transaction that writes them: equal to that of the names, no DDL committed before has touched them.
const EditionSQL = `SELECT concat_ws(' ',
	(SELECT concat_ws(' ', c.oid, c.xmin, c.relfilenode, row_security_active(c.oid),
			EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid),
			(SELECT string_agg(concat_ws('.', a.attnum, a.xmin), ' ' ORDER BY a.attname)
			 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname IN ('id', 'username')),
			(SELECT concat_ws('.', r.oid, r.xmin) FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid
			 WHERE p.pubname = '` + Publication + `' AND r.prrelid = c.oid))
	 FROM pg_class c WHERE c.relname = 'users' AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'commerce')),
	(SELECT concat_ws('.', p.oid, p.xmin) FROM pg_publication p WHERE p.pubname = '` + Publication + `'))`

func readEdition(ctx context.Context, conn *pgx.Conn) (edition string, err error) {
	if err := conn.QueryRow(ctx, EditionSQL).Scan(&edition); err != nil {
		return "", fmt.Errorf("read edition of commerce.users: %w", err)
	}
	return edition, nil
}

// Outdated tells the mirror that the table is of another edition than the names that Names gave with this one. What is cached
// under it is forgotten at once, and a new snapshot is taken.
func (m *Mirror) Outdated(edition string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cache != nil && m.cache.edition == edition {
		m.outdate(m.cache)
	}
}

// outdate forgets the cache, if it is still this one, and ends its session. m.mu is held.
func (m *Mirror) outdate(cache *cache) {
	if cache == nil || m.cache != cache {
		return
	}
	m.forget(cache)
	close(cache.outdated)
}
