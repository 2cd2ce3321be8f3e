package join_test

import (
	"maps"
	"slices"

	"pgregory.net/rapid"
)

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
			in.g.t.Fatal("an attempt that has just begun does not cover a shard")
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
	restoring := st.at.OpenOffset < st.at.NextOffset
	_, late := in.core.AddShard(p, st.at, restoring)
	for i := range late {
		in.noteLate(p, &late[i])
	}
	if restoring {
		in.restores[p] = &restoreJob{from: st.at.OpenOffset, to: st.at.NextOffset, upTo: st.at.ClicksNext}
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
		in.readClicks(rapid.IntRange(0, len(g.clicks)-1).Draw(g.t, "partition"),
			rapid.IntRange(1, 30).Draw(g.t, "records"))
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
		in.insertClicks(rapid.IntRange(0, len(g.clicks)-1).Draw(g.t, "partition"),
			rapid.IntRange(1, 30).Draw(g.t, "records"))
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
			if owner := g.stored[int32(p)].owner; owner == 0 || owner != g.instances[0].owns[int32(p)].owner &&
				owner != g.instances[1].owns[int32(p)].owner {
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
