package audit

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

func (x *explainer) placeOf(t topic, partition int32, offset, stamp int64) Place {
	p := Place{Topic: x.logs[t].name, Partition: partition, Offset: offset}
	if stamp >= 0 {
		p.RecordTime = new(moment(stamp))
	}
	return p
}

func (x *explainer) listRecords() {
	base := x.row
	if base == nil && x.source != nil { // the row that the source would make
		at := x.snap.columns["checkout_time"].storedTime(x.source.time)
		base = &item{flags: flagTimed, event: event{values: x.source.values, time: at}}
	}
	for _, k := range x.records {
		r := CheckoutRecord{
			Place:  x.placeOf(topicCheckouts, k.partition, k.offset, k.stamp),
			UserID: k.user, ProductID: k.product, Time: moment(k.time),
			Pending: k.flags&flagPending != 0, DeadLetter: k.dead,
		}
		if k.reason == "" && base != nil {
			if name, want, there := x.snap.columns.differing(base, k.event); name != "" {
				r.Differs = fmt.Sprintf("%s is %s here, %s there", name, want, there)
			}
		}
		switch {
		case x.source != nil && k.partition == x.source.partition && k.offset == x.source.offset:
			r.Role = RoleSource
		case k.reason != "":
			r.Role = RoleRejected
			r.DeadLetter = cmp.Or(k.dead, k.reason)
		case k.dead == reasonRefused:
			r.Role = RoleRefused
		case r.Differs != "":
			r.Role = RoleConflict
		default:
			r.Role = RoleDuplicate
		}
		x.out.Records = append(x.out.Records, r)
	}
	if x.dropped > 0 {
		x.note("%s more records have this checkout_id; the first %d are looked at", grouped(x.dropped), recordsKept)
	}
}

func (x *explainer) listClicks() {
	p := x.picked
	p.trim()
	x.out.More = p.dropped
	slices.Reverse(p.before)
	ranks, rank := [...]string{RoleWinner, RoleRunnerUp, RoleCandidate}, 0
	var last click
	for _, c := range slices.Concat(p.before, p.inside, p.after) {
		r := ClickRecord{
			Place: x.placeOf(topicClicks, c.partition, c.offset, c.stamp), ClickID: c.id, Time: moment(c.time),
			Before: time.Duration(p.to-c.time) * time.Microsecond,
			Row:    c.click() == p.k.click, Pending: c.flags&flagPending != 0, DeadLetter: c.reason,
			Late: slices.ContainsFunc(x.late, func(l lateRow) bool {
				return l.topic == topicClicks && l.Partition == c.partition && l.Offset == c.offset
			}),
		}
		switch {
		case c.reason != "":
			r.Role = RoleRejected
		case c.click() == last:
			r.Role = RoleDuplicate
		case c.time < p.from:
			r.Role = RoleBefore
		case c.time > p.to:
			r.Role = RoleAfter
		default:
			r.Role = ranks[rank]
			rank = min(rank+1, 2)
		}
		if c.reason == "" {
			last = c.click()
		}
		x.out.Clicks = append(x.out.Clicks, r)
	}
}

// timeStory says when the row was written, as far as can be known, and whether it is final.
func (x *explainer) timeStory() {
	s, p := &x.snap, x.picked
	w := &Timeliness{Watermark: s.watermark, FinalBefore: s.finalBefore, CommittedAt: x.committed}
	x.out.When = w
	story := (*sentences)(&w.Story)
	stamp := int64(-1)
	if x.source != nil {
		if stamp = x.source.stamp; stamp >= 0 {
			w.NotBefore = new(moment(stamp))
		}
		if x.row != nil && x.source.flags&flagPending == 0 {
			w.NotAfter = new(s.shards[x.source.partition].committed)
		}
	}
	switch {
	case x.row == nil:
	case w.CommittedAt != nil:
		story.say("last written, corrected or filled in %s", shortTime(*w.CommittedAt))
	case w.NotBefore != nil && w.NotAfter != nil && w.NotAfter.After(*w.NotBefore):
		story.say("written between %s, when the checkout came to Kafka, "+
			"and %s, when its shard last said how far it is (track_commit_timestamp is off)",
			shortTime(*w.NotBefore), shortTime(*w.NotAfter))
	default:
		story.say("when it was written is not known (track_commit_timestamp is off)")
	}
	if p != nil && p.existing.ok() && stamp >= 0 && p.rowStamp > stamp+time.Second.Microseconds() {
		w.CorrectedAfter = new(moment(p.rowStamp))
		story.say("its click came to Kafka %s, %s after the checkout: unless firstclick was that far behind, "+
			"the row was first written without it and corrected",
			shortTime(*w.CorrectedAfter), time.Duration(p.rowStamp-stamp)*time.Microsecond)
	}
	for _, l := range x.late {
		if l.RepairedAt != nil {
			story.say("`firstclick repair` looked at it %s, for %s %s",
				shortTime(*l.RepairedAt), l.Kind, quote(l.EventID))
		}
	}
	var at int64
	if x.row != nil {
		at = x.row.time
	} else {
		at = x.source.time
	}
	w.Final = w.FinalBefore != nil && at < w.FinalBefore.UnixMicro()
	end := shortTime(moment(at).Add(s.outOfOrder + s.lateness))
	switch {
	case w.Final:
		story.say("final: click columns of rows before %s do not move", shortTime(*w.FinalBefore))
	case w.Watermark == nil:
		story.say("not final: the group has no watermark yet; final once it has passed %s", end)
	default:
		story.say("not final: the watermark is at %s; final once it has passed %s, "+
			"until then an earlier click still wins",
			shortTime(*w.Watermark), end)
	}
}

func shortTime(t time.Time) string { return formatTime(t.UnixMicro()) }
