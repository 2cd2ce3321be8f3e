package sink

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"firstclick/join/event"
)

// Shards commit side by side, with checkouts that others have as well, while connections are cut at
// random messages: every checkout is there once, every record is a row, a duplicate or a dead
// letter, and every offsets row has counted each transaction once.
func TestRandomFaults(t *testing.T) {
	const shards, commits, perCommit = 4, 25, 40
	b := newBench(t)
	p, dsn := newProxy(t, b.dsn)
	s := b.open(dsn, "firstclick-chaos", benchNames())
	rnd := rand.New(rand.NewPCG(3, 4)) // under the proxy's lock
	var batches []*Batch
	for i := range int32(shards) {
		batches = append(batches, b.claim(s, i))
	}
	p.set(func(message) verdictOnMessage {
		switch rnd.IntN(600) {
		case 0:
			return cut
		case 1:
			return freeze
		}
		return pass
	})
	ids := map[string]bool{}
	var mu sync.Mutex
	var sum Result
	var wg sync.WaitGroup
	for i, batch := range batches {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 5))
			offset := int64(0)
			for range commits {
				for range perCommit {
					n := rnd.IntN(2000)
					k := checkout(uuid(n))
					k.User = int32(n % 150) // some are unknown
					if rnd.IntN(20) == 0 {
						k.IP = text(fmt.Sprint(rnd.IntN(3))) // conflicts
					}
					batch.Rows = append(batch.Rows,
						clicked(row(offset, k), fmt.Sprint(rnd.IntN(9)), noon-rnd.Int64N(9)))
					mu.Lock()
					ids[uuid(n)] = true
					mu.Unlock()
					offset++
				}
				batch.Corrections = []event.Correction{{Offset: -1,
					Checkout: event.MakeID([]byte(uuid(rnd.IntN(2000)))), Click: idOf("c"), ClickTime: noon - 20}}
				batch.Dead = []DeadLetter{{Topic: "clicks", Partition: int32(i), Offset: offset,
					Reason: event.ReasonJSON}}
				batch.Position.NextOffset = offset
				res, err := s.Commit(t.Context(), []*Batch{batch})
				if err != nil {
					t.Error(err)
					return
				}
				batch.Rows = batch.Rows[:0]
				mu.Lock()
				sum.Fresh += res.Fresh
				sum.Duplicates += res.Duplicates
				sum.Conflicts += res.Conflicts
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	p.set(nil)
	if sum.Fresh != int64(len(ids)) || sum.Fresh+sum.Duplicates+sum.Conflicts != shards*commits*perCommit {
		t.Errorf("%+v of %d checkouts", sum, len(ids))
	}
	b.expect(fmt.Sprint(len(ids)), `SELECT count(*) FROM commerce.attributed_checkouts`)
	b.expect(fmt.Sprintf("%d|%d", sum.Conflicts, shards*commits),
		`SELECT count(*) FILTER (WHERE reason = 'conflict'), count(*) FILTER (WHERE reason = 'json')
			FROM firstclick.dead_letters`)
	b.expect(fmt.Sprintf("%d|%d|%d", shards, commits, commits*perCommit),
		`SELECT count(*), min(commits), min(next_offset) FROM firstclick.offsets WHERE commits = 25
			AND next_offset = 1000`)
	b.expect("t", `SELECT count(*) FILTER (WHERE user_name IS NULL) = (SELECT count(*) FROM firstclick.unknown_users)
		FROM commerce.attributed_checkouts`)
	st := s.Stats()
	t.Logf("%d tries failed: %v; straight %d, staged %d", st.Retries[causeConnection], st.Retries,
		counted(s.metrics.direct), counted(s.metrics.staged))
	if st.Retries[causeConnection] == 0 || st.Retries[causeConflict] != 0 {
		t.Errorf("retries %v", st.Retries)
	}
}
