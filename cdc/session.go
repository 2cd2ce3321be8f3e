package cdc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"strconv"
	"time"

	"firstclick/internal/pgsession"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"golang.org/x/sync/errgroup"
)

// session is one life of the mirror: connections, publication, slot, snapshot, stream. stood says that a stream stood. It returns
// when that is lost, with everything that was cached under it forgotten and its goroutines ended; err is never nil.
func (m *Mirror) session(ctx context.Context) (stood bool, err error) {
	side, err := m.connectSide(ctx)
	if err != nil {
		return false, fmt.Errorf("connect to Postgres: %w", err)
	}
	defer closeConn(side.PgConn())
	if err := EnsurePublication(ctx, side); err != nil {
		return false, err
	}
	if err := noneWaits(ctx, side); err != nil {
		return false, err
	}
	replication, received, err := m.connectReplication(ctx)
	if err != nil {
		return false, m.explain(ctx, side, fmt.Errorf("connect for replication: %w", err))
	}
	defer closeReplication(replication)
	defer received.wipe()
	slot, err := m.createSlot(ctx, replication)
	if err != nil {
		return false, m.explain(ctx, side, fmt.Errorf("create replication slot: %w", err))
	}
	exported, edition, err := importSnapshot(ctx, side, slot.SnapshotName)
	if err != nil {
		return false, err
	}
	consistent, err := pglogrepl.ParseLSN(slot.ConsistentPoint)
	if err != nil {
		return false, fmt.Errorf("parse consistent point: %w", err)
	}
	// The second connection holds the snapshot now; the first may go on.
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
		// Nothing is answered from the cache from the moment its stream is lost.
		defer m.detach(cache)
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

func (m *Mirror) connConfig(dsn string) (*pgx.ConnConfig, error) {
	config, err := pgsession.Config(dsn, m.cfg.Application)
	if err == nil && m.dial != nil {
		config.DialFunc = m.dial
	}
	return config, err
}

func (m *Mirror) connectSide(ctx context.Context) (*pgx.Conn, error) {
	config, err := m.connConfig(m.cfg.Database)
	if err != nil {
		return nil, err
	}
	return pgsession.Open(ctx, config)
}

// connectReplication also returns what the connection is read by.
func (m *Mirror) connectReplication(ctx context.Context) (*pgconn.PgConn, *frontendReader, error) {
	config, err := m.connConfig(m.cfg.Replication)
	if err != nil {
		return nil, nil, err
	}
	// However the server is set, a dead instance's slot is gone after a minute: a stream notices by itself that nobody is there, a slot that still
	// waits for transactions only when its wait is cut off. Then a living instance tries again.
	config.RuntimeParams["wal_sender_timeout"] = "60s"
	config.RuntimeParams["lock_timeout"] = strconv.FormatInt(m.tuning.slotWait.Milliseconds(), 10)
	var received *frontendReader
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		received = newFrontendReader(r) // the last of those that were tried
		return received.frontend(w)
	}
	conn, err := pgsession.OpenReplication(ctx, config)
	return conn, received, err
}

// noneWaits is an error while a slot of a users mirror waits for transactions to end. Whose it is cannot be told: it may be that of an instance that
// was killed, for Postgres notices that only when the wait is over. So one waits at a time, however often instances are killed and
// begin again, and slots and WAL senders are left for others. A slot has a confirmed position as soon as it stands.
func noneWaits(ctx context.Context, conn *pgx.Conn) error {
	var one string
	err := conn.QueryRow(ctx, `SELECT slot_name::text FROM pg_replication_slots WHERE temporary AND database = current_database()
		AND slot_name LIKE 'firstclick\_users\_%' AND confirmed_flush_lsn IS NULL LIMIT 1`).Scan(&one)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for slots that wait: %w", err)
	}
	return fmt.Errorf("the slot %s of another instance, or of one that was killed, waits for transactions that write to end", one)
}

