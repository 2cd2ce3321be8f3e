package audit

import (
	"fmt"
	"slices"
)

// sentences are what is said about one thing.
type sentences []string

func (s *sentences) say(format string, args ...any) { *s = append(*s, fmt.Sprintf(format, args...)) }

// summary is the verdict in a sentence.
func (x *explainer) summary() string {
	idle := ""
	if !x.snap.running {
		idle = ", and no instance of the group is running"
	}
	switch x.out.Verdict {
	case VerdictRight:
		if x.row.click.ok() {
			return fmt.Sprintf("The row is right: click %s is the earliest in the window.", quote(x.row.click.id))
		}
		return "The row is right: no click is in the window."
	case VerdictPending:
		if x.row == nil {
			return "Not written yet: firstclick has not read the checkout so far" + idle + "."
		}
		return fmt.Sprintf("The row will move to %s, which firstclick has not read so far%s.", x.picked.best, idle)
	case VerdictLate:
		if slices.ContainsFunc(x.late, func(l lateRow) bool { return l.topic == topicCheckouts && l.flags != 0 }) {
			return fmt.Sprintf("The checkout came when clicks that it needed could be gone; it should have %s: "+
				"`firstclick repair` mends the row.", x.picked.best)
		}
		return fmt.Sprintf("The row should have %s, which came after the row was final: "+
			"`firstclick repair` mends it.", x.picked.best)
	case VerdictRefusedClick:
		return fmt.Sprintf("The row has %s. Its first click is %s, which Postgres refused: the dead letter says why.",
			x.row.click, x.picked.best)
	case VerdictMissing:
		return "WRONG: firstclick has read past the checkout, and there is neither a row nor a dead letter."
	case VerdictDeadLetter:
		text := "No row: what came under this checkout_id became a dead letter"
		for _, d := range x.out.DeadLetters {
			if d.Topic == x.snap.topics[topicCheckouts].name {
				text += fmt.Sprintf(", %s at %s-%d offset %d (%s)", d.Reason, d.Topic, d.Partition, d.Offset, d.Status)
			}
		}
		return text + "."
	case VerdictUnverifiable:
		return "Cannot be judged: Kafka no longer holds what the row was made of" + map[Verdict]string{
			VerdictRight: "; by the clicks of its click's user it is right",
			VerdictWrong: "; by the clicks that are there it is wrong",
		}[x.byClick] + "."
	case VerdictUnknown:
		return "Unknown: no row, no dead letter and no record in Kafka has this checkout_id."
	}
	switch {
	case x.source == nil:
		return "WRONG: there is a row, and no record in Kafka that can have made it."
	case x.row.click.halfSet():
		return "WRONG: click_id and click_time are not both set or both NULL."
	}
	if name, want, there := x.snap.columns.differing(x.row, x.source.event); name != "" {
		return fmt.Sprintf("WRONG: %s is %s in the row and %s in the checkout's record.", name, there, want)
	}
	text := fmt.Sprintf("WRONG: the row has %s, and should have %s.", x.row.click, x.picked.best)
	if p := x.picked; p.k.click.ok() && !p.existing.ok() {
		text += " No click in the window is the row's."
	}
	return text
}

