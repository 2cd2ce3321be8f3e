package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// compareRows merges the rows with the checkouts, both by checkout_id. It finds what is missing, extra or has other own columns,
// judges conflicts, and sorts the checkouts whose click is to be judged next.
func (a *audit) compareRows(ctx context.Context) error {
	a.progress.phase("rows compared", a.snap.rowCount)
	rows, err := newStream(a.snap.rows, parseRow)
	if err != nil {
		return err
	}
	defer rows.Close()
	checkouts, err := newStream(a.checkoutSort, parseCheckout)
	if err != nil {
		return err
	}
	defer checkouts.Close()
	for rows.ok || checkouts.ok {
		if err := ctx.Err(); err != nil {
			return err
		}
		// A checkout_id at a time: its row, if there is one, and all its records.
		c := comparison{audit: a, partition: -1}
		id := checkouts.head.id
		if rows.ok && (!checkouts.ok || rows.head.id <= id) {
			id = rows.head.id
			c.row = rows.head
			c.there = true
			if err := rows.next(); err != nil {
				return err
			}
			a.actual.add(c.row.id, c.row.click.text, c.row.clickTime, c.row.click.valid)
			a.progress.add(1)
		}
		for checkouts.ok && checkouts.head.id == id {
			if err := c.record(checkouts.head); err != nil {
				return err
			}
			if err := checkouts.next(); err != nil {
				return err
			}
		}
		if err := c.conclude(); err != nil {
			return err
		}
	}
	if err := a.checkoutSort.Drop(); err != nil {
		return fmt.Errorf("drop sorted checkouts: %w", err)
	}
	if err := a.nameSort.Finish(); err != nil {
		return err
	}
	return a.askSort.Finish()
}

// stream is a sort's items, one looked at in advance.
type stream[T any] struct {
	*cursor
	parse func([]byte) T
	head  T
	ok    bool
}

func newStream[T any](s *sorter, parse func([]byte) T) (*stream[T], error) {
	c, err := s.Open()
	if err != nil {
		return nil, err
	}
	st := &stream[T]{cursor: c, parse: parse}
	if err := st.next(); err != nil {
		c.Close()
		return nil, err
	}
	return st, nil
}

func (s *stream[T]) next() error {
	item, ok, err := s.cursor.Next()
	if s.ok = ok; ok {
		s.head = s.parse(item)
	}
	return err
}

// comparison is what is learned about one checkout_id.
//
// Which of several records comes first is decided by the pipeline's commits; but within a partition it is the one with the
// lowest offset, unless Postgres refused it. So the row must be one of the partitions' first ones. Its click must do for each of these that
// has its user: a shard that meets the row moves it to the earlier click.
type comparison struct {
	audit *audit
	row   tableRow
	there bool

	records   int64
	partition int32 // of the last record that could have become a row
	winners   []checkout
	equal     *checkout // equal to the row, but not its partition's first
	unequal   *checkout // the first one that differs from the row without a dead letter
	unmarked  int64     // how many do so and should have one
	shadowed  bool      // a refused or retried record came before others of its partition
	missing   *checkout // should have a row, and there is none
	before    *checkout // lies before the group's start
}

func (c *comparison) record(k checkout) error {
	if k.flags&flagBefore != 0 {
		if c.before == nil || k.flags&flagSkipped != 0 {
			c.before = &k
		}
		return nil
	}
	if c.records++; c.records > 1 {
		c.audit.report.Duplicates++
	}
	if k.flags&flagRefused != 0 {
		c.shadowed = true
		if err := c.audit.askRefused(k); err != nil {
			return err
		}
	}
	if !c.there {
		c.withoutRow(k)
		return nil
	}
	first := false
	if k.flags&(flagRefused|flagUnasked) != 0 {
		c.shadowed = true
	} else {
		first = k.partition != c.partition
		c.partition = k.partition
	}
	if name, _, _ := c.row.differing(c.audit.snap.columns, k.event); name == "" {
		c.matching(k, first)
	} else {
		c.differing(k)
	}
	return nil
}

func (c *comparison) withoutRow(k checkout) {
	switch {
	case k.flags&flagRefused != 0:
	case k.flags&flagConflict != 0:
		c.audit.unexplained(k, "no dead letter: there is no row that it could differ from", reasonConflict)
	case k.flags&(flagPending|flagUnasked) == 0 && c.missing == nil:
		c.missing = &k
	}
}

func (c *comparison) matching(k checkout, first bool) {
	if k.flags&flagConflict != 0 {
		c.audit.unexplained(k, "no dead letter: it equals its row", reasonConflict)
	}
	// A later one of the partition is the first one's equal, and so is their click, unless only the user is another: the table cannot tell.
	if !first && (len(c.winners) == 0 || c.winners[0].user == k.user) {
		if c.equal == nil {
			c.equal = &k
		}
		return
	}
	c.winners = append(c.winners, k)
}

func (c *comparison) differing(k checkout) {
	if k.flags&(flagConflict|flagRefused|flagUnasked) != 0 {
		return
	}
	if k.flags&flagPending != 0 {
		return // not read so far: it will be a dead letter
	}
	if c.unmarked++; c.unequal == nil {
		c.unequal = &k
	}
}

