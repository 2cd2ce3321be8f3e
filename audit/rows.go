package audit

import (
	"cmp"
	"slices"
)

// verifyPolicy is what Verify and Repair do with the rows and records of a checkout_id. It finds
// what is missing, extra or has other own columns, and checks dead letters for conflicts. It
// enqueues the checkouts whose click is to be compared.
//
// Which of several records made the row depends on which shard committed first. Within a partition
// it is the record with the lowest offset, unless Postgres refused it. So the row must equal the
// first record of some partition. Its click must be right for every such record of the row's user:
// a shard whose checkout already has a row moves the row to the earlier click.
type verifyPolicy struct {
	*verifyRun
	group rowGroup
}

// rowGroup is what is known of one checkout_id so far.
type rowGroup struct {
	row       *item
	records   int64
	partition int32 // of the last record that could have become a row
	winners   []item
	equal     *item // equals the row, but is not its partition's first
	unequal   *item // the first one that differs from the row without a dead letter
	unmarked  int64 // how many differ without one
	shadowed  bool  // a refused or retried record came before others of its partition
	missing   *item // should have a row, and there is none
	before    *item // lies before the group's start
}

func (v *verifyPolicy) add(x *item) {
	g, k := &v.group, *x
	if k.kind == kindRow {
		v.actual.add(k.id, k.click)
		if g.row != nil {
			v.withoutRecord(&k, "no row: no record that was read has this checkout_id")
			return
		}
		g.row, g.partition = &k, -1
		return
	}
	if k.flags&flagBefore != 0 {
		if g.before == nil || k.flags&flagSkipped != 0 {
			g.before = &k
		}
		return
	}
	if g.records++; g.records > 1 {
		v.report.Duplicates++
	}
	if k.flags&flagRefused != 0 {
		g.shadowed = true
		if k.flags&flagResolved == 0 { // else the columns may have been changed since
			v.compareClick(k, nil, 0)
		}
	}
	if g.row == nil {
		switch {
		case k.flags&flagRefused != 0:
		case k.flags&flagConflict != 0:
			v.unexplained(&k, "no dead letter: there is no row that it could differ from", reasonConflict)
		case k.flags&(flagPending|flagOptional) == 0 && g.missing == nil:
			g.missing = &k
		}
		return
	}
	first := false
	if k.flags&(flagRefused|flagOptional) != 0 {
		g.shadowed = true
	} else {
		first = k.partition != g.partition
		g.partition = k.partition
	}
	if name, _, _ := v.snap.columns.differing(g.row, k.event); name != "" {
		// A pending record becomes a dead letter when it is read.
		if k.flags&(flagConflict|flagRefused|flagOptional|flagPending) == 0 {
			if g.unmarked++; g.unequal == nil {
				g.unequal = &k
			}
		}
		return
	}
	if k.flags&flagConflict != 0 {
		v.unexplained(&k, "no dead letter: it equals its row", reasonConflict)
	}
	// A later record of the partition equals the first, and so does its click, unless the user
	// differs: the table has no user.
	if first || len(g.winners) > 0 && g.winners[0].user != k.user {
		g.winners = append(g.winners, k)
	} else if g.equal == nil {
		g.equal = &k
	}
}

