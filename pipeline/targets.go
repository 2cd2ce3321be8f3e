package pipeline

import (
	"firstclick/join/event"
	"firstclick/pipeline/sink"
)

// targets is what was there at the start. clicks and checkouts are their ends, for a run until caught up.
type targets struct {
	clicks, checkouts []int64
	beganClicks       []int64
	shards            []sink.State // as stored then
	stored            []sink.State // as stored now
}

// watermark is the least stored one: each shard keeps to its own where that is later. NoTime: a shard has none.
func (t *targets) watermark() int64 {
	if len(t.shards) == 0 {
		return event.NoTime
	}
	w := event.Forever
	for i := range t.shards {
		w = min(w, t.shards[i].Position.Watermark)
	}
	return w
}

// unwritten says whether the shard has read everything that was there at the start, but Postgres does not hold that yet: a run
// until caught up must not wait for the next positions.
func (t *targets) unwritten(l *loop, sh *shard) bool {
	if !l.s.cfg.UntilCaughtUp || sh.Restoring() || t.reached(int(sh.Partition), sh.at) { // nothing can be stored of the clicks while restoring
		return false
	}
	return sh.Next() >= t.checkout(int(sh.Partition)) && l.core.ReadUpTo(t.clicks)
}

func (t *targets) checkout(p int) int64 {
	if p < len(t.checkouts) {
		return t.checkouts[p]
	}
	return 0
}

func (t *targets) reached(p int, at event.Position) bool {
	if at.NextOffset < t.checkout(p) {
		return false
	}
	for c, want := range t.clicks {
		if c >= len(at.ClicksNext) || at.ClicksNext[c] < want {
			return false
		}
	}
	return true
}

// checkTargets ends a run until caught up when everything that was there at the start is in Postgres: rows, corrections of
// what an earlier owner left, dead letters.
func (l *loop) checkTargets() {
	if !l.s.cfg.UntilCaughtUp || l.notes() > 0 {
		return
	}
	for p := range l.targets.checkouts {
		if sh := l.shards[int32(p)]; sh != nil {
			if !l.targets.reached(p, sh.at) || sh.Restoring() || sh.HasCorrections() || sh.inflight != nil {
				return
			}
			continue
		}
		done := false
		for i := range l.targets.stored {
			st := &l.targets.stored[i]
			done = done || int(st.Claim.Partition) == p && l.targets.reached(p, st.Position)
		}
		if !done {
			return
		}
	}
	l.stop()
}
