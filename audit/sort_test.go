package audit

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Any budget, also one of a few bytes, gives what sorting in memory gives, as often as it is asked, and leaves no file behind.
func TestSortLikeInMemory(t *testing.T) {
	base := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(base, "")
		if err != nil {
			t.Fatal(err)
		}
		items := rapid.SliceOfN(rapid.SliceOfN(rapid.ByteRange(0, 3), 0, 20), 0, 300).Draw(t, "items")
		s := newSorter(dir, "test", rapid.Int64Range(1, 2000).Draw(t, "limit"))
		for _, item := range items {
			if err := s.Add(item); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Finish(); err != nil {
			t.Fatal(err)
		}
		if len(s.runs) > mergeWidth {
			t.Fatalf("%d runs are left", len(s.runs))
		}
		want := slices.Clone(items)
		slices.SortFunc(want, bytes.Compare)
		one, other := drain(t, s), drain(t, s)
		if !slices.EqualFunc(one, want, bytes.Equal) || !slices.EqualFunc(other, want, bytes.Equal) {
			t.Fatalf("sorted %q and %q, want %q", one, other, want)
		}
		if err := s.Drop(); err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Fatalf("files are left: %v %v", left, err)
		}
	})
}

func drain(t *rapid.T, s *sorter) (all [][]byte) {
	c, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for {
		item, ok, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return all
		}
		all = append(all, slices.Clone(item))
	}
}

// Items are ordered by their bytes as their fields are, and come back as they were.
func TestItemsKeepOrderAndContent(t *testing.T) {
	text := rapid.StringOfN(rapid.SampledFrom([]rune{'\x01', 'a', 'b', 'ä', '\U0001F600'}), 0, 6, -1)
	gen := rapid.Custom(func(t *rapid.T) click {
		c := click{partition: rapid.Int32().Draw(t, "partition"), offset: rapid.Int64().Draw(t, "offset"), flags: rapid.Int32().Draw(t, "flags")}
		c.user, c.product, c.time, c.id = rapid.Int32().Draw(t, "user"), text.Draw(t, "product"), rapid.Int64().Draw(t, "time"), text.Draw(t, "id")
		return c
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := gen.Draw(t, "a"), gen.Draw(t, "b")
		if rapid.Bool().Draw(t, "same user") {
			b.user = a.user
		}
		if got := parseClick(a.append(nil)); got != a {
			t.Fatalf("%+v came back as %+v", a, got)
		}
		q := ask{user: b.user, product: b.product, time: b.time}
		if want := before(a, q, b.time); (a.user != b.user || a.product != b.product || a.time != b.time) && want != (bytes.Compare(a.append(nil), b.append(nil)) < 0) {
			t.Fatalf("%+v before %+v: %v, but not so by bytes", a, b, want)
		}
	})
}
