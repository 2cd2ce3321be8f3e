//go:build realkafka

package pipeline_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// watcher sees every version of every row of commerce.attributed_checkouts, by logical replication.
type watcher struct {
	mu     sync.Mutex
	clicks map[string]string // by checkout_id: the click of its newest version, "" for NULL
	nulls  int               // rows inserted without a click
	falses []string          // rows inserted without a click that later got one
	moved  []string          // rows that went from one click to another
	err    error
}

// watch begins to watch. Every change after its return is seen.
func watch(t testing.TB, dsn string) *watcher {
	t.Helper()
	exec(t, connect(t, dsn), `CREATE PUBLICATION watched FOR TABLE commerce.attributed_checkouts`)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	conn, err := pgconn.Connect(ctx, dsn+"&replication=database")
	if err != nil {
		t.Fatal(err)
	}
	slot, err := pglogrepl.CreateReplicationSlot(ctx, conn, fmt.Sprintf("watcher_%d", conn.PID()), "pgoutput",
		pglogrepl.CreateReplicationSlotOptions{Temporary: true})
	if err != nil {
		t.Fatal(err)
	}
	lsn, err := pglogrepl.ParseLSN(slot.ConsistentPoint)
	if err == nil {
		err = pglogrepl.StartReplication(ctx, conn, slot.SlotName, lsn,
			pglogrepl.StartReplicationOptions{PluginArgs: []string{"proto_version '1'", "publication_names 'watched'"}})
	}
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{clicks: map[string]string{}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := w.run(ctx, conn, lsn)
		if ctx.Err() == nil {
			w.mu.Lock()
			w.err = err
			w.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		_ = conn.Close(context.WithoutCancel(t.Context())) // it was cut off in the middle of a stream
	})
	return w
}

func (w *watcher) run(ctx context.Context, conn *pgconn.PgConn, seen pglogrepl.LSN) error {
	for {
		m, err := conn.ReceiveMessage(ctx)
		if err != nil {
			return err
		}
		data, ok := m.(*pgproto3.CopyData)
		if !ok {
			return fmt.Errorf("unexpected %T: %+v", m, m)
		}
		switch data.Data[0] {
		case pglogrepl.PrimaryKeepaliveMessageByteID:
			k, err := pglogrepl.ParsePrimaryKeepaliveMessage(data.Data[1:])
			if err != nil {
				return err
			}
			if k.ReplyRequested {
				if err := pglogrepl.SendStandbyStatusUpdate(ctx, conn,
					pglogrepl.StandbyStatusUpdate{WALWritePosition: seen}); err != nil {
					return err
				}
			}
		case pglogrepl.XLogDataByteID:
			x, err := pglogrepl.ParseXLogData(data.Data[1:])
			if err != nil {
				return err
			}
			seen = max(seen, x.ServerWALEnd)
			if err := w.take(x.WALData); err != nil {
				return err
			}
		}
	}
}

// take takes in a message. Columns are those of migrations/: checkout_id is the first, click_id the
// third.
func (w *watcher) take(data []byte) error {
	m, err := pglogrepl.Parse(data)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch m := m.(type) {
	case *pglogrepl.InsertMessage:
		id, click := string(m.Tuple.Columns[0].Data), string(m.Tuple.Columns[2].Data)
		w.clicks[id] = click
		if click == "" {
			w.nulls++
		}
	case *pglogrepl.UpdateMessage:
		id, click := string(m.NewTuple.Columns[0].Data), string(m.NewTuple.Columns[2].Data)
		switch was := w.clicks[id]; {
		case was == click:
		case was == "":
			w.falses = append(w.falses, id)
		default:
			w.moved = append(w.moved, fmt.Sprintf("%s: %q to %q", id, was, click))
		}
		w.clicks[id] = click
	}
	return nil
}

// rows is how many rows were seen. The watcher must still run.
func (w *watcher) rows(t testing.TB) int64 {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		t.Fatalf("watch the table: %v", w.err)
	}
	return int64(len(w.clicks))
}
