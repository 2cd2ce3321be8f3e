package cdc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

var (
	errSilent = errors.New("the server has fallen silent") // although status updates requested replies
	errEnded  = errors.New("the server ended the stream")  // in good order, as it does when it shuts down
)

const (
	maxAnnounced = 1 << 14          // most ids that OnChange receives at once
	writeTimeout = 10 * time.Second // for 40 bytes: when it passes, the server has not read for that long
)

// stream reads replication messages and applies them. One goroutine runs it and nothing else
// touches its connection. It waits only for the connection and for the cache's lock, which nobody
// holds while waiting. So a keepalive is answered at once.
type stream struct {
	m       *Mirror
	conn    *pgconn.PgConn
	cache   *cache // guarded by m.mu
	decoder *decoder
	change  change
	ids     []int32 // of the current transaction, not announced yet
	heard   bool    // a message came since the last status update
}

// run returns when the connection is lost, a message cannot be decoded or ctx is done; never nil.
func (s *stream) run(ctx context.Context) error {
	conn := s.conn.Conn()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	// The read deadline is the clock of the status updates: it passes also while messages keep
	// coming.
	if err := s.nextDeadline(ctx, conn); err != nil {
		return err
	}
	quiet := 0
	for {
		msg, err := s.conn.ReceiveMessage(context.Background())
		if err == nil {
			s.heard = true
			if err := s.message(msg); err != nil {
				return err
			}
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("receive replication message: %w", err)
		}
		if quiet++; s.heard {
			s.heard, quiet = false, 0
		}
		if quiet >= s.m.tuning.silent {
			return errSilent
		}
		if err := s.nextDeadline(ctx, conn); err != nil {
			return err
		}
		if err := s.confirm(true); err != nil {
			return err
		}
	}
}

// nextDeadline sets the time of the next status update. It returns the error of a ctx that is done,
// whose deadline in the past it may have overwritten.
func (s *stream) nextDeadline(ctx context.Context, conn net.Conn) error {
	if err := conn.SetReadDeadline(time.Now().Add(s.m.tuning.status)); err != nil {
		return fmt.Errorf("set replication deadline: %w", err)
	}
	return ctx.Err()
}

func (s *stream) message(msg pgproto3.BackendMessage) error {
	switch msg := msg.(type) {
	case *pgproto3.CopyData:
		if s.m.hooks.streamed != nil {
			s.m.hooks.streamed(msg.Data)
		}
		return s.copyData(msg.Data)
	case *pgproto3.ErrorResponse:
		return fmt.Errorf("replication stream: %w", pgconn.ErrorResponseToPgError(msg))
	case *pgproto3.NoticeResponse, *pgproto3.ParameterStatus:
		return nil
	case *pgproto3.CopyDone, *pgproto3.CommandComplete, *pgproto3.ReadyForQuery:
		return errEnded
	}
	return &DecodeError{Reason: fmt.Sprintf("unexpected protocol message %T", msg)}
}

// copyData handles WAL data and keepalives.
// https://www.postgresql.org/docs/current/protocol-replication.html (START_REPLICATION)
func (s *stream) copyData(data []byte) error {
	const walHeader, keepalive = 1 + 24, 1 + 17
	switch {
	case len(data) >= walHeader && data[0] == pglogrepl.XLogDataByteID:
		if err := s.decoder.decode(data[walHeader:], &s.change); err != nil {
			return err
		}
		s.apply()
		return nil
	case len(data) == keepalive && data[0] == pglogrepl.PrimaryKeepaliveMessageByteID:
		return s.keepalive(binary.BigEndian.Uint64(data[1:]), data[17] != 0)
	case len(data) == 0:
		return &DecodeError{Reason: "an empty message of the walsender"}
	}
	return &DecodeError{Message: data[0], Reason: "not a message of the walsender"}
}

// keepalive says that the server has sent all that it decoded before end. Within a transaction that
// means nothing, because the transaction has not been applied.
func (s *stream) keepalive(end uint64, reply bool) error {
	s.m.mu.Lock()
	if !s.decoder.inTx {
		s.cache.advance(end)
	}
	s.reached(end)
	s.m.mu.Unlock()
	if !reply {
		return nil
	}
	return s.confirm(false)
}

// reached updates the positions in the stats. The caller holds m.mu.
func (s *stream) reached(end uint64) {
	s.m.stats.LastLSN = s.cache.position
	s.m.stats.ServerLSN = max(s.m.stats.ServerLSN, end)
	s.m.stats.LastMessageTime = time.Now()
}

// apply brings the decoded change into the cache and announces its ids.
func (s *stream) apply() {
	ch := &s.change
	if ch.kind == kindNone {
		return
	}
	s.m.mu.Lock()
	switch ch.kind {
	case kindBegin:
		s.cache.begin(ch.xid)
	case kindCommit:
		s.cache.commit(ch.end)
		s.reached(ch.end)
	default:
		s.cache.apply(ch)
	}
	s.m.mu.Unlock()
	if s.m.cfg.OnChange == nil {
		return
	}
	if (ch.kind == kindInsert || ch.kind == kindUpdate) && ch.id.ok {
		s.ids = append(s.ids, ch.id.value)
	}
	if len(s.ids) == maxAnnounced || ch.kind == kindCommit && len(s.ids) > 0 {
		s.m.cfg.OnChange(s.ids)
		s.ids = nil // the slice is the callee's
	}
}

// confirm tells the server what has been applied, so that it can remove the WAL before that. reply
// requests an answer.
func (s *stream) confirm(reply bool) error {
	s.m.mu.Lock()
	position := pglogrepl.LSN(s.cache.position)
	s.m.mu.Unlock()
	if err := s.conn.Conn().SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("set replication deadline: %w", err)
	}
	err := pglogrepl.SendStandbyStatusUpdate(context.Background(), s.conn,
		pglogrepl.StandbyStatusUpdate{WALWritePosition: position, ReplyRequested: reply})
	if err != nil {
		return fmt.Errorf("confirm replication position: %w", err)
	}
	return nil
}
