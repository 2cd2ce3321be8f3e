package cdc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"firstclick/internal/pgsession"
)

// dialFunc opens the mirror's connections.
type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

func (m *Mirror) connConfig(dsn string) (*pgx.ConnConfig, error) {
	config, err := pgsession.Config(dsn, m.cfg.Application)
	if err == nil && m.dial != nil {
		config.DialFunc = m.dial
	}
	return config, err
}

// connectSide opens the connection for queries beside the stream.
func (m *Mirror) connectSide(ctx context.Context) (*pgx.Conn, error) {
	config, err := m.connConfig(m.cfg.Database)
	if err != nil {
		return nil, err
	}
	return pgsession.Open(ctx, config)
}

// connectReplication also returns the reader of the connection.
func (m *Mirror) connectReplication(ctx context.Context) (*pgconn.PgConn, *wipingReader, error) {
	config, err := m.connConfig(m.cfg.Replication)
	if err != nil {
		return nil, nil, err
	}
	// The slot of a dead instance goes within a minute, whatever the server's settings are. A
	// streaming walsender notices the loss by its timeout. A slot that waits for transactions
	// notices only when its wait is cut off, and a living instance then tries again.
	config.RuntimeParams["wal_sender_timeout"] = "60s"
	config.RuntimeParams["lock_timeout"] = strconv.FormatInt(m.tuning.slotWait.Milliseconds(), 10)
	var received *wipingReader
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		received = newWipingReader(r) // of several hosts or ways that are tried, the last one counts
		return received.frontend(w)
	}
	conn, err := pgsession.OpenReplication(ctx, config)
	return conn, received, err
}

// errIfSlotWaits is an error while a slot of a users mirror waits for transactions to end. It
// cannot be told whose slot it is: that of a killed instance stays until its wait is over. So one
// slot waits at a time, however often instances are killed and restarted, and slots and WAL senders
// are left for others. A slot gets its confirmed position when its wait ends.
func errIfSlotWaits(ctx context.Context, conn *pgx.Conn) error {
	var one string
	err := conn.QueryRow(ctx, `SELECT slot_name::text FROM pg_replication_slots
		WHERE temporary AND database = current_database()
			AND slot_name LIKE 'firstclick\_users\_%' AND confirmed_flush_lsn IS NULL LIMIT 1`).Scan(&one)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for slots that wait: %w", err)
	}
	return fmt.Errorf("the slot %s of another or a killed instance waits for transactions that write to end", one)
}

// createSlot creates the temporary slot and exports its snapshot. It waits until the transactions
// that write now have ended.
func (m *Mirror) createSlot(ctx context.Context, conn *pgconn.PgConn) (pglogrepl.CreateReplicationSlotResult, error) {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	waiting := time.AfterFunc(m.tuning.status, func() {
		m.logger.Warn("users mirror waits for transactions that began before it to end; " +
			"until then names are read through")
	})
	defer waiting.Stop()
	name := fmt.Sprintf("firstclick_users_%x", random)
	return pglogrepl.CreateReplicationSlot(ctx, conn, name, "pgoutput", pglogrepl.CreateReplicationSlotOptions{
		Temporary: true, SnapshotAction: "EXPORT_SNAPSHOT", Mode: pglogrepl.LogicalReplication,
	})
}

// closeConn ends a connection, which drops its slot. It does not wait for a server that does not
// answer.
func closeConn(conn *pgconn.PgConn) {
	_ = conn.Conn().SetDeadline(time.Time{})
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// closeReplication is closeConn for the connection that carries rows. While the driver's own Close
// writes slowly, it reads ahead into buffers that nobody wipes. So the socket is closed before
// that.
func closeReplication(conn *pgconn.PgConn) {
	socket := conn.Conn()
	_ = socket.SetDeadline(time.Now().Add(2 * time.Second))
	_, _ = socket.Write([]byte{'X', 0, 0, 0, 4}) // Terminate
	_ = socket.Close()
	closeConn(conn)
}
