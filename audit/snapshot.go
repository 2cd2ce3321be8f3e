package audit

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// snapshot is what Postgres held at one moment, except what is sorted on disk. The transaction ends
// before Kafka is read, because a long one would hold back vacuum.
type snapshot struct {
	known                        bool // the group has a progress row
	topics                       [2]storedTopic
	window, lateness, outOfOrder time.Duration
	skew                         int64 // how far an event's time may be ahead of its record's, in microseconds
	zone                         *time.Location
	begun                        int64 // records before the group's start are stamped before it, as far as can be told
	startTime                    int64 // of --start, where it was a time; else noTime
	taken                        time.Time
	watermark, finalBefore       *time.Time // of the group
	shards                       map[int32]shard
	clicksLeast                  []int64 // by partition, how far every shard had read clicks; nil without shards
	columns                      columns
	late, notLate                int64            // events in firstclick.late, not repaired; those that were not late
	dead                         map[string]int64 // dead letters by reason
	nameless                     int64            // rows without a user_name
	unknownUsers                 map[string]bool  // rows in unknown_users whose user exists now; true: just now
	running                      bool             // an instance of the group had a heartbeat within a minute
	rowCount, attributed         int64
}

// storedTopic is a topic as the group knows it.
type storedTopic struct {
	name   string
	id     string // "": not known
	starts []int64
}

// start is where the group began in a partition. Partitions that appeared later begin at 0.
func (t storedTopic) start(partition int32) int64 {
	if int(partition) < len(t.starts) {
		return t.starts[partition]
	}
	return 0
}

// topicID is a topic's id as text, "" where it is not known.
func topicID(id [16]byte) string {
	if id == ([16]byte{}) {
		return ""
	}
	return hex.EncodeToString(id[:])
}

// readColumns reads what the columns of the rows' table are.
func (r *run) readColumns(ctx context.Context, tx pgx.Tx) (err error) {
	r.snap.columns, _, err = lookUpTable(ctx, tx, rowsTable)
	if errors.Is(err, ErrTable) {
		return errors.New("there is no table " + rowsTable + ": run `firstclick migrate`")
	}
	return err
}

// addRows sorts a table's rows.
func (r *run) addRows(ctx context.Context, tx pgx.Tx, table, sql string) error {
	s := &r.snap
	r.progress.phase("rows of "+table, 0)
	err := readRows(ctx, tx, sql, nil, func(row *item) {
		s.rowCount++
		if row.click.ok() {
			s.attributed++
		}
		if !row.name.valid {
			s.nameless++
		}
		r.progress.add(1)
		r.byID.add(row)
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", table, err)
	}
	return nil
}
