package join_test

import (
	"fmt"

	"pgregory.net/rapid"

	"firstclick/join"
	"firstclick/join/event"
)

func (g *group) produce() {
	for range rapid.IntRange(1, 20).Draw(g.t, "events") {
		g.clock += rapid.Int64Range(0, 10*second).Draw(g.t, "gap")
		g.seq++
		user, product := rapid.IntRange(1, 2).Draw(g.t, "user"), rapid.IntRange(1, 2).Draw(g.t, "product")
		back := rapid.SampledFrom([]int64{0, 0, 0, second, 20 * second, 9 * 60 * second, 20 * 60 * second}).Draw(g.t,
			"late by")
		t := (g.clock - back) / second * second
		if g.wrongEvents != nil {
			t += wrongBy(g.t, g.wrongEvents)
		}
		p := rapid.IntRange(0, 11).Draw(g.t, "partition")
		switch kind := rapid.IntRange(0, 19).Draw(g.t, "kind"); {
		case kind < 10:
			c := click{fmt.Sprintf("c%d-%d", rapid.IntRange(0, 99).Draw(g.t, "id"), g.seq), user, product, t}
			g.append(p, c, false)
		case kind == 10:
			g.append(p, click{"bad", user, product, t}, true)
		case kind == 11:
			g.append(p, click{}, false)
		case kind < 18:
			k := checkout{fmt.Sprintf("k%d", g.seq), user, product, t}
			if kind == 17 { // an id that was there before, with the same content or another
				if same := g.checkouts[p%len(g.checkouts)]; len(same) > 0 {
					old := same[rapid.IntRange(0, len(same)-1).Draw(g.t, "same as")].checkout
					k.id = old.id
					if rapid.Bool().Draw(g.t, "equal") {
						k = old
					}
				}
			}
			g.appendCheckout(p/2, k)
		default:
			g.appendCheckout(p, checkout{})
		}
	}
}

func (g *group) append(p int, c click, bad bool) {
	p %= len(g.clicks)
	g.clicks[p] = append(g.clicks[p], clickRecord{c, g.seq, g.clock, bad})
}

func (g *group) appendCheckout(p int, k checkout) {
	p %= len(g.checkouts)
	g.checkouts[p] = append(g.checkouts[p], checkoutRecord{k, g.seq, g.clock})
}

// noteLate goes into the shard's next transaction.
func (in *instance) noteLate(shard int32, k *join.Candidate) {
	b := in.batches[shard]
	b.late = append(b.late, place{true, k.Partition, k.Offset})
}

func (in *instance) readClicks(p, n int) {
	in.insertClicks(p, n)
	in.tellClicks(p)
}

// insertClicks is a read up to where its reader waits for the core.
func (in *instance) insertClicks(p, n int) {
	if p >= len(in.read) {
		return // not heard of yet
	}
	in.tellClicks(p)
	log := in.g.clicks[p]
	to := min(int(in.read[p])+n, len(log))
	if to <= int(in.read[p]) {
		return
	}
	var r join.ClicksRead
	r.Reset(int32(p))
	r.SetLimits(in.core.LimitsAt(in.wall(), in.g.clock))
	for o := in.read[p]; o < int64(to); o++ {
		r.Next = o + 1
		c := &log[o]
		fresh := o >= placeIn(in.fresh, p)
		switch {
		case c.bad && fresh:
			in.dead = append(in.dead, place{true, int32(p), o})
			continue
		case c.bad || c.id == "":
			continue
		}
		key, id := hasher.Key(int32(c.user), fmt.Append(nil, c.product)), event.MakeID([]byte(c.id))
		in.window.Insert(key, c.t, id)
		r.Add(c.t, o)
		if r.IsCandidate(c.t, in.core.Frontier(), in.core.LateBefore(), fresh) {
			r.Candidates = append(r.Candidates, join.Candidate{Key: key, Time: c.t, ID: id, Offset: o})
		}
	}
	in.read[p] = int64(to)
	in.flying[p] = &r
}

// tellClicks tells the core of the read that waits.
func (in *instance) tellClicks(p int) {
	if r := in.flying[p]; r != nil {
		delete(in.flying, p)
		in.tellClock()
		late, missed := in.core.Clicks(r, in.g.clock)
		for i := range late {
			in.noteLate(late[i].Shard, &late[i].Candidate)
		}
		if missed {
			in.begin()
		}
	}
}

// restore reads some records of each shard again. It begins when the clicks have been read up to
// where the last owner was.
func (in *instance) restore(n int64) {
	for _, s := range in.core.Shards() {
		r := in.restores[s.Partition]
		if r == nil || !in.core.ReadUpTo(r.upTo) {
			continue
		}
		if r.rejected == nil {
			r.rejected = map[int64]bool{}
			for at := range in.g.dead {
				r.rejected[at.offset] = r.rejected[at.offset] || !at.clicks && at.partition == s.Partition
			}
		}
		to := min(r.from+n, r.to)
		records := in.fetchable(s.Partition, r.from, to)
		for i := range records {
			records[i].Skip = records[i].Skip || r.rejected[records[i].Offset]
		}
		for _, k := range in.core.Restore(s, records) {
			b := in.batches[s.Partition]
			b.late = append(b.late, place{false, s.Partition, k.Offset})
		}
		if r.from = to; to == r.to {
			in.core.RestoreDone(s)
			delete(in.restores, s.Partition)
		}
	}
}

func (in *instance) fetchable(p int32, from, to int64) []event.Checkout {
	var out []event.Checkout
	for o := from; o < to; o++ {
		k := in.g.checkouts[p][o]
		out = append(out, event.Checkout{
			Offset: o, Time: k.t, Key: hasher.Key(int32(k.user),
				fmt.Append(nil, k.product)), ID: event.MakeID([]byte(k.id)), Barrier: in.asked + 1,
			Skip: k.id == "",
		})
	}
	return out
}

func (in *instance) fetch(p int32, n int) {
	if s := in.core.Shard(p); s != nil {
		from := s.Next() + int64(s.Queued())
		s.Fetched(in.fetchable(p, from, min(from+int64(n), int64(len(in.g.checkouts[p])))))
	}
}

func (in *instance) ask() {
	in.asked++
	clicks, checkouts := make([]int64, len(in.g.clicks)), make([]int64, len(in.g.checkouts))
	for p := range clicks {
		clicks[p] = int64(len(in.g.clicks[p]))
	}
	for p := range checkouts {
		checkouts[p] = int64(len(in.g.checkouts[p]))
	}
	in.core.CheckoutsEnds(checkouts, in.g.clock)
	for _, p := range in.core.ClicksEnds(in.asked, clicks, nil, in.g.clock) {
		in.read = append(in.read, 0)
		in.core.AddClicks(p, 0, event.NoTime, in.g.clock)
	}
}
