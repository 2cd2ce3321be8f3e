package audit

import (
	"cmp"
	"slices"
)

// foundClick is a click of the checkout's user on its product.
type foundClick struct {
	heldClick
	stamp  int64  // the record's timestamp in microseconds; -1: none, or not known any more
	reason string // why it is a dead letter; "": it is none
}

func (c foundClick) compare(o foundClick) int {
	return cmp.Or(c.click().compare(o.click()), cmp.Compare(c.partition, o.partition), cmp.Compare(c.offset, o.offset))
}

// clickList keeps those clicks that are shown, and the answers over all of them, in bounded memory.
type clickList struct {
	join     JoinSpan
	from, to int64
	k        item // the checkout, with the row's click
	shard    shard
	column   column // of the rows' click times
	answers

	before, inside, after []foundClick
	dropped               int64 // of those inside
	rowStamp              int64 // of the first record of the row's click
	untimed               bool  // some record has no timestamp
}

func (p *clickList) add(c foundClick) {
	switch {
	case c.time < p.from:
		p.before = keepFirst(append(p.before, c), outsideShown, func(a, b foundClick) int { return b.compare(a) })
		return
	case c.time > p.to:
		p.after = keepFirst(append(p.after, c), outsideShown, foundClick.compare)
		return
	case c.reason == "":
		first := func(into *click, r rule) {
			if r.admits(c.heldClick, p.shard) && c.click().compare(*into) < 0 {
				*into = c.click()
			}
		}
		first(&p.best, rule{})
		if p.k.flags&flagPending == 0 {
			read, onTime, _ := rules(&p.k, p.shard)
			first(&p.read, read)
			first(&p.onTime, onTime)
		}
		if row := p.k.click; row.ok() && c.id == row.id && p.column.storedTime(c.time) == row.time {
			if !p.existing.ok() || c.stamp >= 0 && (p.rowStamp < 0 || c.stamp < p.rowStamp) {
				p.rowStamp = c.stamp
			}
			p.existing = c.click()
		}
	}
	if p.inside = append(p.inside, c); len(p.inside) >= 4*clicksShown {
		p.trim()
	}
}

// keepFirst sorts, leaves out what is there twice, and keeps the first n.
func keepFirst(list []foundClick, n int, compare func(a, b foundClick) int) []foundClick {
	slices.SortFunc(list, compare)
	list = slices.CompactFunc(list, func(a, b foundClick) bool {
		return a.partition == b.partition && a.offset == b.offset
	})
	return list[:min(n, len(list))]
}

// trim keeps the first clicks, and that of the row.
func (p *clickList) trim() {
	all := keepFirst(p.inside, len(p.inside), foundClick.compare)
	shown := all[:min(clicksShown, len(all))]
	for _, c := range all[len(shown):] {
		if c.click() == p.k.click && len(shown) == clicksShown {
			shown = append(shown, c)
		} else {
			p.dropped++
		}
	}
	p.inside = shown
}
