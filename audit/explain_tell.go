package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"firstclick/internal/pgsession"

	"github.com/jackc/pgx/v5"

	"firstclick/cdc"
)

// readName reads what the user is called now, and the dead letters of clicks that were met.
func (x *explainer) readName(ctx context.Context) error {
	if p := x.picked; p != nil {
		var places []spot
		for _, c := range slices.Concat(p.before, p.inside, p.after) {
			if c.reason != "" {
				places = append(places, spot{topicClicks, c.partition, c.offset})
			}
		}
		if err := x.readLettersAt(ctx, x.snap.clicksTopic, places); err != nil {
			return err
		}
	}
	n := &NameNow{}
	switch {
	case x.out.Join != nil:
		n.ID = new(x.out.Join.UserID)
	case x.noted != nil:
		n.ID = new(x.noted.user)
	case !x.there:
		return nil
	}
	x.out.User = n
	if x.noted != nil {
		n.NotedAt = &x.noted.at
	}
	if n.ID != nil {
		conn, err := pgsession.Connect(ctx, x.cfg.Database, application)
		if err != nil {
			return fmt.Errorf("connect to postgres: %w", err)
		}
		defer conn.Close(context.WithoutCancel(ctx))
		err = conn.QueryRow(ctx, `SELECT `+cdc.UsernameSQL+` FROM commerce.users WHERE id = $1`, *n.ID).Scan(&n.Name)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("read user %d: %w", *n.ID, err)
		}
		n.Exists = err == nil
	}
	n.Story = x.nameStory(n)
	return nil
}

func (x *explainer) nameStory(n *NameNow) string {
	row, now := x.row.name.String(), maybe(n.Name).String()
	if n.ID == nil {
		return fmt.Sprintf("user_name is %s; whose checkout it is stands only in its record", row)
	}
	user := fmt.Sprintf("user %d", *n.ID)
	noted := "no note says that it is to be filled in"
	if n.NotedAt != nil {
		noted = "noted " + shortTime(*n.NotedAt)
	}
	switch {
	case !x.there && n.Exists:
		return fmt.Sprintf("%s is called %s in commerce.users", user, now)
	case !x.there:
		return user + " is not in commerce.users"
	case x.several && x.row.name != maybe(n.Name):
		return fmt.Sprintf("%s: the records name other users beside %s, and the name may be of one of them", row, user)
	case x.row.name.valid && !n.Exists:
		return fmt.Sprintf("%s, as %s was called when the name was written; the user is not in commerce.users any more", row, user)
	case x.row.name.valid && x.row.name == maybe(n.Name):
		return fmt.Sprintf("%s, as %s is called in commerce.users: from the mirror when the row was written, or filled in when the user appeared", row, user)
	case x.row.name.valid:
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

// tell fills in the explanation from what was found.
func (x *explainer) tell() {
	x.tellRecords()
	if x.picked != nil {
		x.tellClicks()
	}
	for _, d := range x.dead {
		x.out.DeadLetters = append(x.out.DeadLetters, d)
	}
	slices.SortFunc(x.out.DeadLetters, func(a, b DeadLetter) int { return cmp.Compare(a.ID, b.ID) })
	for _, l := range x.late {
		x.out.Late = append(x.out.Late, l.LateEvent)
	}
	if x.there || x.source != nil {
		x.tellWhen()
	}
	x.out.Why = x.why()
	x.out.Summary = x.summary()
}

func place(t topicLog, partition int32, offset, stamp int64) Place {
	p := Place{Topic: t.name, Partition: partition, Offset: offset}
	if stamp >= 0 {
		p.RecordTime = new(moment(stamp))
	}
	return p
}

func (x *explainer) tellRecords() {
	for _, k := range x.records {
		r := CheckoutRecord{
			Place:  place(x.checkouts, k.partition, k.offset, k.stamp),
			UserID: k.user, ProductID: k.product, Time: moment(k.time),
			Pending: k.flags&flagPending != 0, DeadLetter: k.dead,
		}
		base := x.row
		if !x.there && x.source != nil {
			base = rowOf(x.source.event, x.snap.columns)
		}
		if k.reason == "" && (x.there || x.source != nil) {
			if name, want, there := base.differing(x.snap.columns, k.event); name != "" {
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

// rowOf is the row that a checkout would make, as far as its own columns go.
func rowOf(k event, cols columns) tableRow {
	return tableRow{own: k.own(), time: cols[ownColumns[ownTime]].storedTime(k.time), timed: true}
}

func (x *explainer) tellClicks() {
	p := x.picked
	p.trim()
	x.out.More = p.dropped
	slices.Reverse(p.before)
	places := 0 // winner, then runner-up, then the others
	var last winner
	for _, c := range slices.Concat(p.before, p.inside, p.after) {
		r := ClickRecord{
			Place: place(x.clicks, c.partition, c.offset, c.stamp), ClickID: c.id, Time: moment(c.time),
			Before: time.Duration(p.to-c.time) * time.Microsecond,
			Row:    c.winner() == p.row, Pending: c.flags&flagPending != 0, DeadLetter: c.reason,
			Late: slices.ContainsFunc(x.late, func(l lateRow) bool {
				return l.which == topicClicks && l.Partition == c.partition && l.Offset == c.offset
			}),
		}
		switch {
		case c.reason != "":
			r.Role = RoleRejected
		case c.winner() == last:
			r.Role = RoleDuplicate
		case c.time < p.from:
			r.Role = RoleBefore
		case c.time > p.to:
			r.Role = RoleAfter
		default:
			r.Role = [...]string{RoleWinner, RoleRunnerUp, RoleCandidate}[places]
			places = min(places+1, 2)
		}
		if c.reason == "" {
			last = c.winner()
		}
		x.out.Clicks = append(x.out.Clicks, r)
	}
}

// tellWhen says when the row was written, as far as can be known, and whether it is final.
func (x *explainer) tellWhen() {
	w := &Timeliness{Watermark: x.at.watermark, FinalBefore: x.at.finalBefore, CommittedAt: x.at.committed}
	x.out.When = w
	say := func(format string, args ...any) { w.Story = append(w.Story, fmt.Sprintf(format, args...)) }
	var shardOf position
	if x.source != nil {
		shardOf = x.snap.shards[x.source.partition]
		if x.source.stamp >= 0 {
			w.NotBefore = new(moment(x.source.stamp))
		}
		if x.there && x.source.flags&flagPending == 0 {
			w.NotAfter = new(shardOf.committed)
		}
	}
	if x.there {
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
	if p := x.picked; p != nil && p.real.ok && x.source != nil && x.source.stamp >= 0 && p.rowStamp > x.source.stamp+time.Second.Microseconds() {
		w.CorrectedAfter = new(moment(p.rowStamp))
		say("its click came to Kafka %s, %s after the checkout: unless firstclick was that far behind, the row was first written without it and corrected",
			shortTime(*w.CorrectedAfter), time.Duration(p.rowStamp-x.source.stamp)*time.Microsecond)
	}
	for _, l := range x.late {
		if l.RepairedAt != nil {
			say("`firstclick repair` looked at it %s, for %s %s", shortTime(*l.RepairedAt), l.Kind, quote(l.EventID))
		}
	}
	at := x.row.time
	if !x.there {
		at = x.source.time
	}
	w.Final = w.FinalBefore != nil && at < w.FinalBefore.UnixMicro()
	end := moment(at).Add(x.at.outOfOrder + x.at.lateness)
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
