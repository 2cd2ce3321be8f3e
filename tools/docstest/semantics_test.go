package docstest

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"firstclick/join/decode"
	"firstclick/join/event"
	"firstclick/join/window"
)

// table returns the rows of the table of docs/semantics.md whose head has these words.
func table(t *testing.T, head string) (rows [][]string) {
	t.Helper()
	_, rest, found := strings.Cut(onePage(t, "docs/semantics.md").text, "| "+head+" |\n")
	if !found {
		t.Fatalf("docs/semantics.md has no table %q", head)
	}
	for i, line := range strings.Split(rest, "\n") {
		if !strings.HasPrefix(line, "|") {
			break
		}
		if i > 0 {
			rows = append(rows, strings.Split(strings.Trim(line, "| "), " | "))
		}
	}
	return rows
}

// The examples of decoding are what the decoder does with them. Dots stand for the members that are
// as they should be.
func TestDecodingExamples(t *testing.T) {
	const usual = `"click_id":"c","checkout_id":"k","user_id":7,"product_id":"p","datetime_occured":"2026-11-23 ` +
		`10:00:00"`
	d := decode.New(time.UTC)
	rows := table(t, "value | outcome")
	for _, row := range rows {
		value, want := strings.Trim(row[0], "`"), strings.Trim(row[1], "`")
		// of two members with one name the last counts, so what the page shows comes last
		if strings.Contains(value, "…") {
			value = "{" + usual + "," + strings.Trim(strings.ReplaceAll(value, "…", ""), "{},") + "}"
		}
		got := "a click of user 7"
		var c decode.Click
		var k event.Checkout
		var wrong *event.DecodeError
		err := d.Click([]byte(value), &c)
		if strings.Contains(value, "total_amount") {
			_, err = d.Checkout([]byte(value), &k, nil)
			amount, _ := k.Column(slices.IndexFunc(event.Columns[:],
				func(c event.Column) bool { return c.Name == "total_amount" }))
			got = string(amount)
		}
		switch {
		case errors.As(err, &wrong):
			got = string(wrong.Reason)
		case err == nil && k.ID.IsZero() && c.User != 7:
			got = "a click of somebody else"
		}
		if got != want {
			t.Errorf("%s: %s, but the page says %s", value, got, want)
		}
	}
	if len(rows) < 8 {
		t.Errorf("only %d examples", len(rows))
	}
}

// Both ends of the window are included, as the page's table has them.
func TestEndsOfTheWindow(t *testing.T) {
	micros := func(clock string) int64 {
		at, err := time.Parse("15:04:05.999999", clock)
		if err != nil {
			t.Fatal(err)
		}
		return at.AddDate(2026, 0, 0).UnixMicro()
	}
	rows := table(t, "click.time | K.time | candidate")
	for _, row := range rows {
		w := window.New(0)
		key, at := event.NewHasher(1).Key(7, []byte("p")), micros(row[1])
		w.Insert(key, micros(row[0]), event.MakeID([]byte("c")))
		_, _, is := w.First(key, at-time.Hour.Microseconds(), at)
		if want := strings.HasPrefix(row[2], "yes"); is != want {
			t.Errorf("%v: candidate is %v", row, is)
		}
	}
	if len(rows) != 4 {
		t.Errorf("%d rows", len(rows))
	}
}

// Of two clicks at one microsecond the lesser id by bytes wins, whichever came first.
func TestTies(t *testing.T) {
	text := onePage(t, "docs/semantics.md").text
	pairs := regexp.MustCompile("`\"([^\"]+)\" < \"([^\"]+)\"`").FindAllStringSubmatch(text, -1)
	if len(pairs) < 2 {
		t.Fatalf("the page orders %d pairs", len(pairs))
	}
	for _, pair := range append(pairs, []string{"", "a9", "b1"}) {
		for _, order := range [][2]string{{pair[1], pair[2]}, {pair[2], pair[1]}} {
			w, key := window.New(0), event.NewHasher(1).Key(7, []byte("p"))
			for _, id := range order {
				w.Insert(key, 5, event.MakeID([]byte(id)))
			}
			if _, id, _ := w.First(key, 0, 10); id != event.MakeID([]byte(pair[1])) {
				t.Errorf("%q does not win against %q", pair[1], pair[2])
			}
		}
	}
}
