package decode

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"firstclick/internal/jointest"
	"firstclick/join/event"
)

// same holds what a decoder that has seen nothing, or some records, makes of a value against what
// the plain one makes of it.
func same(t jointest.Fataler, zone *time.Location, value []byte, seen ...[]byte) {
	d := New(zone)
	for _, before := range seen {
		_ = d.Click(before, &Click{})
	}
	var c, pc Click
	var pid []byte
	got, want := reasonOf(t, d.Click(value, &c)), event.Reason("")
	if e := plainClick(zone, value, &pc, &pid); e != nil {
		want = e.Reason
	}
	if got != want {
		t.Fatalf("click: %q, want %q", got, want)
	}
	if got == "" && (c.ID.String() != string(pid) || c.User != pc.User || !bytes.Equal(c.Product, pc.Product) ||
		c.Time != pc.Time) {
		t.Fatalf("click: %+v, want %s %+v", c, pid, pc)
	}
	var k event.Checkout
	var pk plainEvent
	got, want = reasonOf(t, second(d.Checkout(value, &k, nil))), ""
	if e := plainCheckout(zone, value, &pk); e != nil {
		want = e.Reason
	}
	if got != want {
		t.Fatalf("checkout: %q, want %q", got, want)
	}
	if got != "" {
		return
	}
	if k.ID.String() != string(pk.ID) || k.User != pk.User || k.Time != pk.Time || !bytes.Equal(k.Value(), value) {
		t.Fatalf("checkout: %+v, want %+v", k, pk)
	}
	pk.texts["checkout_id"], pk.texts["product_id"] = optionalText{pk.ID, true}, optionalText{pk.Product, true}
	for n, c := range event.Columns {
		text, ok := k.Column(n)
		if want := pk.texts[c.Name]; ok != want.Valid || !bytes.Equal(text, want.B) {
			t.Fatalf("%s: %q, want %q", c.Name, text, want.B)
		}
	}
}

func TestDecodeRealEvents(t *testing.T) {
	for _, name := range []string{"clicks.jsonl", "checkouts.jsonl"} {
		for _, line := range jointest.Lines(t, name) {
			same(t, time.UTC, line)
		}
	}
}

// Values put together from pieces that matter, in the wrong places too.
func TestDecodeLikePlain(t *testing.T) {
	piece := rapid.SampledFrom([]string{`{`, `}`, `[`, `]`, `,`, `:`, ` `, "\t", `null`, `true`, `false`, `0`, `-`,
		`1.5`, `1e3`, `1E-3`, `01`, `"`, `\u0000`, `\ud83d\ude00`, `\udc00`, "\x00", "\xff", "é",
		`"x"`, `"a\"b\\c\/d\b\f\n\r\t\u00E9"`, `"` + uuidA +
			`"`, `"2026-11-23 00:46:50.811"`, `"7"`, `"1.50e1"`, `""`, `{"a":[1,{}]}`})
	rapid.Check(t, func(t *rapid.T) {
		var b bytes.Buffer
		b.WriteString(`{"x":0`)
		for _, name := range memberNames[1:] {
			for range rapid.SampledFrom([]int{0, 1, 1, 1, 1, 1, 1, 2}).Draw(t, "times") {
				b.WriteString(`,"` + name + `":`)
				switch {
				case rapid.IntRange(0, 9).Draw(t, "wild") == 0:
					b.WriteString(strings.Join(rapid.SliceOfN(piece, 1, 4).Draw(t, "pieces"), ""))
				case name == "datetime_occured":
					b.WriteString(`"2026-11-23 00:46:50.811"`)
				case name == "user_id":
					b.WriteString("7")
				case name == "total_amount":
					b.WriteString(rapid.SampledFrom([]string{"1.50e1", "7", `"0.1e-3"`, "-2.50", "null"}).Draw(t,
						"amount"))
				default:
					b.WriteString(rapid.SampledFrom([]string{`"x"`, `"a\"b\\c\/d\b\f\n\r\t\u00E9"`, `"` + uuidA +
						`"`}).Draw(t, "text"))
				}
			}
		}
		b.WriteString(`}`)
		same(t, time.UTC, b.Bytes())
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(jointest.Lines(f, "clicks.jsonl")[0], uint8(0))
	f.Add(jointest.Lines(f, "checkouts.jsonl")[0], uint8(1))
	f.Add([]byte(`{"click_id":"\ud83d\ude00","checkout_id":"\u0000","user_id":"-7","product_id":"é",`+
		`"total_amount":-1.50e-3,"datetime_occured":"2026-03-29T02:30:00.1234567"}`), uint8(1))
	f.Add([]byte("{\"a\":[[{}],{\"b\":\"\xff\"}]}"), uint8(2))
	zones := make([]*time.Location, len(testZones))
	for i, name := range testZones {
		zone, err := time.LoadLocation(name)
		if err != nil {
			f.Fatal(err)
		}
		zones[i] = zone
	}
	f.Fuzz(func(t *testing.T, value []byte, zone uint8) {
		same(t, zones[int(zone)%len(zones)], value)
	})
}

// FuzzJSON holds the scanner against encoding/json on any text, as one member of an object and as
// the whole value.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`1`, `-0.5e+7`, `"a\u12aF"`, `[1,2,[3,{"a":null}]]`, `{"a":{},"b":[]}`, ` true `,
		`[1,]`, `{"a"}`, `nul`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		same(t, time.UTC, value)
		head := `{"click_id":"a",` + checkoutHead[1:] + `,"x":`
		same(t, time.UTC, bytes.Join([][]byte{[]byte(head), value, []byte(`}`)}, nil))
	})
}
