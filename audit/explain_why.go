package audit

import (
	"fmt"
	"slices"
	"time"
)

// summary is the verdict in a sentence.
func (x *explainer) summary() string {
	switch x.out.Verdict {
	case VerdictRight:
		if x.row.click.ok() {
			return fmt.Sprintf("The row is right: click %s is the earliest in the window.", quote(x.row.click.id))
		}
		return "The row is right: no click is in the window."
	case VerdictPending:
		if x.row == nil {
			return "Not written yet: firstclick has not read the checkout so far" + x.idle() + "."
		}
		return fmt.Sprintf("The row will move to %s, which firstclick has not read so far%s.", x.picked.best, x.idle())
	case VerdictLate:
		if x.lateCheckout() {
			return fmt.Sprintf("The checkout came when clicks that it needed could be gone; it should have %s: `firstclick repair` mends the row.", x.picked.best)
		}
		return fmt.Sprintf("The row should have %s, which came after the row was final: `firstclick repair` mends it.", x.picked.best)
	case VerdictRefusedClick:
		return fmt.Sprintf("The row has %s. Its first click is %s, which Postgres refused: the dead letter says why.",
			x.row.click, x.picked.best)
	case VerdictMissing:
		return "WRONG: firstclick has read past the checkout, and there is neither a row nor a dead letter."
	case VerdictDeadLetter:
		return "No row: what came under this checkout_id became a dead letter" + x.letterReasons() + "."
	case VerdictUnverifiable:
		return "Cannot be judged: Kafka no longer holds what the row was made of" + map[Verdict]string{
			VerdictRight: "; by the clicks of its click's user it is right", VerdictWrong: "; by the clicks that are there it is wrong",
		}[x.byClick] + "."
	case VerdictUnknown:
		return "Unknown: no row, no dead letter and no record in Kafka has this checkout_id."
	default:
		return "WRONG: " + x.whatIsWrong()
	}
}

func (x *explainer) idle() string {
	if x.snap.running {
		return ""
	}
	return ", and no instance of the group is running"
}

func (x *explainer) lateCheckout() bool {
	return slices.ContainsFunc(x.late, func(l lateRow) bool { return l.topic == topicCheckouts && l.flags != 0 })
}

func (x *explainer) letterReasons() string {
	text := ""
	for _, d := range x.out.DeadLetters {
		if d.Topic == x.snap.topics[topicCheckouts].name {
			text += fmt.Sprintf(", %s at %s-%d offset %d (%s)", d.Reason, d.Topic, d.Partition, d.Offset, d.Status)
		}
	}
	return text
}

func (x *explainer) whatIsWrong() string {
	switch {
	case x.source == nil:
		return "there is a row, and no record in Kafka that can have made it."
	case x.row.click.odd():
		return "click_id and click_time are not both set or both NULL."
	}
	if name, want, there := x.snap.columns.differing(x.row, x.source.event); name != "" {
		return fmt.Sprintf("%s is %s in the row and %s in the checkout's record.", name, there, want)
	}
	text := fmt.Sprintf("the row has %s, and should have %s.", x.row.click, x.picked.best)
	if p := x.picked; p.k.click.ok() && !p.real.ok() {
		text += " No click in the window is the row's."
	}
	return text
}

// why tells, a sentence each, what leads to the answer.
func (x *explainer) why() []string {
	if x.out.Verdict == VerdictUnknown {
		return x.whereabouts()
	}
	p := x.picked
	if p == nil {
		return nil
	}
	var text []string
	say := func(format string, args ...any) { text = append(text, fmt.Sprintf(format, args...)) }
	join, clicks := x.out.Join, x.out.Clicks
	var inside, doubles, rejected int64
	byRole := map[string]ClickRecord{}
	for _, c := range clicks {
		if c.Role != RoleBefore && c.Role != RoleAfter && !c.Time.Before(join.From) && !c.Time.After(join.To) {
			inside++
			doubles += map[bool]int64{true: 1}[c.Role == RoleDuplicate]
			rejected += map[bool]int64{true: 1}[c.Role == RoleRejected]
		}
		if _, ok := byRole[c.Role]; !ok || c.Role == RoleBefore {
			byRole[c.Role] = c // of those before the window the last one
		}
	}
	say("The rule: of the clicks of user %d on product %s from %s to %s (%s, both ends included) the one with the least time wins, of those at one time the one with the least click_id by bytes.",
		join.UserID, quote(join.ProductID), shortTime(join.From), shortTime(join.To), join.Window)
	counted := fmt.Sprintf("In the window: %s", plural(inside+x.out.More, "click"))
	if doubles > 0 {
		counted += fmt.Sprintf(", %d of them there before with the same time and id", doubles)
	}
	if rejected > 0 {
		counted += fmt.Sprintf(", %d of them a dead letter, which does not count", rejected)
	}
	text = append(text, counted+".")
	if winner, ok := byRole[RoleWinner]; ok {
		text = append(text, whyWinner(winner, byRole, join.Window)...)
	} else {
		text = append(text, whyNone(byRole, join)...)
	}
	return append(text, x.whyNotYet()...)
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return grouped(n) + " " + what + "s"
}