// createSlot creates the temporary slot and exports its snapshot. It waits until the transactions that write now have ended.
func (m *Mirror) createSlot(ctx context.Context, conn *pgconn.PgConn) (pglogrepl.CreateReplicationSlotResult, error) {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	name := fmt.Sprintf("firstclick_users_%x", random)
	waiting := time.AfterFunc(m.tuning.status, func() {
		m.logger.Warn("users mirror waits for transactions that began before it to end; until then names are read through")
	})
	defer waiting.Stop()
	return pglogrepl.CreateReplicationSlot(ctx, conn, name, "pgoutput", pglogrepl.CreateReplicationSlotOptions{
		Temporary: true, SnapshotAction: "EXPORT_SNAPSHOT", Mode: pglogrepl.LogicalReplication,
	})
}

// errAltered ends a session whose names may no longer be those of the table.
var errAltered = &SchemaError{Reason: "it was altered or replaced, or is published otherwise"}

// importSnapshot begins the transaction in which preload reads, and returns its snapshot and the edition that the snapshot sees. The table
// may have changed since it was published: it must fit the snapshot too.
func importSnapshot(ctx context.Context, conn *pgx.Conn, name string) (*snapshot, string, error) {
	if _, err := conn.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
		return nil, "", fmt.Errorf("begin preload: %w", err)
	}
	// No parameters here. The name is the server's own: hexadecimal and dashes.
	if _, err := conn.Exec(ctx, "SET TRANSACTION SNAPSHOT '"+name+"'"); err != nil {
		return nil, "", fmt.Errorf("take over exported snapshot: %w", err)
	}
	var text string
	if err := conn.QueryRow(ctx, "SELECT pg_current_snapshot()::text").Scan(&text); err != nil {
		return nil, "", fmt.Errorf("read exported snapshot: %w", err)
	}
	exported, err := parseSnapshot(text)
	if err != nil {
		return nil, "", err
	}
	edition, err := readEdition(ctx, conn)
	if err != nil {
		return nil, "", err
	}
	return exported, edition, stillFits(ctx, conn)
}

// stillFits says whether the table can be mirrored and the publication carries it.
func stillFits(ctx context.Context, conn *pgx.Conn) error {
	table, err := describeUsers(ctx, conn)
	if err != nil {
		return err
	}
	fits, err := publicationFits(ctx, conn, table)
	if err != nil {
		return err
	}
	if problem := table.problem(); problem != nil {
		return problem
	}
	if !fits {
		return &SchemaError{Reason: "the publication " + Publication + " no longer fits it"}
	}
	return nil
}

// preloadChunk is how many users are offered to the cache under one hold of its lock.
const preloadChunk = 512

// preload fills the cache with the newest users, as many as it holds, while the stream already runs: the rule of fills
// keeps out what the stream has overtaken. Users that are asked for meanwhile are not pushed out.
func (m *Mirror) preload(ctx context.Context, conn *pgx.Conn, cache *cache, exported *snapshot) error {
	if m.hooks.preloading != nil {
		m.hooks.preloading()
	}
	began := time.Now()
	rows, err := conn.Query(ctx, "SELECT id::int, "+UsernameSQL+" FROM commerce.users WHERE id BETWEEN -2147483648 AND 2147483647 ORDER BY id DESC LIMIT $1", m.cfg.CacheSize)
	if err != nil {
		return fmt.Errorf("preload users: %w", err)
	}
	defer rows.Close()
	// All that the slot streams is unseen by the snapshot it exported, so that its entries take every change.
	from := *exported
	from.lsn = 0
	chunk := make([]user, 0, preloadChunk)
	offer := func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		room := max(0, cache.capacity-cache.len())
		cache.fill(&from, chunk[:min(len(chunk), room)])
		chunk = chunk[:0]
	}
	for rows.Next() {
		var id int32
		var name *string
		if err := rows.Scan(&id, &name); err != nil {
			return fmt.Errorf("preload users: %w", err)
		}
		if name == nil {
			continue
		}
		if chunk = append(chunk, user{id: id, name: *name}); len(chunk) == cap(chunk) {
			offer()
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("preload users: %w", err)
	}
	offer()
	if _, err := conn.Exec(ctx, "COMMIT"); err != nil {
		return fmt.Errorf("end preload: %w", err)
	}
	m.mu.Lock()
	entries := cache.len()
	m.mu.Unlock()
	m.logger.Info("users mirror stands", "users", entries, "took_seconds", time.Since(began).Seconds())
	if m.cfg.OnSnapshot != nil {
		m.cfg.OnSnapshot()
	}
	return nil
}

