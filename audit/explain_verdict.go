package audit

import (
	"cmp"
	"slices"
)

// sources are the records that may have written the row, or would write it, the likeliest first.
// The retry of a dead letter is a record of its own. If only the dead letter is found, somebody may
// have written the row by hand.
func (x *explainer) sources() []*foundCheckout {
	var same, other []*foundCheckout
	onlyLetters := !slices.ContainsFunc(x.records, func(k foundCheckout) bool { return k.reason == "" && k.dead == "" })
	for i := range x.records {
		k := &x.records[i]
		switch {
		case k.reason != "", k.dead != "" && (!onlyLetters || x.row == nil || k.status != "retried"):
		case x.row != nil && x.differs(k) != "":
			other = append(other, k)
		default:
			same = append(same, k)
		}
	}
	byTime := func(a, b *foundCheckout) int { // what was read comes first
		return cmp.Or(cmp.Compare(a.flags&flagPending, b.flags&flagPending), cmp.Compare(a.stamp, b.stamp))
	}
	slices.SortStableFunc(same, byTime)
	slices.SortStableFunc(other, byTime)
	if len(same) > 0 {
		return same
	}
	return other[:min(1, len(other))]
}

// differs names the first own column in which the row is not what a record would be stored as.
func (x *explainer) differs(k *foundCheckout) string {
	name, _, _ := x.snap.columns.differing(x.row, k.event)
	return name
}

// withoutSource is the verdict when no record can have written the row.
func (x *explainer) withoutSource() Verdict {
	hasLetter := false
	for ref := range x.dead {
		hasLetter = hasLetter || ref.topic == topicCheckouts
	}
	switch {
	case x.row != nil && (x.gone[topicCheckouts] || x.beforeStart()):
		return VerdictUnverifiable
	case x.row != nil:
		return VerdictWrong
	case hasLetter:
		return VerdictDeadLetter
	case slices.ContainsFunc(x.records, func(k foundCheckout) bool { return k.flags&flagPending != 0 }):
		return VerdictPending
	case len(x.records) > 0:
		return VerdictMissing
	default:
		return VerdictUnknown
	}
}

// beforeStart says whether the row's time is before the group's start, in a topic that has records
// of that time. Then another job wrote it.
func (x *explainer) beforeStart() bool {
	some := slices.ContainsFunc(x.snap.topics[topicCheckouts].starts, func(from int64) bool { return from > 0 })
	if !some || x.row.flags&flagTimed == 0 || x.row.time >= x.snap.begun+x.snap.skew {
		return false
	}
	x.note("the row's time is before the start of group %s, which does not answer for it: another job wrote it",
		x.cfg.Group)
	return true
}

// judge compares the row with the answers found so far, by the rules of Verify.
func (x *explainer) judge() Verdict {
	p := x.picked
	if x.row == nil {
		if x.source.flags&flagPending != 0 {
			return VerdictPending
		}
		return VerdictMissing
	}
	if x.source != nil && x.differs(x.source) != "" {
		if x.source.flags&flagPending != 0 && x.gone[topicCheckouts] {
			return VerdictUnverifiable // the record that it was made of may be among those that are gone
		}
		return VerdictWrong
	}
	switch kind, exists := kindOf(&p.k, p.answers, newWindow(&x.snap)); {
	case kind == "":
		return VerdictRight
	case kind == KindPending:
		return VerdictPending
	case kind == KindExplained:
		return VerdictLate
	case !exists && x.gone[topicClicks]:
		return VerdictUnverifiable
	case refusedClick(&p.k, p.answers):
		return VerdictRefusedClick
	default:
		return VerdictWrong
	}
}