// why says, a sentence each, what leads to the answer.
func (x *explainer) why() (s sentences) {
	if x.out.Verdict == VerdictUnknown {
		return x.whereabouts()
	}
	p := x.picked
	if p == nil {
		return nil
	}
	join := x.out.Join
	var inside, doubles, rejected int64
	byRole := map[string]ClickRecord{}
	for _, c := range x.out.Clicks {
		if !c.Time.Before(join.From) && !c.Time.After(join.To) {
			inside++
			switch c.Role {
			case RoleDuplicate:
				doubles++
			case RoleRejected:
				rejected++
			}
		}
		if _, ok := byRole[c.Role]; !ok || c.Role == RoleBefore {
			byRole[c.Role] = c // of those before the window the last one
		}
	}
	s.say("The rule: of the clicks of user %d on product %s from %s to %s (%s, both ends included) "+
		"the one with the least time wins, of those at one time the one with the least click_id by bytes.",
		join.UserID, quote(join.ProductID), shortTime(join.From), shortTime(join.To), join.Window)
	counted := "In the window: " + plural(inside+x.out.More, "click")
	if doubles > 0 {
		counted += fmt.Sprintf(", %d of them there before with the same time and id", doubles)
	}
	if rejected > 0 {
		counted += fmt.Sprintf(", %d of them a dead letter, which does not count", rejected)
	}
	s.say("%s.", counted)
	first, there := byRole[RoleWinner]
	second, more := byRole[RoleRunnerUp]
	switch id, at := quote(first.ClickID), shortTime(first.Time); {
	case !there:
		s.say("So click_id and click_time are NULL.")
		if c, ok := byRole[RoleBefore]; ok {
			s.say("The last one before the window, %s, is %s too early.", quote(c.ClickID), join.From.Sub(c.Time))
		}
		if c, ok := byRole[RoleAfter]; ok {
			s.say("The first one after the checkout, %s, is %s too late.", quote(c.ClickID), c.Time.Sub(join.To))
		}
	case first.Before == join.Window:
		s.say("%s wins with %s, %s before the checkout: exactly at the window's beginning, which belongs to it.",
			id, at, first.Before)
	case first.Before == 0:
		s.say("%s wins with %s, at the very instant of the checkout, which belongs to the window.", id, at)
	default:
		s.say("%s wins with %s, %s before the checkout.", id, at, first.Before)
	}
	switch {
	case there && !more:
		s.say("There is no runner-up: no other click is in the window.")
	case there && second.Time.Equal(first.Time):
		s.say("Runner-up is %s, at the same microsecond: decided by the id, %s is less by bytes.",
			quote(second.ClickID), quote(first.ClickID))
	case there:
		s.say("Runner-up is %s, %s later.", quote(second.ClickID), second.Time.Sub(first.Time))
	}
	if x.row == nil || p.k.click == p.best {
		return s
	}
	switch row := "The row has " + x.row.click.String(); { // and not the answer's click
	case there && first.Pending:
		s.say("%s: %s-%d offset %d has not been read so far.", row, quote(first.Topic), first.Partition, first.Offset)
	case there && first.Late:
		s.say("%s: %s at %s-%d offset %d came too late and is noted in firstclick.late.",
			row, quote(first.ClickID), first.Topic, first.Partition, first.Offset)
	default:
		s.say("%s.", row)
	}
	return s
}

// whereabouts says where a checkout may be that was not found.
func (x *explainer) whereabouts() (s sentences) {
	log, stored := x.logs[topicCheckouts], x.snap.topics[topicCheckouts]
	s.say("Is the id written exactly as in the event? Upper and lower case, blanks and hyphens count.")
	switch {
	case len(log.partitions) == 0:
		s.say("Topic %s could not be read: see the notes.", stored.name)
	case x.gone[topicCheckouts]:
		s.say("It may be older than what Kafka holds, with its row deleted: rows are never deleted by firstclick.")
	default:
		s.say("Topic %s was read from where group %s began to its ends: "+
			"the checkout was not produced there, or not committed.", stored.name, x.cfg.Group)
	}
	for _, p := range log.partitions {
		if from := stored.start(p.partition); from > p.logStart {
			s.say("%s-%d: group %s began at offset %d; what is before it was left out by --start.",
				log.name, p.partition, x.cfg.Group, from)
		}
		if p.end < p.high {
			s.say("%s-%d: a transaction has been open since offset %d of %d: it may be in there.",
				log.name, p.partition, p.end, p.high)
		}
	}
	s.say("A dead letter over 1 MiB keeps no payload to search: " +
		"SELECT * FROM firstclick.dead_letters WHERE payload IS NULL.")
	return s
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return grouped(n) + " " + what + "s"
}
