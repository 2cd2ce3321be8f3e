package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"firstclick/cdc"
)

// readUser reads what the user is called now, and the dead letters of clicks that were found.
func (x *explainer) readUser(ctx context.Context) error {
	if p := x.picked; p != nil {
		var refs []recordRef
		for _, c := range slices.Concat(p.before, p.inside, p.after) {
			if c.reason != "" {
				refs = append(refs, recordRef{topicClicks, c.partition, c.offset})
			}
		}
		if err := x.readLettersAt(ctx, topicClicks, refs); err != nil {
			return err
		}
	}
	n := &NameNow{}
	switch {
	case x.out.Join != nil:
		n.ID = new(x.out.Join.UserID)
	case x.unknown != nil:
		n.ID = new(x.unknown.user)
	case x.row == nil:
		return nil
	}
	x.out.User = n
	if x.unknown != nil {
		n.NotedAt = &x.unknown.at
	}
	if n.ID != nil {
		err := x.conn.QueryRow(ctx, `SELECT `+cdc.UsernameSQL+` FROM commerce.users WHERE id = $1`, *n.ID).Scan(&n.Name)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("read user %d: %w", *n.ID, err)
		}
		n.Exists = err == nil
	}
	n.Story = x.nameStory(n)
	return nil
}

// nameStory says where the row's user_name comes from.
func (x *explainer) nameStory(n *NameNow) string {
	var name optional
	if x.row != nil {
		name = x.row.name
	}
	now := optionalOf(n.Name)
	if n.ID == nil {
		return fmt.Sprintf("user_name is %s; whose checkout it is stands only in its record", name)
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
	case x.several && name != now:
		return fmt.Sprintf("%s: the records name other users beside %s, and the name may be of one of them", name, user)
	case name.valid && !n.Exists:
		return fmt.Sprintf("%s, as %s was called when the name was written; "+
			"the user is not in commerce.users any more", name, user)
	case name.valid && name == now:
		return fmt.Sprintf("%s, as %s is called in commerce.users: from the mirror when the row was written, "+
			"or filled in when the user appeared", name, user)
	case name.valid:
		return fmt.Sprintf("%s, as %s was called when the name was written; called %s now, "+
			"and a rename moves no row that stands", name, user, now)
	case !n.Exists && n.NotedAt != nil:
		return fmt.Sprintf("NULL: %s is not in commerce.users; %s, filled in when the user appears", user, noted)
	case !n.Exists:
		return fmt.Sprintf("NULL: %s is not in commerce.users; %s", user, noted)
	case n.NotedAt == nil:
		return fmt.Sprintf("NULL, although %s is called %s in commerce.users, and %s", user, now, noted)
	}
	when := "within a minute"
	if !x.snap.running {
		when = "as soon as firstclick runs"
	}
	return fmt.Sprintf("NULL: %s was not known when the row was written (%s); called %s now, to be filled in %s",
		user, noted, now, when)
}
