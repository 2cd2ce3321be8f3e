package audit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestExplainUnknown(t *testing.T) {
	w := shop(t)
	e := w.explain("K")
	w.judged(e, VerdictUnknown, "", "Unknown: no row", "Upper and lower case",
		"Topic checkouts was read from where group g began to its ends")
	if e.User != nil || e.When != nil || len(e.Searched) == 0 {
		t.Errorf("%+v", e)
	}
	w.exec(`UPDATE firstclick.progress SET checkouts_start = '{1,0}'`)
	w.exec(`DELETE FROM commerce.attributed_checkouts`)
	w.judged(w.explain("k"), VerdictUnknown, "", "checkouts-0: group g began at offset 1")
	for _, id := range []string{"", strings.Repeat("x", 256), "\xff", "a\x00b"} {
		if _, err := Explain(t.Context(), w.cfg, id); !errors.Is(err, ErrCheckoutID) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// Days later much lies behind and before the checkout; only what is near its time is read.
func TestExplainOlderThanTheWindow(t *testing.T) {
	w := newWorld(t)
	const day = 24 * 60
	noise := func(minutes float64) {
		for p := range int32(2) {
			w.live("clicks", p, minutes, slices.Repeat([]string{clickOf("n", 9, "n", minutes)}, 50)...)
			w.live("checkouts", p, minutes, checkoutOf(fmt.Sprint("n", p, minutes), 9, "n", minutes))
		}
	}
	noise(-2 * day)
	w.live("clicks", 1, -20, clickOf("a", 1, "p", -20))
	w.live("checkouts", 1, 0, checkoutOf("k", 1, "p", 0))
	noise(3 * day)
	w.row("k", "", "p", 0, "a", -20)
	w.exec(`INSERT INTO firstclick.unknown_users (user_id, checkout_id) VALUES (1, 'k')`)
	w.begun([2]int64{999, 999}, [2]int64{99, 99})
	e := w.explain("k")
	w.judged(e, VerdictRight, "winner a@1/50", "NULL: user 1 is not in commerce.users; noted")
	var read int64
	for _, s := range e.Searched {
		read += s.To - s.From
	}
	if read != 2 {
		t.Errorf("read %d offsets: %+v", read, e.Searched)
	}
	// Produced long after it happened: the timestamps do not lead there, and all is read.
	w.produce("clicks", 0, clickOf("x", 2, "p", -3*day-10))
	w.produce("checkouts", 0, checkoutOf("old", 2, "p", -3*day))
	w.row("old", "", "p", -3*day, "x", -3*day-10)
	w.judged(w.explain("old"), VerdictRight, "winner x@0/100")
}

func TestExplainName(t *testing.T) {
	w := shop(t)
	story := func(want string) {
		t.Helper()
		if e := w.explain("k"); e.User == nil || !strings.Contains(e.User.Story, want) {
			t.Errorf("%+v does not say %q", e.User, want)
		}
	}
	w.exec(`UPDATE commerce.users SET username = 'anna' WHERE id = 1`)
	story("ann, as user 1 was called when the name was written; called anna now")
	w.exec(`UPDATE commerce.attributed_checkouts SET user_name = NULL`)
	story("NULL, although user 1 is called anna in commerce.users, and no note says")
	w.exec(`INSERT INTO firstclick.unknown_users (user_id, checkout_id) VALUES (1, 'k')`)
	story("called anna now, to be filled in as soon as firstclick runs")
	w.exec(`INSERT INTO firstclick.instances (instance, group_id, host, pid, version) VALUES ('i', 'g', 'h', 1, 'v')`)
	story("to be filled in within a minute")
	w.exec(`DELETE FROM commerce.users`)
	story("filled in when the user appears")
	w.exec(`UPDATE commerce.attributed_checkouts SET user_name = 'ann'`)
	story("the user is not in commerce.users any more")
}

// Kafka no longer holds the checkout: its click tells whose it is, and the clicks are shown.
func TestExplainAfterRetention(t *testing.T) {
	w := shop(t)
	w.deleteBelow("checkouts", 0, 1)
	e := w.explain("k")
	w.judged(e, VerdictUnverifiable, shopRoles,
		"Kafka no longer holds what the row was made of; by the clicks of its click's user it is right")
	if !strings.Contains(e.Join.Source, "the row's click") {
		t.Errorf("source %q", e.Join.Source)
	}
	w.deleteBelow("clicks", 0, 4)
	w.deleteBelow("clicks", 1, 4)
	w.judged(w.explain("k"), VerdictUnverifiable, "", "Cannot be judged",
		"user_name is ann; whose checkout it is stands only in its record")
}
