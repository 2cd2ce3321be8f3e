package decode

import (
	"bytes"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
	"weak"

	"firstclick/internal/jointest"
	"firstclick/join/event"
)

const (
	uuidA = "b448af57-564e-4411-a163-30c1e560ebff"
	uuidB = "6635c991-5424-4e04-b7f1-89c6ea530adc"
)

func reasonOf(t jointest.Fataler, err error) event.Reason {
	if err == nil {
		return ""
	}
	var e *event.DecodeError
	if !errors.As(err, &e) {
		t.Fatalf("error of type %T: %v", err, err)
	}
	if !utf8.ValidString(e.Detail) || strings.Contains(e.Detail, "\x00") || len(e.Detail) > 700 || e.Detail == "" {
		t.Fatalf("detail not fit to be stored: %q", e.Detail)
	}
	return e.Reason
}

func clickWith(id, user, product, at string) string {
	return `{"click_id":` + id + `,"user_id":` + user + `,"product_id":` + product + `,"datetime_occured":` + at + `}`
}

func TestDecodeClickReasons(t *testing.T) {
	const id, product, at = `"` + uuidA + `"`, `"` + uuidB + `"`, `"2026-11-23 00:46:50.811"`
	ok := clickWith(id, "82", product, at)
	long := `"` + strings.Repeat("x", 256) + `"`
	deep := func(n int) string {
		return `{"x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `,` + ok[1:]
	}
	for name, c := range map[string]struct {
		value string
		want  event.Reason
	}{
		"fine":                       {ok, ""},
		"blanks all round":           {" \t\r\n" + ok + "\n ", ""},
		"user as string":             {clickWith(id, `"-7"`, product, at), ""},
		"user 32 bits":               {clickWith(id, "-2147483648", product, at), ""},
		"id of 255 bytes":            {clickWith(long[1:], "1", product, at), event.ReasonJSON},
		"longest id":                 {clickWith(long[:255]+`"`, "1", product, at), ""},
		"escaped member name":        {strings.Replace(ok, "click_id", `click\u005fid`, 1), ""},
		"last of duplicates":         {`{"user_id":null,"user_id":"x",` + ok[1:], ""},
		"last of duplicates is bad":  {ok[:len(ok)-1] + `,"user_id":null}`, event.ReasonUserID},
		"nested as deep as may be":   {deep(maxDepth - 1), ""},
		"nothing":                    {"", event.ReasonEmpty},
		"blank":                      {" ", event.ReasonJSON},
		"too large":                  {ok + strings.Repeat(" ", event.MaxRecord), event.ReasonTooLarge},
		"just not too large":         {ok + strings.Repeat(" ", event.MaxRecord-len(ok)), ""},
		"cut":                        {ok[:len(ok)-1], event.ReasonJSON},
		"more behind":                {ok + "{}", event.ReasonJSON},
		"comma behind":               {ok[:len(ok)-1] + ",}", event.ReasonJSON},
		"byte order mark":            {"\ufeff" + ok, event.ReasonJSON},
		"leading zero":               {clickWith(id, "082", product, at), event.ReasonJSON},
		"hex number":                 {clickWith(id, "0x52", product, at), event.ReasonJSON},
		"plus":                       {clickWith(id, "+82", product, at), event.ReasonJSON},
		"NaN":                        {clickWith(id, "NaN", product, at), event.ReasonJSON},
		"control character":          {`{"x":"a` + "\n" + `",` + ok[1:], event.ReasonJSON},
		"unknown escape":             {`{"x":"\x41",` + ok[1:], event.ReasonJSON},
		"single quotes":              {strings.ReplaceAll(ok, `"`, `'`), event.ReasonJSON},
		"too deep":                   {deep(maxDepth), event.ReasonJSON},
		"1 MiB of brackets":          {strings.Repeat("[", event.MaxRecord), event.ReasonJSON},
		"1 MiB of objects":           {strings.Repeat(`{"a":`, event.MaxRecord/5), event.ReasonJSON},
		"array":                      {"[" + ok + "]", event.ReasonShape},
		"null":                       {"null", event.ReasonShape},
		"string":                     {`"x"`, event.ReasonShape},
		"invalid UTF-8, not in ours": {`{"x":"` + "\xff" + `",` + ok[1:], event.ReasonText},
		"surrogate as UTF-8":         {`{"x":"` + "\xed\xa0\x80" + `",` + ok[1:], event.ReasonText},
		"invalid UTF-8 in no object": {`"` + "\xff" + `"`, event.ReasonShape},
		"no id":                      {`{}`, event.ReasonClickID},
		"null id":                    {clickWith("null", "82", product, at), event.ReasonClickID},
		"number id":                  {clickWith("17", "82", product, at), event.ReasonClickID},
		"empty id":                   {clickWith(`""`, "82", product, at), event.ReasonClickID},
		"long id":                    {clickWith(long, "82", product, at), event.ReasonClickID},
		"NUL in id":                  {clickWith(`"a\u0000"`, "82", product, at), event.ReasonText},
		"lone high surrogate":        {clickWith(`"\ud800x"`, "82", product, at), event.ReasonText},
		"lone low surrogate":         {clickWith(`"\udc00"`, "82", product, at), event.ReasonText},
		"surrogate pair":             {clickWith(`"\ud83d\ude00"`, "82", product, at), ""},
		"NUL elsewhere":              {`{"x":"\u0000\ud800",` + ok[1:], ""},
		"user too large":             {clickWith(id, "2147483648", product, at), event.ReasonUserID},
		"user fraction":              {clickWith(id, "82.0", product, at), event.ReasonUserID},
		"user exponent":              {clickWith(id, "1e1", product, at), event.ReasonUserID},
		"user blank":                 {clickWith(id, `" 82"`, product, at), event.ReasonUserID},
		"user of 12 bytes":           {clickWith(id, `"000000000082"`, product, at), event.ReasonUserID},
		"user only a sign":           {clickWith(id, `"-"`, product, at), event.ReasonUserID},
		"user missing":               {strings.Replace(ok, "user_id", "User_id", 1), event.ReasonUserID},
		"product object":             {clickWith(id, "82", `{}`, at), event.ReasonProductID},
		"id before user":             {clickWith("1", "null", product, at), event.ReasonClickID},
		"user before product":        {clickWith(id, "null", "1", "1"), event.ReasonUserID},
		"product before time":        {clickWith(id, "1", "1", "1"), event.ReasonProductID},
		"time as number":             {clickWith(id, "82", product, "17"), event.ReasonTime},
		"time before 1970":           {clickWith(id, "82", product, `"1969-12-31 23:59:59"`), event.ReasonTime},
	} {
		t.Run(name, func(t *testing.T) {
			var got Click
			if r := reasonOf(t, New(nil).Click([]byte(c.value), &got)); r != c.want {
				t.Fatalf("reason %q, want %q", r, c.want)
			}
			var plain Click
			var plainID []byte
			r := event.Reason("")
			if e := plainClick(time.UTC, []byte(c.value), &plain, &plainID); e != nil {
				r = e.Reason
			}
			if r != c.want {
				t.Fatalf("the plain decoder says %q, want %q", r, c.want)
			}
		})
	}
}

