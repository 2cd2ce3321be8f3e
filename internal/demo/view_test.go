package demo

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func sample() rows {
	name, click := "\x1b[31mana\nlu", "0fe3c1aa-60f2-4695-92ad-db2c216507eb"
	at := time.Date(2026, 1, 31, 12, 0, 1, 500e6, time.UTC)
	clicked := at.Add(-time.Second)
	return rows{rate: 66.6, total: 1234, latest: []row{
		{
			checkoutID:   "f1cdf196-9651-4c34-b74d-68ef7222345d",
			clickID:      &click,
			checkoutTime: at,
			clickTime:    &clicked,
			userName:     &name,
		},
		{checkoutID: "32ffaac1-bea6-46da-809a-517fa8a79525", checkoutTime: at},
	}}
}

func TestTable(t *testing.T) {
	wide := strings.Join(table(sample(), 200), "\n")
	want := strings.Join([]string{
		"checkout_id                           click_id                              bought        clicked       " +
			"user_name",
		"f1cdf196-9651-4c34-b74d-68ef7222345d  0fe3c1aa-60f2-4695-92ad-db2c216507eb  12:00:01.500  12:00:00.500  " +
			"\\x1b[31mana\\nlu",
		"32ffaac1-bea6-46da-809a-517fa8a79525  -                                     12:00:01.500  -             -",
		"", "", "", "",
		"67 rows/s, about 1234 rows, times in UTC. Ctrl-C stops, demo again goes on.",
	}, "\n")
	if wide != want {
		t.Errorf("got\n%s\nwant\n%s", wide, want)
	}
	for _, line := range table(sample(), 80) {
		if len(line) > 79 {
			t.Errorf("%d characters on a terminal of 80: %s", len(line), line)
		}
	}
}

// What is written goes above the table, which is redrawn in place.
func TestScreen(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out, width: func() int { return 10 }}
	if err := s.draw([]string{"a long header", "row"}); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != bold+"a long he"+plain+"\nrow\n" {
		t.Errorf("first drawing: %q", got)
	}
	out.Reset()
	if _, err := s.Write([]byte("news\n")); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "\x1b[2A\r"+clearBelow+"news\n"+bold+"a long he"+plain+"\nrow\n" {
		t.Errorf("text above: %q", got)
	}
	out.Reset()
	s.end()
	if _, err := s.Write([]byte("bye\n")); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "bye\n" {
		t.Errorf("in the end: %q", got)
	}
}