// conclude judges when all records of the checkout_id were seen.
func (c *comparison) conclude() error {
	a := c.audit
	if !c.there {
		switch {
		case c.missing != nil:
			return a.ask(*c.missing, nil, 0)
		case c.records == 0 && c.before != nil && c.before.flags&flagSkipped != 0:
			a.addExample(KindMissing, *c.before, "a row: its time is not before --start, which could not find it, for its record has no timestamp", "no row")
		}
		return nil
	}
	if len(c.winners) == 0 && c.equal != nil && (c.shadowed || c.before != nil || a.lost[topicCheckouts].in[c.equal.partition]) {
		c.winners = append(c.winners, *c.equal) // what came before it is not known well enough
	}
	switch {
	case len(c.winners) > 0:
		return c.won()
	case c.before != nil:
		c.mark()
		return c.earlier()
	case c.equal != nil:
		a.addExample(KindDifferent, *c.equal, "the content of the first record with this checkout_id", "the content of a later one")
	case c.unequal != nil:
		name, want, there := c.row.differing(a.snap.columns, c.unequal.event)
		a.addExample(KindDifferent, *c.unequal, name+" "+want, name+" "+there)
	case c.records == 0:
		return c.withoutRecord("no row: no record that was read has this checkout_id")
	default:
		return c.withoutRecord("no row: every record that was read with this checkout_id is a dead letter, or will be")
	}
	k := c.unequal
	if k == nil {
		k = c.equal
	}
	return a.ask(*k, &c.row, flagJudged)
}

// mark tells of records that are not what their row says, and no dead letters.
func (c *comparison) mark() {
	if c.unmarked == 0 {
		return
	}
	k := *c.unequal
	name, want, there := c.row.differing(c.audit.snap.columns, k.event)
	c.audit.addExample(KindDeadLetterMissing, k, "dead letter, reason conflict: "+name+" is "+want+" here, "+there+" in its row", "none")
	c.audit.report.DeadLettersMissing += c.unmarked - 1
}

// won sorts the records that may have written the row for the next step.
func (c *comparison) won() error {
	a := c.audit
	c.mark()
	var flags int32
	sameUser := !slices.ContainsFunc(c.winners, func(k checkout) bool { return k.user != c.winners[0].user })
	if !sameUser {
		flags = flagSeveral
	}
	for _, k := range c.winners {
		if k.flags&flagRefusedClick != 0 {
			if err := a.refusedClicks.Add(k.append(nil)); err != nil {
				return err
			}
		}
		if err := a.ask(k, &c.row, flags); err != nil {
			return err
		}
	}
	if sameUser && (a.cfg.Names || !c.row.name.valid) {
		return a.askName(c.winners[0], c.row.name)
	}
	return nil
}

// withoutRecord tells of a row that no record can have made, in the words of want, unless what Kafka has lost can have.
func (c *comparison) withoutRecord(want string) error {
	a, r, lost := c.audit, &c.row, &c.audit.lost[topicCheckouts]
	why, doubtful, ok := lost.admits(r.time)
	if !r.timed { // none of firstclick's
		why, doubtful, ok = lost.admits(noTime)
		ok = ok && why == lostBeforeStart
	}
	ahead, isNoted := lost.noted[r.id]
	if isNoted = isNoted && !ok && r.timed && ahead.time == r.time; isNoted {
		why, doubtful, ok = ahead.why, false, true
	}
	if !ok {
		a.report.Judged++
		a.report.add(Example{Kind: KindExtra, CheckoutID: r.id, Expected: want, Actual: r.describe(), Partition: -1, Offset: -1}, a.cfg.Examples)
		return nil
	}
	if why == lostBeforeStart && !doubtful {
		return c.earlier()
	}
	if !isNoted { // what is noted is not counted among what was lost
		lost.claim(r.time)
	}
	a.unverifiable(doubtful)
	a.expected.add(r.id, r.click.text, r.clickTime, r.click.valid)
	a.report.add(Example{Kind: KindUnverifiable, CheckoutID: r.id, Expected: "unknown: " + why, Actual: r.describe(), Partition: -1, Offset: -1}, a.cfg.Examples)
	return nil
}

// earlier counts a row of before the group's start: another job's, for which the group does not answer.
func (c *comparison) earlier() error {
	a, r := c.audit, &c.row
	a.report.BeforeStart++
	a.expected.add(r.id, r.click.text, r.clickTime, r.click.valid)
	return nil
}

func (r tableRow) describe() string {
	var b strings.Builder
	b.WriteString("checkout_time ")
	if r.timed {
		b.WriteString(formatTime(r.time))
	} else {
		b.WriteString("NULL")
	}
	b.WriteString(", " + describeClick(r.click, r.clickTime, r.clickTimed))
	return b.String()
}

func describeClick(id optional, at int64, timed bool) string {
	switch {
	case !id.valid && !timed:
		return "no click"
	case timed:
		return "click " + id.String() + " at " + formatTime(at)
	default:
		return "click " + id.String() + " without a time"
	}
}

func (a *audit) unexplained(k checkout, want, reason string) {
	a.addExample(KindDeadLetterUnexplained, k, want, "dead letter, reason "+reason)
}

// addExample counts a finding about a checkout, and shows it if there is room.
func (a *audit) addExample(kind Kind, k checkout, expected, actual string) {
	a.report.add(Example{Kind: kind, CheckoutID: k.id, Expected: expected, Actual: actual, Topic: a.checkouts.name, Partition: k.partition, Offset: k.offset}, a.cfg.Examples)
}
