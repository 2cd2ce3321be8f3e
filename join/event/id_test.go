package event

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const (
	uuidA = "b448af57-564e-4411-a163-30c1e560ebff"
	uuidB = "6635c991-5424-4e04-b7f1-89c6ea530adc"
)

var anyID = rapid.OneOf(
	rapid.StringMatching(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`),
	rapid.StringMatching(`[0-9a-fA-F]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`),
	rapid.StringN(0, 60, MaxID),
	rapid.SampledFrom([]string{"", "a", "b", "00000000-0000-0000-0000-000000000000",
		"00000000-0000-0000-0000-000000000001", uuidA, uuidB, uuidA + "0", uuidA[:35], strings.ToUpper(uuidA), "{" +
			uuidA[1:], uuidA[:35] + "g"}),
)

func TestIDIsItsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyID.Draw(t, "a"), anyID.Draw(t, "b")
		x, y := MakeID([]byte(a)), MakeID([]byte(b))
		if x.String() != a || string(x.AppendTo([]byte("to "))) != "to "+a {
			t.Fatalf("%q became %q", a, x)
		}
		if x.IsZero() != (a == "") {
			t.Fatalf("%q: IsZero %t", a, x.IsZero())
		}
		if (x == y) != (a == b) || x.Compare(y) != strings.Compare(a, b) || y.Compare(x) != strings.Compare(b, a) {
			t.Fatalf("%q and %q: equal %t, order %d", a, b, x == y, x.Compare(y))
		}
	})
}

func TestKeyTellsUsersAndProductsApart(t *testing.T) {
	h := NewHasher(7)
	keys := map[Key]bool{}
	n := 0
	for user := int32(-50); user < 50; user++ {
		for _, product := range []string{"", "\x00", "a", "a\x00", "ab", uuidA, uuidB, strings.Repeat("x", MaxID),
			strings.Repeat("x", 2*MaxID)} {
			keys[h.Key(user, []byte(product))] = true
			n++
		}
	}
	if len(keys) != n {
		t.Fatalf("%d keys of %d pairs", len(keys), n)
	}
	if NewHasher(8).Key(1, []byte("a")) == h.Key(1, []byte("a")) ||
		NewHasher(7).Key(1, []byte("a")) != h.Key(1, []byte("a")) {
		t.Fatal("the seed does not do what it must")
	}
}

func TestIDAndKeyAllocateNothing(t *testing.T) {
	text, product, h := []byte(uuidA), []byte(strings.Repeat("x", MaxID)), NewHasher(7)
	other := MakeID([]byte("other"))
	var keys Key
	if n := testing.AllocsPerRun(100, func() {
		keys = h.Key(4, product)
		if MakeID(text).Compare(other) == 0 {
			t.Fatal("equal")
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
	_ = keys
}

func BenchmarkKey(b *testing.B) {
	h, product := NewHasher(7), []byte(uuidA)
	for b.Loop() {
		h.Key(4, product)
	}
}

func BenchmarkMakeID(b *testing.B) {
	text := []byte(uuidA)
	for b.Loop() {
		MakeID(text)
	}
}
