package audit

import (
	"cmp"
	"slices"
)

// window holds the clicks of one user and product that the next checkout can have. Clicks and
// checkouts come in one stream by user, product and time; a click that is too early for one item is
// too early for all that follow. In memory are the clicks of one key and one window.
type window struct {
	length int64
	column column // of the rows' click times

	user    int32
	product string
	held    []heldClick // by time and id
	head    int         // those before it are too early
	late    bool        // some are in firstclick.late
	cursors []ruleCursor

	exists bool // the user exists
	name   optional
}

// heldClick is a click of the window.
type heldClick struct {
	time      int64
	id        string
	partition int32
	offset    int64
	flags     int32
}

func (c heldClick) click() click { return click{id: c.id, time: c.time, set: hasBoth} }

// rule says which clicks count.
type rule struct {
	read    bool  // only those that the shard has read
	shard   int32 // likewise
	without int32 // none with one of these flags; if a click has flagEarly, only that flag decides
}

func (r rule) admits(c heldClick, s shard) bool {
	switch {
	case c.flags&flagBefore != 0, r.read && !s.hasRead(c.partition, c.offset):
		return false
	case c.flags&flagEarly != 0:
		return r.without&flagEarly == 0
	}
	return c.flags&r.without == 0
}

// ruleCursor is how far the search by one rule has come: no click before at counts, for whichever
// checkout follows.
type ruleCursor struct {
	rule
	at int
}

func newWindow(s *snapshot) *window {
	return &window{length: s.window.Microseconds(), column: s.columns["click_time"]}
}

// advance goes to the next item of the stream, and forgets what is too early for it.
func (w *window) advance(x *item) {
	if w.user != x.user || w.product != x.product {
		if w.user != x.user {
			w.exists = false
		}
		w.user, w.product = x.user, x.product
		w.held, w.head, w.late, w.cursors = w.held[:0], 0, false, w.cursors[:0]
	}
	switch x.kind {
	case kindUser:
		w.exists, w.name = true, x.name
		return
	case kindClick:
		w.held = append(w.held, heldClick{x.time, x.id, x.partition, x.offset, x.flags})
		w.late = w.late || x.flags&flagLate != 0
	}
	for w.head < len(w.held) && w.held[w.head].time < x.time-w.length {
		w.head++
	}
	if w.head > len(w.held)/2 {
		gone := w.head
		w.held, w.head = slices.Delete(w.held, 0, gone), 0
		for i := range w.cursors {
			w.cursors[i].at = max(0, w.cursors[i].at-gone)
		}
	}
}

// clicks are those in the window of the checkout that the stream is at.
func (w *window) clicks() []heldClick { return w.held[w.head:] }

// first is the first click in the window that counts.
func (w *window) first(r rule, s shard) click {
	i := slices.IndexFunc(w.cursors, func(c ruleCursor) bool { return c.rule == r })
	if i < 0 {
		i = len(w.cursors)
		w.cursors = append(w.cursors, ruleCursor{rule: r})
	}
	c := &w.cursors[i]
	c.at = max(c.at, w.head)
	for c.at < len(w.held) && !r.admits(w.held[c.at], s) {
		c.at++
	}
	if c.at == len(w.held) {
		return click{}
	}
	return w.held[c.at].click()
}

// maxBetter is how many clicks a trial tries in a row: as many as the pipeline tries when it writes
// it.
const maxBetter = 16

// better are the first clicks in the window that the shard has read and that are better than the
// row's.
func (w *window) better(row click, s shard) (list []heldClick) {
	for _, c := range w.clicks() {
		if len(list) == maxBetter || c.click().compare(row) >= 0 {
			break
		}
		if (rule{read: true}).admits(c, s) && (len(list) == 0 || list[len(list)-1].click() != c.click()) {
			list = append(list, c)
		}
	}
	return list
}

// find is the click that a row has, to the microsecond: the column may hold less.
func (w *window) find(row click) click {
	if !row.ok() {
		return click{}
	}
	slack := w.column.unit() / 2
	clicks := w.clicks()
	byTime := func(c heldClick, t int64) int { return cmp.Compare(c.time, t) }
	from, _ := slices.BinarySearchFunc(clicks, row.time-slack, byTime)
	for _, c := range clicks[from:] {
		if c.time > row.time+slack {
			break
		}
		if c.id == row.id && w.column.storedTime(c.time) == row.time {
			return c.click()
		}
	}
	return click{}
}

// answers are the best clicks of a checkout. None lies below the group's start.
type answers struct {
	best       click // of all
	read       click // of those that the checkout's shard has read
	onTime     click // of those, without those that came too late
	unrecorded click // of those, without those in firstclick.late
	existing   click // not an answer: the row's click to the microsecond, if Kafka or firstclick.late has it
}

// rules say which clicks count for the answers read, onTime and unrecorded. Once a row is final, a
// click that comes too late is recorded in firstclick.late. A recorded click does not excuse a row
// that still moves, unless it was dated far ahead: a restart may have forgotten it.
func rules(k *item, s shard) (read, onTime, unrecorded rule) {
	read = rule{read: true, shard: k.partition}
	onTime, unrecorded = read, read
	onTime.without, unrecorded.without = flagAhead, flagLate|flagEarly
	if k.time < s.finalBefore {
		onTime.without = flagLate
	}
	return read, onTime, unrecorded
}

// answers finds the answers of the checkout that the stream is at.
func (w *window) answers(k *item, s shard) answers {
	a := answers{best: w.first(rule{}, s), existing: w.find(k.click)}
	if k.flags&flagPending != 0 {
		return a // the shard has not read the checkout: nothing is demanded of the row
	}
	read, onTime, unrecorded := rules(k, s)
	a.read = w.first(read, s)
	a.onTime, a.unrecorded = a.read, a.read
	if w.late {
		a.onTime, a.unrecorded = w.first(onTime, s), w.first(unrecorded, s)
	}
	return a
}
