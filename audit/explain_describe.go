package audit

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

func (x *explainer) nameStory(n *NameNow) string {
	var name optional
	if x.row != nil {
		name = x.row.name
	}
	row, now := name.String(), optionalOf(n.Name).String()
	if n.ID == nil {
		return fmt.Sprintf("user_name is %s; whose checkout it is stands only in its record", row)
	}
	user := fmt.Sprintf("user %d", *n.ID)
	noted := "no note says that it is to be filled in"
	if n.NotedAt != nil {
		noted = "noted " + shortTime(*n.NotedAt)
	}
	switch {
	case x.row == nil && n.Exists:
		return fmt.Sprintf("%s is called %s in commerce.users", user, now)
	case x.row == nil:
		return user + " is not in commerce.users"
	case x.several && name != optionalOf(n.Name):
		return fmt.Sprintf("%s: the records name other users beside %s, and the name may be of one of them", row, user)
	case name.valid && !n.Exists:
		return fmt.Sprintf("%s, as %s was called when the name was written; the user is not in commerce.users any more", row, user)
	case name.valid && name == optionalOf(n.Name):
		return fmt.Sprintf("%s, as %s is called in commerce.users: from the mirror when the row was written, or filled in when the user appeared", row, user)
	case name.valid:
		return fmt.Sprintf("%s, as %s was called when the name was written; called %s now, and a rename moves no row that stands", row, user, now)
	case !n.Exists:
		return fmt.Sprintf("NULL: %s is not in commerce.users; %s", user, cmp.Or(map[bool]string{true: noted + ", filled in when the user appears"}[n.NotedAt != nil], noted))
	case n.NotedAt == nil:
		return fmt.Sprintf("NULL, although %s is called %s in commerce.users, and %s", user, now, noted)
	case x.snap.running:
		return fmt.Sprintf("NULL: %s was not known when the row was written (%s); called %s now, to be filled in within a minute", user, noted, now)
	default:
		return fmt.Sprintf("NULL: %s was not known when the row was written (%s); called %s now, to be filled in as soon as firstclick runs", user, noted, now)
	}
}

func place(t topicLog, partition int32, offset, stamp int64) Place {
	p := Place{Topic: t.name, Partition: partition, Offset: offset}
	if stamp >= 0 {
		p.RecordTime = new(moment(stamp))
	}
	return p
}

func (x *explainer) describeRecords() {
	for _, k := range x.records {
		r := CheckoutRecord{
			Place:  place(x.logs[topicCheckouts], k.partition, k.offset, k.stamp),
			UserID: k.user, ProductID: k.product, Time: moment(k.time),
			Pending: k.flags&flagPending != 0, DeadLetter: k.dead,
		}
		base := x.row
		if x.row == nil && x.source != nil {
			base = &item{flags: flagTimed, event: event{values: x.source.values, time: x.snap.columns["checkout_time"].storedTime(x.source.time)}}
		}
		if k.reason == "" && (x.row != nil || x.source != nil) {
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

func (x *explainer) describeClicks() {
	p := x.picked
	p.trim()
	x.out.More = p.dropped
	slices.Reverse(p.before)
	rank := 0 // winner, then runner-up, then the others
	var last click
	for _, c := range slices.Concat(p.before, p.inside, p.after) {
		r := ClickRecord{
			Place: place(x.logs[topicClicks], c.partition, c.offset, c.stamp), ClickID: c.id, Time: moment(c.time),
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
			r.Role = [...]string{RoleWinner, RoleRunnerUp, RoleCandidate}[rank]
			rank = min(rank+1, 2)
		}
		if c.reason == "" {
			last = c.click()
		}
		x.out.Clicks = append(x.out.Clicks, r)
	}
}

// describeTimes says when the row was written, as far as can be known, and whether it is final.
func (x *explainer) describeTimes() {
	w := &Timeliness{Watermark: x.snap.watermark, FinalBefore: x.snap.finalBefore, CommittedAt: x.committed}
	x.out.When = w
	say := func(format string, args ...any) { w.Story = append(w.Story, fmt.Sprintf(format, args...)) }
	var stored shard
	if x.source != nil {
		stored = x.snap.shards[x.source.partition]
		if x.source.stamp >= 0 {
			w.NotBefore = new(moment(x.source.stamp))
		}
		if x.row != nil && x.source.flags&flagPending == 0 {
			w.NotAfter = new(stored.committed)
		}
	}
	if x.row != nil {
		switch {
		case w.CommittedAt != nil:
			say("last written, corrected or filled in %s", shortTime(*w.CommittedAt))
		case w.NotBefore != nil && w.NotAfter != nil && w.NotAfter.After(*w.NotBefore):
			say("written between %s, when the checkout came to Kafka, and %s, when its shard last said how far it is (track_commit_timestamp is off)",
				shortTime(*w.NotBefore), shortTime(*w.NotAfter))
		default:
			say("when it was written is not known (track_commit_timestamp is off)")
		}
	}
	if p := x.picked; p != nil && p.real.ok() && x.source != nil && x.source.stamp >= 0 && p.rowStamp > x.source.stamp+time.Second.Microseconds() {
		w.CorrectedAfter = new(moment(p.rowStamp))
		say("its click came to Kafka %s, %s after the checkout: unless firstclick was that far behind, the row was first written without it and corrected",
			shortTime(*w.CorrectedAfter), time.Duration(p.rowStamp-x.source.stamp)*time.Microsecond)
	}
	for _, l := range x.late {
		if l.RepairedAt != nil {
			say("`firstclick repair` looked at it %s, for %s %s", shortTime(*l.RepairedAt), l.Kind, quote(l.EventID))
		}
	}
	var at int64
	if x.row != nil {
		at = x.row.time
	} else {
		at = x.source.time
	}
	w.Final = w.FinalBefore != nil && at < w.FinalBefore.UnixMicro()
	end := moment(at).Add(x.snap.outOfOrder + x.snap.lateness)
	switch {
	case w.Final:
		say("final: click columns of rows before %s do not move", shortTime(*w.FinalBefore))
	case w.Watermark == nil:
		say("not final: the group has no watermark yet; final once it has passed %s", shortTime(end))
	default:
		say("not final: the watermark is at %s; final once it has passed %s, until then an earlier click still wins", shortTime(*w.Watermark), shortTime(end))
	}
}

func shortTime(t time.Time) string { return formatTime(t.UnixMicro()) }
