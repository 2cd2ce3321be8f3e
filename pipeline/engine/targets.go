package engine

import "firstclick/join/event"

// targets are the ends that a run until caught up reaches: those of its start.
type targets struct{ clicks, checkouts []int64 }

// reached says whether a shard's position is at the ends.
func (t *targets) reached(p int, pos *event.Position) bool {
	if pos.NextOffset < at(t.checkouts, p) {
		return false
	}
	for c, want := range t.clicks {
		if c >= len(pos.ClicksNext) || pos.ClicksNext[c] < want {
			return false
		}
	}
	return true
}

// checkTargets ends a run until caught up when Postgres holds everything that was there at the
// start: rows, corrections of what an earlier owner left, dead letters.
func (e *Engine) checkTargets() {
	if !e.UntilCaughtUp || e.notes() > 0 {
		return
	}
	for p := range e.targets.checkouts {
		if sh := e.shards[int32(p)]; sh != nil {
			if !e.targets.reached(p, &sh.at) || sh.Restoring() || sh.HasCorrections() || sh.inFlight != nil {
				return
			}
			continue
		}
		done := false
		for i := range e.stored.shards {
			st := &e.stored.shards[i]
			done = done || int(st.Claim.Partition) == p && e.targets.reached(p, &st.Position)
		}
		if !done {
			return
		}
	}
	e.CaughtUp()
}
