package progress_test

import (
	"bytes"
	"testing"

	"firstclick/internal/progress"
)

func TestGrouped(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000",
		-999: "-999"} {
		if got := progress.Grouped(n); got != want {
			t.Errorf("%d is shown as %s, want %s", n, got, want)
		}
	}
}

func TestALineEachWhereThereIsNoTerminal(t *testing.T) {
	var out bytes.Buffer
	l := progress.New(&out)
	l.Show("one")
	l.Show("two")
	l.End()
	if got := out.String(); got != "one\ntwo\n" {
		t.Errorf("shown: %q", got)
	}
	progress.New(nil).Show("nobody looks")
}
