package sink

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// resolve finds out whether a transaction is committed whose COMMIT was not answered. The session
// that may still be at it is among the lost ones, which withConn ends first: once it is gone, what
// the offsets rows say is final.
func (s *Sink) resolve(ctx context.Context, set *commitSet) (committed bool, err error) {
	var found shardsFound
	const what = "look up a transaction whose commit was not answered"
	err = s.run(ctx, what, func(ctx context.Context, conn *pgx.Conn) (err error) {
		found, err = set.readShards(ctx, conn, true)
		return err
	})
	if err != nil {
		return false, err
	}
	committed = found.committed > 0
	if committed && found.unchanged > 0 || len(found.ahead) > found.committed {
		return false, fmt.Errorf(
			"offsets disagree about one transaction: %d shards have it, %d have not, and these have moved further: %s",
			found.committed, found.unchanged, partitionList(found.ahead))
	}
	if !found.anyLost() {
		return committed, nil
	}
	if found.lost.Committed = committed; committed { // Commit moves no claims on when it fails
		for _, b := range set.batches {
			b.Claim.Commits++
		}
	}
	return committed, &found.lost
}

// shardsFound sorts the shards of a commitSet by what their offsets rows say.
type shardsFound struct {
	lost                 LostShardsError
	committed, unchanged int     // shards that are ours still: commits is one more, and as expected
	ahead                []int32 // shards that are ours still: commits is more, by one or by more
}

// readShards reads the offsets rows of the set. With lock it waits for transactions that change
// them.
func (set *commitSet) readShards(ctx context.Context, conn *pgx.Conn, lock bool) (f shardsFound, err error) {
	sql := `SELECT ` + stateColumns + `
		FROM unnest($2::text[], $3::int[]) WITH ORDINALITY AS s (of_topic, of_partition, ord)
		JOIN firstclick.offsets ON group_id = $1 AND topic = of_topic AND partition = of_partition ORDER BY ord`
	if lock {
		sql += ` FOR UPDATE OF offsets`
	}
	rows, _ := conn.Query(ctx, sql, set.group, // CollectRows returns its error
		list(set.batches, func(b *Batch) string { return b.Claim.Topic }),
		list(set.batches, func(b *Batch) int32 { return b.Claim.Partition }))
	stored, err := pgx.CollectRows(rows, readState)
	if err != nil {
		return f, fmt.Errorf("read offsets: %w", err)
	}
	for _, b := range set.batches {
		c := b.Claim
		var row *State
		for i := range stored {
			if compareShards(&stored[i].Claim, c) == 0 {
				row = &stored[i]
			}
		}
		switch {
		case row == nil:
			f.lost.Rewound = append(f.lost.Rewound, c.Partition)
		case row.Claim.Owner != c.Owner:
			f.lost.Fenced = append(f.lost.Fenced, c.Partition)
		case row.Claim.Commits < c.Commits:
			f.lost.Rewound = append(f.lost.Rewound, c.Partition)
		case row.Claim.Commits == c.Commits:
			f.unchanged++
		case row.Claim.Commits == c.Commits+1:
			f.committed++
			f.ahead = append(f.ahead, c.Partition)
		default:
			f.ahead = append(f.ahead, c.Partition)
		}
	}
	return f, nil
}

// notMoved says why a transaction could not move its offsets rows. Shards that are as expected by
// now are tried again. One whose row has moved further under its own owner was given with an old
// claim, and is fenced.
func (f shardsFound) notMoved() error {
	f.lost.Fenced = append(f.lost.Fenced, f.ahead...)
	if f.anyLost() {
		return &f.lost
	}
	return &passingError{causeOffsets}
}

func (f shardsFound) anyLost() bool { return len(f.lost.Fenced)+len(f.lost.Rewound) > 0 }
