package audit

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Any budget, also one of a few bytes, gives what sorting in memory gives, as often as it is
// asked, and leaves no file behind.
func TestSortLikeInMemory(t *testing.T) {
	base := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(base, "")
		if err != nil {
			t.Fatal(err)
		}
		items := rapid.SliceOfN(rapid.SliceOfN(rapid.ByteRange(0, 3), 0, 20), 0, 300).Draw(t, "items")
		s := newSorter(dir, "test", rapid.Int64Range(1, 2000).Draw(t, "limit"), nil)
		for _, item := range items {
			s.addBytes(item)
		}
		if err := s.finish(); err != nil {
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
		if err := s.drop(); err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Fatalf("files are left: %v %v", left, err)
		}
	})
}

func drain(t *rapid.T, s *sorter) (all [][]byte) {
	for encoded, err := range s.open().all() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, slices.Clone(encoded))
	}
	return all
}

// Items are ordered by their bytes as their fields are, and come back as they were.
func TestItemsKeepOrderAndContent(t *testing.T) {
	text := rapid.StringOfN(rapid.SampledFrom([]rune{'\x01', 'a', 'b', 'ä', '\U0001F600'}), 0, 6, -1)
	maybe := rapid.Custom(func(t *rapid.T) optional {
		if rapid.Bool().Draw(t, "NULL") {
			return optional{}
		}
		return some(text.Draw(t, "text"))
	})
	clicks := rapid.Custom(func(t *rapid.T) click {
		return click{text.Draw(t, "click"), rapid.Int64().Draw(t, "time"), byte(rapid.IntRange(1, 3).Draw(t, "set"))}
	})
	gen := rapid.Custom(func(t *rapid.T) item {
		x := item{
			kind: kind(rapid.IntRange(0, 8).Draw(t, "kind")), topic: topic(rapid.IntRange(0, 1).Draw(t, "topic")),
			partition: rapid.Int32().Draw(t, "partition"), offset: rapid.Int64().Draw(t,
				"offset"), flags: rapid.Int32().Draw(t, "flags"),
		}
		x.user, x.product, x.time, x.id = rapid.Int32().Draw(t, "user"), text.Draw(t, "product"), rapid.Int64().Draw(t,
			"time"), text.Draw(t, "id")
		x.name, x.values, x.clicks = maybe.Draw(t, "name"), rapid.SliceOfN(maybe, 1, 9).Draw(t,
			"values"), rapid.SliceOfN(clicks, 1, 3).Draw(t, "clicks")
		if rapid.Bool().Draw(t, "click") {
			x.click = clicks.Draw(t, "click")
		}
		return x
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := gen.Draw(t, "a"), gen.Draw(t, "b")
		if rapid.Bool().Draw(t, "same key") {
			b.user, b.product = a.user, a.product
		}
		for name, order := range map[string]order{"byID": byID, "byKey": byKey, "byPlace": byPlace, "byKind": byKind} {
			encoded := order.append(nil, &a)
			got := item{event: event{product: b.product}}
			order.parse(encoded, &got)
			if !bytes.Equal(order.append(nil, &got), encoded) {
				t.Fatalf("%s: %+v came back as %+v", name, a, got)
			}
		}
		var got item
		if byID.parse(byID.append(nil, &a), &got); fmt.Sprint(got) != fmt.Sprint(withoutTopic(a)) {
			t.Fatalf("%+v came back as %+v", a, got)
		}
		want := cmp.Or(cmp.Compare(a.user, b.user), cmp.Compare(a.product, b.product), cmp.Compare(a.time, b.time),
			cmp.Compare(a.kind, b.kind), cmp.Compare(a.id, b.id))
		if is := bytes.Compare(byKey.append(nil, &a), byKey.append(nil, &b)); want != 0 && is != want {
			t.Fatalf("%+v and %+v: %d by fields, %d by bytes", a, b, want, is)
		}
	})
}

// withoutTopic is what byID keeps of an item.
func withoutTopic(x item) item {
	x.topic = 0
	return x
}
