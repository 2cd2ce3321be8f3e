package cdc

// EditionSQL selects the edition of commerce.users. An edition is a text that changes with
// everything that may change names without a row change in the stream: the table that has the name,
// its columns id and username (a rename, another type, USING), its file (a rewrite), its children,
// row security, and what is published of it. It never comes back, because the xmin of a catalog's
// row changes with every change of the row. The query reads only catalogs, and answers while there
// is no table.
//
// The stream carries no DDL, and sends a relation again only before its next row. So whoever writes
// names reads the edition in the transaction that writes them. If it equals that of the names, no
// DDL committed before has touched them.
const EditionSQL = `SELECT concat_ws(' ',
	(SELECT concat_ws(' ', c.oid, c.xmin, c.relfilenode, row_security_active(c.oid),
			EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid),
			(SELECT string_agg(concat_ws('.', a.attnum, a.xmin), ' ' ORDER BY a.attname)
			 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname IN ('id', 'username')),
			(SELECT concat_ws('.', r.oid, r.xmin) FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid
			 WHERE p.pubname = '` + Publication + `' AND r.prrelid = c.oid))
	 FROM pg_class c
	 WHERE c.relname = 'users' AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'commerce')),
	(SELECT concat_ws('.', p.oid, p.xmin) FROM pg_publication p WHERE p.pubname = '` + Publication + `'))`

// Outdated tells the mirror that the table is no longer of the edition that Names returned. The
// mirror forgets at once what it cached under it, and begins a new stream.
func (m *Mirror) Outdated(edition string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cache != nil && m.cache.edition == edition {
		m.outdate(m.cache)
	}
}

// outdate forgets the cache and ends its stream, if it is still the current one. The caller holds
// m.mu.
func (m *Mirror) outdate(cache *cache) {
	if cache != nil && m.cache == cache {
		m.forget(cache)
		close(cache.outdated)
	}
}
