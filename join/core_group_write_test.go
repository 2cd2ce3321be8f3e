package join_test

import (
	"maps"
	"slices"
	"testing"
	"time"

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
				if before := in.g.best(rec.checkout, rec.seq); before.has && less(before.time, before.click, have) && !in.g.explained(rec.checkout, before) {
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
		b.claim, b.commits, b.corrections, b.at = in.owns[p].owner, in.owns[p].commits, taken.Corrections, taken.Position
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
// nowhere, and the session begins anew.
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
		if b.at.NextOffset < old.NextOffset || b.at.RecentOffset < old.RecentOffset || b.at.FinalBefore < old.FinalBefore {
			g.t.Fatalf("position went back from %+v to %+v", old, b.at)
		}
		if len(b.at.ClicksNext) < len(old.ClicksNext) {
			g.t.Fatalf("position of %d clicks partitions after one of %d", len(b.at.ClicksNext), len(old.ClicksNext))
		}
		for c := range b.at.ClicksNext {
			if b.at.ClicksNext[c] < placeIn(old.ClicksNext, c) || b.at.ClicksRestore[c] < placeIn(old.ClicksRestore, c) {
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

// claim takes a shard over: the one that had it may go on for a while, but what it writes lands
// nowhere.
func (in *instance) claim(p int32) {
	if in.owns[p].owner != 0 {
		in.drop(p)
	}
	st := in.g.stored[p]
	in.g.claims++
	st.owner = in.g.claims
	in.g.stored[p] = st
	if !in.core.CanTakeOver(st.at) {
		in.begin()
		if !in.core.CanTakeOver(st.at) {
			in.g.t.Fatal("a session that has just begun does not cover a shard")
		}
	}
	in.kept = slices.DeleteFunc(in.kept, func(d place) bool {
		owed := d.offset >= placeIn(st.at.ClicksNext, int(d.partition))
		if owed {
			in.dead = append(in.dead, d)
		}
		return owed
	})
	in.batches[p], in.owns[p] = &batch{}, st
	in.core.RestoreWatermark(in.watermark)
	restoring := st.at.RecentOffset < st.at.NextOffset
	_, late := in.core.AddShard(p, st.at, restoring)
	for i := range late {
		in.noteLate(p, &late[i])
	}
	if restoring {
		in.restores[p] = &restoreJob{from: st.at.RecentOffset, to: st.at.NextOffset, upTo: st.at.ClicksNext}
	}
}

func (in *instance) drop(p int32) {
	in.core.DropShard(p)
	delete(in.owns, p)
	delete(in.batches, p)
	delete(in.restores, p)
}

// letGo writes what was released, and lets a shard go.
func (in *instance) letGo(p int32) {
	if in.owns[p].owner == 0 {
		return
	}
	for _, j := range slices.Clone(in.jobs) {
		if j.batches[p] != nil {
			in.land(j)
		}
	}
	if in.owns[p].owner == 0 {
		return // fenced
	}
	in.land(in.take(in.most(), p))
	if in.owns[p].owner == 0 {
		return
	}
	in.drop(p)
	if st := in.g.stored[p]; rapid.Bool().Draw(in.g.t, "in good order") {
		st.owner = 0
		in.g.stored[p] = st
	}
}

func (in *instance) crash() {
	for _, j := range in.jobs {
		if rapid.Bool().Draw(in.g.t, "landed") {
			in.g.write(j)
		}
	}
	in.begin()
}

func (g *group) leap() {
	for range 30 {
		g.clock += 30 * second
		for _, in := range g.instances {
			in.tellClock()
			in.ask()
			in.core.Tick(g.clock)
		}
	}
}

func (g *group) step() {
	in := g.instances[rapid.IntRange(0, 1).Draw(g.t, "instance")]
	p := int32(rapid.IntRange(0, len(g.checkouts)-1).Draw(g.t, "shard"))
	switch step := rapid.IntRange(0, 35).Draw(g.t, "step"); {
	case step < 4:
		g.produce()
	case step < 10:
		in.readClicks(rapid.IntRange(0, len(g.clicks)-1).Draw(g.t, "partition"), rapid.IntRange(1, 30).Draw(g.t, "records"))
	case step < 14:
		in.fetch(p, rapid.IntRange(1, 20).Draw(g.t, "records"))
	case step < 17:
		in.ask()
	case step < 19:
		in.release(rapid.IntRange(1, 50).Draw(g.t, "limit"))
	case step < 21:
		in.catchUp()
	case step < 23:
		if rapid.Bool().Draw(g.t, "all") {
			in.take(in.most(), slices.Sorted(maps.Keys(in.owns))...)
		} else {
			in.take(in.most(), p)
		}
	case step < 24:
		if len(in.jobs) > 0 {
			in.land(in.jobs[rapid.IntRange(0, len(in.jobs)-1).Draw(g.t, "job")])
		}
	case step == 24:
		in.know()
	case step == 25:
		in.claim(p)
	case step == 26:
		in.letGo(p)
	case step == 27:
		in.crash()
	case step == 28:
		g.leap()
	case step == 29:
		in.restore(rapid.Int64Range(1, 20).Draw(g.t, "records"))
	case step == 30:
		if rapid.IntRange(0, 9).Draw(g.t, "failover") == 0 {
			g.failOver()
		}
	case step == 31:
		if len(g.clicks) < 5 && rapid.IntRange(0, 3).Draw(g.t, "partition added") == 0 {
			g.clicks = append(g.clicks, nil)
		}
	case step == 32:
		in.setClock()
	case step > 32:
		in.insertClicks(rapid.IntRange(0, len(g.clicks)-1).Draw(g.t, "partition"), rapid.IntRange(1, 30).Draw(g.t, "records"))
	default:
		in.core.Tick(g.clock)
	}
}

// catchUp releases all that is there.
func (in *instance) catchUp() {
	for p := range in.g.checkouts {
		in.fetch(int32(p), len(in.g.checkouts[p]))
	}
	in.ask()
	for p := range in.g.clicks {
		in.readClicks(p, len(in.g.clicks[p]))
	}
	in.restore(1 << 30)
	in.release(1 << 30)
}

// drain lets everything end where it is: what is under way lands, shards that nobody has go to
// instance 0, which may have to begin anew.
func (g *group) drain() {
	for range 6 {
		for p := range g.checkouts {
			if owner := g.stored[int32(p)].owner; owner == 0 || owner != g.instances[0].owns[int32(p)].owner && owner != g.instances[1].owns[int32(p)].owner {
				g.instances[0].claim(int32(p))
			}
		}
		for _, in := range g.instances {
			in.catchUp()
			for len(in.jobs) > 0 {
				in.land(in.jobs[0])
			}
			if j := in.take(1<<30, slices.Sorted(maps.Keys(in.owns))...); j != nil {
				in.land(j)
			}
		}
	}
}

// best is the meaning of a row, over the clicks appended before a moment.
func (g *group) best(k checkout, before int) row {
	return g.bestOf(k, func(_, _ int, c *clickRecord) bool { return c.seq < before })
}

func (g *group) bestOf(k checkout, counts func(partition, offset int, c *clickRecord) bool) row {
	r := row{checkout: k.id}
	for p, log := range g.clicks {
		for i := range log {
			c := &log[i]
			if !c.bad && c.id != "" && counts(p, i, c) && c.user == k.user && c.product == k.product && k.t-hour <= c.t && c.t <= k.t && less(c.t, c.id, r) {
				r = row{k.id, c.id, c.t, true}
			}
		}
	}
	return r
}

func (g *group) compare() {
	for p, log := range g.checkouts {
		for o, k := range log {
			if k.id == "" {
				continue
			}
			stands, ok := g.table[k.id]
			if !ok {
				g.t.Errorf("checkout %s has no row", k.id)
			}
			if (stands.of != k.checkout) != g.dead[place{false, int32(p), int64(o)}] {
				g.t.Errorf("checkout %s at %d[%d]: its row is %+v, and dead letters have it: %v", k.id, p, o, stands, g.dead[place{false, int32(p), int64(o)}])
			}
		}
	}
	for id, stands := range g.table {
		if want := g.best(stands.of, g.seq+1); stands.row != want && !g.explained(stands.of, want) {
			g.t.Errorf("checkout %s: have %+v, want %+v, and neither was noted as late", id, stands.row, want)
		}
	}
	for p, log := range g.clicks {
		for o := range log {
			if at := (place{true, int32(p), int64(o)}); log[o].bad != g.dead[at] {
				g.t.Errorf("click at %d[%d] is a dead letter: %v, want %v", p, o, g.dead[at], log[o].bad)
			}
		}
	}
}

// noted holds what was noted as late against when it came: it was late, or it was dated too far
// ahead of the clock to be kept.
func (g *group) noted() {
	if len(g.wrongEvents) > len(neverTrue) {
		return
	}
	for at := range g.late {
		var k checkoutRecord
		if at.clicks {
			c := &g.clicks[at.partition][at.offset]
			k = checkoutRecord{checkout{c.id, c.user, c.product, c.t}, c.seq, c.at}
		} else {
			k = g.checkouts[at.partition][at.offset]
		}
		if late := k.at - k.t; late <= 9*minute && late > -hour { // the clock that decides may be 6 minutes ahead
			g.t.Errorf("%s is noted as late: it was by %v", k.id, time.Duration(late)*time.Microsecond)
		}
	}
}

// explained says whether the click that a row misses, or the checkout, was noted as late.
func (g *group) explained(k checkout, want row) bool {
	for at := range g.late {
		if at.clicks && g.clicks[at.partition][at.offset].id == want.click || !at.clicks && g.checkouts[at.partition][at.offset].id == k.id {
			return true
		}
	}
	return false
}

func TestTwoInstancesGiveTheBruteForceTableOrSayWhyNot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := newGroup(t)
		for p := range g.checkouts {
			g.instances[p%2].claim(int32(p))
		}
		for range rapid.IntRange(20, 300).Draw(t, "steps") {
			g.step()
		}
		g.drain()
		g.compare()
		g.noted()
	})
}