// watch looks now and then whether the table and its publication are those that the session began with. Whoever writes names asks
// for the edition with them; this is for when nobody does, and for what is no part of it: an index of the identity that was dropped.
func (m *Mirror) watch(ctx context.Context, conn *pgx.Conn, edition string) error {
	for sleep(ctx, m.tuning.watch) {
		if err := stillFits(ctx, conn); err != nil {
			return err
		}
		switch now, err := readEdition(ctx, conn); {
		case err != nil:
			return err
		case now != edition:
			return errAltered
		}
		if err := m.noteServer(ctx, conn); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (m *Mirror) noteServer(ctx context.Context, conn *pgx.Conn) error {
	var text string
	if err := conn.QueryRow(ctx, "SELECT pg_current_wal_lsn()::text").Scan(&text); err != nil {
		return fmt.Errorf("read server's position: %w", err)
	}
	position, err := pglogrepl.ParseLSN(text)
	if err != nil {
		return fmt.Errorf("parse server's position: %w", err)
	}
	m.mu.Lock()
	m.stats.ServerLSN = max(m.stats.ServerLSN, uint64(position))
	m.mu.Unlock()
	return nil
}

func (m *Mirror) attach(cache *cache) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cache = cache
	m.stats.Snapshots++
	m.stats.LastLSN = cache.position
	m.stats.LastMessageTime = time.Now()
}

// detach forgets the cache, if it is still this one; its counters stay.
func (m *Mirror) detach(cache *cache) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(cache)
}

// forget is detach while m.mu is held.
func (m *Mirror) forget(cache *cache) {
	if m.cache != cache {
		return
	}
	m.stats.add(cache)
	m.cache = nil
}

// explain joins to err what Check finds: the slot was refused, and the operator wants to know what to do.
func (m *Mirror) explain(ctx context.Context, conn *pgx.Conn, err error) error {
	problems, checkErr := Check(ctx, conn, Role(m.cfg.Replication))
	for _, p := range problems {
		err = errors.Join(err, p)
	}
	return errors.Join(err, checkErr)
}

// closeConn ends a session, which drops its slot. It does not wait for a server that does not answer.
func closeConn(conn *pgconn.PgConn) {
	_ = conn.Conn().SetDeadline(time.Time{})
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// closeReplication is closeConn for the connection that carries rows. The driver's own way of
// saying goodbye reads ahead while its write is slow, into buffers that nobody overwrites: so the
// socket is closed before the driver comes to it.
func closeReplication(conn *pgconn.PgConn) {
	socket := conn.Conn()
	_ = socket.SetDeadline(time.Now().Add(2 * time.Second))
	_, _ = socket.Write([]byte{'X', 0, 0, 0, 4}) // Terminate
	_ = socket.Close()
	closeConn(conn)
}

// outage sees to it that a state of affairs is logged once, however often it is met.
type outage struct{ last string }

func (o *outage) report(logger *slog.Logger, stood bool, err error) {
	text := err.Error()
	if !stood && text == o.last {
		logger.Debug("users mirror still has no stream", "error", err)
		return
	}
	o.last = text
	logger.Warn("users mirror has no stream: names are read through until the next one stands", "error", err)
}

// pause is how long to wait before attempt+1: doubling up to the most, and half of it random, so that instances whose server
// came back do not all come at once.
func (t tuning) pause(attempt int) time.Duration {
	d := t.backoffMax
	if attempt < 16 {
		d = min(d, t.backoff<<attempt)
	}
	return d/2 + mathrand.N(d/2+1)
}

// sleep waits; it returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// dialFunc opens the connections of the mirror's sessions.
type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)