func whyWinner(w ClickRecord, byRole map[string]ClickRecord, window time.Duration) []string {
	second, more := byRole[RoleRunnerUp]
	text := fmt.Sprintf("%s wins with %s, %s before the checkout", quote(w.ClickID), shortTime(w.Time), w.Before)
	switch w.Before {
	case window:
		text += ": exactly at the window's beginning, which belongs to it"
	case 0:
		text = fmt.Sprintf("%s wins with %s, at the very instant of the checkout, which belongs to the window", quote(w.ClickID), shortTime(w.Time))
	}
	list := []string{text + "."}
	switch {
	case !more:
		list = append(list, "There is no runner-up: no other click is in the window.")
	case second.Time.Equal(w.Time):
		list = append(list, fmt.Sprintf("Runner-up is %s, at the same microsecond: decided by the id, %s is less by bytes.", quote(second.ClickID), quote(w.ClickID)))
	default:
		list = append(list, fmt.Sprintf("Runner-up is %s, %s later.", quote(second.ClickID), second.Time.Sub(w.Time)))
	}
	return list
}

func whyNone(byRole map[string]ClickRecord, join *JoinSpan) []string {
	list := []string{"So click_id and click_time are NULL."}
	if c, ok := byRole[RoleBefore]; ok {
		list = append(list, fmt.Sprintf("The last one before the window, %s, is %s too early.", quote(c.ClickID), join.From.Sub(c.Time)))
	}
	if c, ok := byRole[RoleAfter]; ok {
		list = append(list, fmt.Sprintf("The first one after the checkout, %s, is %s too late.", quote(c.ClickID), c.Time.Sub(join.To)))
	}
	return list
}

// whyNotYet says why the row has not the answer's click.
func (x *explainer) whyNotYet() []string {
	if x.row == nil || x.picked.k.click == x.picked.best {
		return nil
	}
	has := fmt.Sprintf("The row has %s", x.row.click)
	for _, c := range x.out.Clicks {
		if c.Role != RoleWinner {
			continue
		}
		switch {
		case c.Pending:
			return []string{fmt.Sprintf("%s: %s-%d offset %d has not been read so far.", has, quote(c.Topic), c.Partition, c.Offset)}
		case c.Late:
			return []string{fmt.Sprintf("%s: %s at %s-%d offset %d came too late and is noted in firstclick.late.", has, quote(c.ClickID), c.Topic, c.Partition, c.Offset)}
		}
	}
	return []string{has + "."}
}

// whereabouts says where a checkout may be that was not found.
func (x *explainer) whereabouts() []string {
	text := []string{"Is the id written exactly as in the event? Upper and lower case, blanks and hyphens count."}
	switch {
	case len(x.logs[topicCheckouts].partitions) == 0:
		text = append(text, fmt.Sprintf("Topic %s could not be read: see the notes.", x.snap.topics[topicCheckouts].name))
	case x.gone[topicCheckouts]:
		text = append(text, "It may be older than what Kafka holds, with its row deleted: rows are never deleted by firstclick.")
	default:
		text = append(text, fmt.Sprintf("Topic %s was read from where group %s began to its ends: the checkout was not produced there, or not committed.", x.snap.topics[topicCheckouts].name, x.cfg.Group))
	}
	for _, p := range x.logs[topicCheckouts].partitions {
		if from := x.snap.topics[topicCheckouts].start(p.partition); from > p.logStart {
			text = append(text, fmt.Sprintf("%s-%d: group %s began at offset %d; what is before it was left out by --start.", x.logs[topicCheckouts].name, p.partition, x.cfg.Group, from))
		}
		if p.end < p.high {
			text = append(text, fmt.Sprintf("%s-%d: a transaction has been open since offset %d of %d: it may be in there.", x.logs[topicCheckouts].name, p.partition, p.end, p.high))
		}
	}
	return append(text, "A dead letter over 1 MiB keeps no payload to search: SELECT * FROM firstclick.dead_letters WHERE payload IS NULL.")
}