const checkoutHead = `{"checkout_id":"k","user_id":1,"product_id":"p","datetime_occured":"2026-11-23 00:00:00"`

func TestDecodeAmount(t *testing.T) {
	for in, want := range map[string]string{
		"896.92": "896.92", "-0": "-0", "1e2": "100", "1.50": "1.50", "1.50e1": "15.0", "12E-4": "0.0012",
		"-1.5e+3": "-1500",
		`"17.5"`:  "17.5", "0e-2": "0.00", "0.001e2": "0.1", "100e-2": "1.00", "9e64": "9" + strings.Repeat("0",
			64), "null": "NULL",
		"1e65": "amount", "1e-65": "amount", "1e99999999999999999999": "amount", `"NaN"`: "amount", `""`: "amount",
		`" 1"`: "amount",
		"true": "amount", "[1]": "amount", `"1,5"`: "amount", `"01"`: "amount", `"\u0000"`: "text", `"\u0031"`: "1",
		strings.Repeat("1", 64): strings.Repeat("1", 64), strings.Repeat("1", 65): "amount",
	} {
		value := checkoutHead + `,"total_amount":` + in + `}`
		var k event.Checkout
		_, err := New(nil).Checkout([]byte(value), &k, nil)
		got := string(reasonOf(t, err))
		if err == nil {
			got = column(&k, "total_amount")
		}
		if got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestDecodeCheckoutTexts(t *testing.T) {
	const head = `{"checkout_id":"k\u00e9","user_id":1,"product_id":"p\"q","datetime_occured":"2026-11-23 00:00:00"`
	record := []byte(head + `,"payment_method":"","shipping_address":"a\nb",` +
		`"billing_address":null,"user_agent":"\ud83d\ude00"}`)
	var k event.Checkout
	slab, err := New(nil).Checkout(record, &k, []byte("before"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range event.Columns {
		got = append(got, column(&k, c.Name))
	}
	if want := []string{"ké", `p"q`, "", "NULL", "a\nb", "NULL", "😀", "NULL"}; !slices.Equal(got, want) ||
		k.ID.String() != "ké" {
		t.Fatalf("%q, want %q", got, want)
	}
	if !bytes.Equal(k.Value(), record) || !strings.HasPrefix(string(slab), "before{") {
		t.Fatalf("%q in %q", k.Value(), slab)
	}
	for _, tail := range []string{`,"ip_address":7}`, `,"ip_address":"\u0000"}`, `,"user_agent":{}}`} {
		if r := reasonOf(t, second(New(nil).Checkout([]byte(head+tail), &k, nil))); r != event.ReasonText {
			t.Errorf("%s: %q", tail, r)
		}
	}
}

func second(_ []byte, err error) error { return err }

// column is the value of a column, by its name.
func column(k *event.Checkout, name string) string {
	value, ok := k.Column(slices.IndexFunc(event.Columns[:], func(c event.Column) bool { return c.Name == name }))
	if !ok {
		return "NULL"
	}
	return string(value)
}

func TestDecodeAllocatesNothing(t *testing.T) {
	clicks, checkouts := jointest.Lines(t, "clicks.jsonl"), jointest.Lines(t, "checkouts.jsonl")
	d := New(time.UTC)
	var c Click
	var k event.Checkout
	slab := make([]byte, 0, 1<<20)
	checkout := func(value []byte) error { return second(d.Checkout(value, &k, slab)) }
	for _, line := range checkouts { // grows the decoder's buffer
		if err := checkout(line); err != nil {
			t.Fatal(err)
		}
	}
	exponent := []byte(`{"checkout_id":"k","user_id":"1","product_id":"p",` +
		`"datetime_occured":"2026-11-23T00:00:00+01:00","total_amount":1.5e-3}`)
	i := 0
	if n := testing.AllocsPerRun(2000, func() {
		i++
		if d.Click(clicks[i%len(clicks)], &c) != nil || checkout(checkouts[i%len(checkouts)]) != nil ||
			checkout(exponent) != nil {
			t.Fatal("not decoded")
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkDecodeClick(b *testing.B) {
	all := jointest.Lines(b, "clicks.jsonl")
	d := New(time.UTC)
	var c Click
	b.ReportAllocs()
	jointest.OnCPU(b, "clicks")
	i, n := 0, 0
	for b.Loop() {
		if err := d.Click(all[i], &c); err != nil {
			b.Fatal(err)
		}
		n += len(all[i])
		if i++; i == len(all) {
			i = 0
		}
	}
	b.SetBytes(int64(n / b.N))
}

func BenchmarkDecodeCheckout(b *testing.B) {
	all := jointest.Lines(b, "checkouts.jsonl")
	d := New(time.UTC)
	var k event.Checkout
	slab := make([]byte, 0, 1<<20)
	b.ReportAllocs()
	jointest.OnCPU(b, "checkouts")
	i := 0
	for b.Loop() {
		if _, err := d.Checkout(all[i], &k, slab); err != nil {
			b.Fatal(err)
		}
		if i++; i == len(all) {
			i = 0
		}
	}
}

// A decoder waits for the next record of its partition for as long as it takes, and must not hold a
// whole fetch meanwhile.
func TestDecoderLetsGo(t *testing.T) {
	d := New(nil)
	record := func() weak.Pointer[[1 << 20]byte] {
		fetch := new([1 << 20]byte)
		value := fetch[:copy(fetch[:], clickWith(`"c"`, "1", `"p"`, `"2026-11-27 00:00:00.000"`))]
		var c Click
		if err := d.Click(value, &c); err != nil {
			t.Fatal(err)
		}
		return weak.Make(fetch)
	}
	held := record()
	d.LetGo()
	runtime.GC()
	if held.Value() != nil {
		t.Error("the fetch is held")
	}
	runtime.KeepAlive(d)
}
