package join_test

import (
	"maps"
	"slices"

	"pgregory.net/rapid"

	"firstclick/join/event"
)

func (in *instance) release(limit int) {
	in.tellClock()
	for _, s := range in.core.Shards() {
		b := in.batches[s.Partition]
		released, err := in.core.Release(s, limit, in.g.clock)
		for _, r := range released {
			if r.Skip {
				continue
			}
			rec := in.g.checkouts[s.Partition][r.Offset]
			have := row{rec.id, r.Click.String(), r.ClickTime, r.HasClick}
			b.rows = append(b.rows, releasedRow{have, rec.checkout, r.Offset})
			if r.Final {
				b.late = append(b.late, place{false, s.Partition, r.Offset})
			} else if in.g.far > 5 {
				if before := in.g.best(rec.checkout, rec.seq); before.has && less(before.time, before.click, have) &&
					!in.g.explained(rec.checkout, before) {
					in.g.t.Fatalf("released %+v, though %+v was in the log before it", have, before)
				}
			}
		}
		if err != nil {
			in.g.t.Fatal(err)
		}
	}
}

// take closes the batches of some shards, with so many corrections each, into a transaction under
// way. Two are, at most.
func (in *instance) take(most int, shards ...int32) *job {
	j := &job{batches: map[int32]*batch{}}
	for _, p := range shards {
		s := in.core.Shard(p)
		if s == nil || slices.ContainsFunc(in.jobs, func(j *job) bool { return j.batches[p] != nil }) {
			continue
		}
		b := in.batches[p]
		taken := in.core.Take(s, most)
		b.claim, b.commits = in.owns[p].owner, in.owns[p].commits
		b.corrections, b.at = taken.Corrections, taken.Position
		j.batches[p], in.batches[p] = b, &batch{}
	}
	if len(j.batches) == 0 {
		return nil
	}
	// All that are not known to have landed: a position may not pass one that a transaction of
	// another shard holds, and may yet lose.
	in.under, in.dead = append(in.under, in.dead...), nil
	j.dead = slices.Clone(in.under)
	in.jobs = append(in.jobs, j)
	return j
}

// most is how many corrections a transaction may hold.
func (in *instance) most() int {
	return rapid.SampledFrom([]int{1, 2, 5, 1 << 30}).Draw(in.g.t, "corrections")
}

// land is what Postgres makes of a transaction. Where a shard was taken over by another it lands
// nowhere, and the attempt begins anew.
func (in *instance) land(j *job) {
	in.jobs = slices.DeleteFunc(in.jobs, func(x *job) bool { return x == j })
	rejected, ok := in.g.write(j)
	if !ok {
		in.begin()
		return
	}
	in.under = slices.DeleteFunc(in.under, func(d place) bool { return slices.Contains(j.dead, d) })
	in.kept = append(in.kept, j.dead...)
	for p, b := range j.batches {
		s, own := in.core.Shard(p), in.owns[p]
		if s == nil || own.owner != b.claim {
			continue
		}
		own.commits++
		own.at = b.at
		in.owns[p] = own
		for _, o := range rejected[p] {
			in.core.Reject(s, o)
		}
	}
}

func (g *group) write(j *job) (rejected map[int32][]int64, ok bool) {
	for p, b := range j.batches {
		if st := g.stored[p]; st.owner != b.claim || st.commits != b.commits {
			return nil, false
		}
	}
	rejected = map[int32][]int64{}
	for _, p := range slices.Sorted(maps.Keys(j.batches)) {
		b := j.batches[p]
		old := g.stored[p].at
		if b.at.NextOffset < old.NextOffset || b.at.OpenOffset < old.OpenOffset ||
			b.at.FinalBefore < old.FinalBefore {
			g.t.Fatalf("position went back from %+v to %+v", old, b.at)
		}
		if len(b.at.ClicksNext) < len(old.ClicksNext) {
			g.t.Fatalf("position of %d clicks partitions after one of %d", len(b.at.ClicksNext), len(old.ClicksNext))
		}
		for c := range b.at.ClicksNext {
			if b.at.ClicksNext[c] < placeIn(old.ClicksNext, c) ||
				b.at.ClicksRestore[c] < placeIn(old.ClicksRestore, c) {
				g.t.Fatalf("position went back from %+v to %+v", old, b.at)
			}
		}
		for _, r := range b.rows {
			stands, exists := g.table[r.checkout]
			switch {
			case !exists:
				g.table[r.checkout] = tableRow{r.row, r.of}
			case stands.of != r.of:
				g.dead[place{false, p, r.offset}] = true
				rejected[p] = append(rejected[p], r.offset)
			case r.has && less(r.time, r.click, stands.row):
				g.table[r.checkout] = tableRow{r.row, r.of}
			}
		}
		for _, k := range b.corrections {
			g.correct(p, k, old.FinalBefore, slices.Contains(rejected[p], k.Offset))
		}
		for _, l := range b.late {
			g.late[l] = true
		}
		g.stored[p] = storedShard{b.at, b.claim, b.commits + 1}
		g.holds(p, b.at)
	}
	for _, d := range j.dead {
		g.dead[d] = true
	}
	g.standby = append(g.standby, g.copy())
	return rejected, true
}

// holds checks that every click below the positions of a shard has had its effect on the shard's
// rows, or is noted as late. In a backlog rows are written before the clicks are read again that
// were read before a restart.
func (g *group) holds(p int32, at event.Position) {
	if g.far == 5 {
		return
	}
	for o, k := range g.checkouts[p][:at.NextOffset] {
		stands := g.table[k.id]
		if k.id == "" || stands.of != k.checkout || g.dead[place{false, p, int64(o)}] {
			continue
		}
		want := g.bestOf(k.checkout, func(partition, offset int, _ *clickRecord) bool {
			return int64(offset) < placeIn(at.ClicksNext, partition)
		})
		if want.has && less(want.time, want.click, stands.row) && !g.explained(k.checkout, want) {
			g.t.Fatalf("position %+v is stored, and row %+v has not click %+v", at, stands, want)
		}
	}
}

func (pg *postgres) copy() postgres {
	return postgres{maps.Clone(pg.table), maps.Clone(pg.stored), maps.Clone(pg.dead), maps.Clone(pg.late)}
}

// failOver goes back to before some of the last transactions. Who commits next finds out.
func (g *group) failOver() {
	if n := len(g.standby); n > 0 {
		to := max(0, n-1-rapid.IntRange(0, 3).Draw(g.t, "transactions lost"))
		g.standby = g.standby[:to+1]
		g.postgres = g.standby[to].copy()
	}
}

func (g *group) correct(p int32, k event.Correction, final int64, rejected bool) {
	id := k.Checkout.String()
	stands, ok := g.table[id]
	switch {
	case rejected:
		return
	case !ok:
		g.t.Fatalf("correction of %s, which has no row", id)
	case !less(k.ClickTime, k.Click.String(), stands.row):
		return
	case stands.of != g.checkouts[p][k.Offset].checkout:
		g.t.Fatalf("correction of %s with a click of a rejected checkout", id)
	case final != noTime && stands.of.t < final:
		g.t.Fatalf("row %s of time %d moved after %d was final", id, stands.of.t, final)
	}
	g.table[id] = tableRow{row{id, k.Click.String(), k.ClickTime, true}, stands.of}
}
