package join

import (
	"firstclick/join/event"
	"firstclick/join/open"
)

// CanTakeOver says whether a shard stored at this position can be taken over with what was read so
// far. The window must reach back far enough. And every click that came too late for the shard's
// rows, and whose note may have died with the last owner, must be known to be too late here.
func (c *Core) CanTakeOver(at event.Position) bool {
	if floor := c.win.Stats().Floor; floor != event.NoTime &&
		(at.ExpireBefore == event.NoTime || at.ExpireBefore < floor) {
		return false
	}
	for i := range c.parts {
		p := &c.parts[i]
		switch {
		case i < len(at.ClicksRestore) && p.started > at.ClicksRestore[i] && !p.lost:
			return false
		// invariant: also where Postgres failed over and lost that the notes were stored
		case p.notesFrom > at.Effective(i):
			return false
		case p.farFrom > 0 && at.NeedsClick(int32(i), p.farFrom-1):
			return false
		}
		for _, read := range p.maybeLate {
			if read.missedBy(&at, i) {
				return false
			}
		}
	}
	return true
}

// Restoring says whether open checkouts of an earlier owner are still being read.
func (s *Shard) Restoring() bool { return s.restoring }

// Restore takes in checkouts that an earlier owner released, as read again from Kafka, and asserts
// the best click of each: a correction may have been lost between two shards' transactions. The
// clicks up to the stored position must have been read (see [Core.ReadUpTo]). It returns the
// checkouts that are far: they are to be noted, because no correction waits for them.
func (c *Core) Restore(s *Shard, checkouts []event.Checkout) (far []*event.Checkout) {
	for i := range checkouts {
		k := &checkouts[i]
		if k.Skip || k.Offset >= s.stored.NextOffset || k.Time < s.final {
			continue
		}
		if k.Time > c.clock.limits.far {
			far = append(far, k)
			continue
		}
		raise(&c.frontier, k.Time)
		o := open.Checkout{Time: k.Time, Offset: k.Offset, ID: k.ID}
		o.ClickTime, o.Click, o.HasClick = c.win.First(k.Key, k.Time-c.window, k.Time)
		s.open.Add(k.Key, o)
		if o.HasClick {
			s.Corrections = append(s.Corrections, event.Correction{Offset: k.Offset, Key: k.Key, Time: k.Time,
				Checkout: k.ID, Click: o.Click, ClickTime: o.ClickTime})
		}
	}
	return far
}

// RestoreDone says that all open checkouts of the earlier owner were given to Restore. The restore
// points may move on, with the transaction that holds their corrections or a later one.
func (c *Core) RestoreDone(s *Shard) {
	s.restoring = false
	c.finalize(s)
}