// conclude decides what the row is, after all records of the checkout_id.
func (v *verifyPolicy) conclude() {
	g := v.group
	v.group = rowGroup{}
	if g.row == nil {
		switch {
		case g.missing != nil:
			v.compareClick(*g.missing, nil, 0)
		case g.records == 0 && g.before != nil && g.before.flags&flagSkipped != 0:
			v.addExample(KindMissing, g.before, "a row: its time is not before --start, "+
				"which could not find it, for its record has no timestamp", "no row")
		}
		return
	}
	if len(g.winners) == 0 && g.equal != nil &&
		(g.shadowed || g.before != nil || v.lost[topicCheckouts].in[g.equal.partition]) {
		g.winners = append(g.winners, *g.equal) // an earlier record may be missing
	}
	var name, want, there string
	if g.unequal != nil {
		name, want, there = v.snap.columns.differing(g.row, g.unequal.event)
	}
	if g.unequal != nil && (len(g.winners) > 0 || g.before != nil) {
		v.addExample(KindDeadLetterMissing, g.unequal,
			"dead letter, reason conflict: "+name+" is "+want+" here, "+there+" in its row", "none")
		v.report.DeadLettersMissing += g.unmarked - 1
	}
	switch {
	case len(g.winners) > 0:
		several := int32(0)
		if slices.ContainsFunc(g.winners, func(k item) bool { return k.user != g.winners[0].user }) {
			several = flagSeveral
		}
		for i, k := range g.winners {
			flags := several
			if i == 0 && several == 0 && (v.cfg.Names || !g.row.name.valid) {
				flags |= flagName
			}
			v.compareClick(k, g.row, flags)
		}
	case g.before != nil:
		v.otherJobs(g.row)
	case g.equal != nil:
		v.addExample(KindDifferent, g.equal,
			"the content of the first record with this checkout_id", "the content of a later one")
		v.compareClick(*cmp.Or(g.unequal, g.equal), g.row, flagJudged)
	case g.unequal != nil:
		v.addExample(KindDifferent, g.unequal, name+" "+want, name+" "+there)
		v.compareClick(*g.unequal, g.row, flagJudged)
	case g.records == 0:
		v.withoutRecord(g.row, "no row: no record that was read has this checkout_id")
	default:
		v.withoutRecord(g.row, "no row: every record that was read with this checkout_id is a dead letter, or will be")
	}
}

// compareClick enqueues a checkout. Without a row it is one that is missing, or refused.
func (v *verifyPolicy) compareClick(k item, row *item, flags int32) {
	if k.flags&(flagRefused|flagRefusedClick) == 0 {
		k.values = nil // only a trial needs them
	}
	v.enqueue(k, row, flags)
}

// withoutRecord reports a row that no record made: want says why. A record that Kafka has lost may
// have made it.
func (v *verifyPolicy) withoutRecord(row *item, want string) {
	lost := &v.lost[topicCheckouts]
	timed := row.flags&flagTimed != 0
	why, doubtful, ok := lost.admits(row.time)
	if !timed { // firstclick writes no such row
		why, doubtful, ok = lost.admits(noTime)
		ok = ok && why == lostBeforeStart
	}
	ahead, isAhead := lost.ahead[row.id]
	if isAhead = isAhead && !ok && timed && ahead.time == row.time; isAhead {
		why, doubtful, ok = ahead.why, false, true
	}
	e := Example{Kind: KindExtra, CheckoutID: row.id, Expected: want, Actual: rowText(row), Partition: -1, Offset: -1}
	switch {
	case !ok:
		v.report.Judged++
		v.report.add(e, v.cfg.Examples)
		return
	case why == lostBeforeStart && !doubtful:
		v.otherJobs(row)
		return
	case !isAhead: // else firstclick.late says that it was there
		lost.claim(row.time)
	}
	if doubtful {
		v.report.Doubtful++
	}
	v.expected.add(row.id, row.click)
	e.Kind, e.Expected = KindUnverifiable, "unknown: "+why
	v.report.add(e, v.cfg.Examples)
}

// otherJobs counts a row of before the group's start. Another job wrote it.
func (v *verifyPolicy) otherJobs(row *item) {
	v.report.BeforeStart++
	v.expected.add(row.id, row.click)
}

func (v *verifyRun) unexplained(k *item, want, reason string) {
	v.addExample(KindDeadLetterUnexplained, k, want, letterText(reason))
}

// addExample counts a finding about a checkout, and shows it if there is room.
func (v *verifyRun) addExample(kind Kind, k *item, expected, actual string) {
	v.report.add(v.exampleOf(kind, k, expected, actual), v.cfg.Examples)
}

func (r *run) exampleOf(kind Kind, k *item, expected, actual string) Example {
	return Example{
		Kind: kind, CheckoutID: k.id, Expected: expected, Actual: actual,
		Topic: r.logs[topicCheckouts].name, Partition: k.partition, Offset: k.offset,
	}
}
