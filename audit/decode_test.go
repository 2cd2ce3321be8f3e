package audit

import (
	"bufio"
	"errors"
	"math"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	pipelines "firstclick/join/decode"
	joined "firstclick/join/event"
)

const (
	okClick    = `{"click_id":"c","user_id":1,"product_id":"p","datetime_occured":"2026-11-23 00:46:50.811"}`
	okCheckout = `{"checkout_id":"k","user_id":1,"product_id":"p","datetime_occured":"2026-11-23 00:46:50.811"}`
)

// oddities are values that one decoder or the other could see differently.
func oddities() []string {
	var all []string
	for _, field := range []string{
		`""`, `null`, `1`, `{}`, `[]`, `true`, `"\u0000"`, `"a\u0000"`, `"\ud800"`, `"\udc00"`, `"\ud83d\ude00"`,
		`"\ud83d\ud83d"`, `"\uD83Dx"`, `"` + "\xff" + `"`,
		`"` + strings.Repeat("x", 255) + `"`, `"` + strings.Repeat("x", 256) + `"`, `"` + strings.Repeat("ä", 128) +
			`"`, `"\u0041"`, `"x\ny"`,
		`-1`, `-0`, `00`, `"-0"`, `"007"`, `"00000000007"`, `"000000000007"`, `2147483647`, `2147483648`,
		`"-2147483648"`, `"-2147483649"`, `1.0`, `1e2`, `"1.0"`, `"+1"`, `" 1"`, `"-"`, `"--1"`,
		`0.005`, `-0.005`, `1e64`, `1e65`, `1e-64`, `1e-65`, `"1E+3"`, `"NaN"`, `"Infinity"`, `".5"`, `"5."`, `"01"`,
		`"1 "`, `"1e"`, `"0x1"`, `1e00000000064`,
		`"` + strings.Repeat("9", 64) + `"`, `"` + strings.Repeat("9", 65) + `"`, strings.Repeat("9", 65),
		`"2026-11-23 00:46:50"`, `"2026-11-23T00:46:50Z"`, `"2026-11-23t00:46:50Z"`, `"2026-11-23 00:46:50z"`,
		`"2026-11-23 00:46:50+05:30"`, `"2026-11-23 00:46:50-23:59"`,
		`"2026-11-23 00:46:50+24:00"`, `"2026-11-23 00:46:50+0530"`, `"2026-11-23 00:46:50+05:60"`,
		`"2026-11-23 00:46:50."`, `"2026-11-23 00:46:50.123456789"`, `"2026-11-23 00:46:50.1234567890"`,
		`"2026-11-23 00:46:50,5"`, `"2026-11-23 00:46:60"`, `"2026-11-23 24:00:00"`, `"2026-02-29 00:00:00"`,
		`"2024-02-29 00:00:00"`, `"2026-13-01 00:00:00"`, `"2026-00-01 00:00:00"`, `"2026-01-00 00:00:00"`,
		`"1969-12-31 23:59:59.999999"`, `"1970-01-01 00:00:00"`, `"1969-12-31T23:30:00-01:00"`,
		`"1970-01-01T00:30:00+01:00"`, `"9999-12-31 23:59:59.999999"`, `"9999-12-31T23:59:59-01:00"`,
		`"0000-01-01 00:00:00"`,
		`"2026-11-23 00:46"`, `"2026-11-23 00:46Z"`, `"2026-11-23T00:46+05"`, `"2026-11-23 00:46.5"`,
		`"2026-11-23 00:46,5"`, `"2026-11-23 00:46:"`, `"2026-11-23 00:46:5"`, `"2026-11-23 00:4"`,
		`"2026-11-23 00:46:50+05"`, `"2026-11-23 00:46:50-0530"`, `"2026-11-23 00:46:50+053"`,
		`"2026-11-23 00:46:50+24"`, `"2026-11-23 00:46:50+0560"`, `"2026-11-23 00:46:50 +0000"`,
		`"2026-11-23 00:46:50,123456+0000"`, `"2026-11-23 00:46:50,"`, `"2026-11-23 00:46:50.,5"`,
		`"2026-11-23 00:46:50+:00"`, `"2026-11-23 00:46:50+0:30"`, `"2026-11-23 00:46:50+05:+1"`,
		`"2026-11-23 00:46:50++5:30"`,
		`"2026-11-23"`, `"2026-11-23 00:46:50 UTC"`, `"2026-3-29 02:30:00"`, `"2026-03-29 02:30:00"`,
		`"2026-10-25 02:30:00"`, `"2026-11-23  0:46:50"`, `"２０２６-11-23 00:46:50"`,
	} {
		for _, name := range []string{"click_id", "checkout_id", "user_id", "product_id", "datetime_occured",
			"total_amount", "payment_method", "ip_address"} {
			member := `,"` + name + `":` + field + `}`
			all = append(all, strings.TrimSuffix(okClick, "}")+member, strings.TrimSuffix(okCheckout, "}")+member)
		}
	}
	return append(all, []string{
		"", " ", "null", "[]", `"x"`, "1", "{}", "{", "{}{}", "{} x", "\ufeff{}", `{"a":01}`, `{"a":"` + "\t" +
			`"}`, `{"a":'b'}`, `{"a":1,}`, `{a:1}`, `["` + "\xff" + `"]`, `{"a":"` + "\xff" + `"`, `{"` + "\xff" +
			`":1}`,
		okClick + "\n", "\n\t " + okClick, okClick + okClick, strings.ToUpper(okClick), strings.Replace(okClick,
			"click_id", `click\u005fid`, 1), strings.Replace(okClick, "click_id", `Click_ID`, 1),
		strings.Replace(okClick, "click_id", `click_id\ud800`, 1), strings.Replace(okClick, `"c"`,
			`"c","x":"`+"\xc0\x80"+`"`, 1),
		strings.Replace(okClick, "{", `{"x":`+strings.Repeat("[", 9998)+strings.Repeat("]", 9998)+",", 1),
		strings.Replace(okClick, "{", `{"x":`+strings.Repeat("[", 9999)+strings.Repeat("]", 9999)+",", 1),
		strings.Replace(okClick, "{", `{"x":`+strings.Repeat("[", 10000)+strings.Repeat("]", 10000)+",", 1),
		strings.Repeat("[", 10001) + strings.Repeat("]", 10001), strings.Repeat("[", 10000) +
			strings.Repeat("]", 10000),
		okClick + strings.Repeat(" ", maxValue-len(okClick)), okClick +
			strings.Repeat(" ", maxValue-len(okClick)+1), strings.Repeat("x", maxValue+1),
	}...)
}

// agree fails when the pipeline's decoder and this one see a value differently: verify would then
// report what is not wrong, or miss what is. Neither is right by itself; both follow the same
// written rules.
func agree(t interface{ Fatalf(string, ...any) }, value []byte, zone *time.Location) {
	decoder := pipelines.New(zone)
	reasonOf := func(err error) string {
		var e *joined.DecodeError
		if errors.As(err, &e) {
			return string(e.Reason)
		}
		return ""
	}
	var c pipelines.Click
	theirs := reasonOf(decoder.Click(value, &c))
	e, ours := decode(topicClicks, value, zone)
	if ours != theirs {
		t.Fatalf("click %.300q: reason %q here, %q in the pipeline", value, ours, theirs)
	}
	if ours == "" && (e.id != c.ID.String() || e.user != c.User || e.product != string(c.Product) || e.time != c.Time) {
		t.Fatalf("click %.300q: %+v here, %+v in the pipeline", value, e, c)
	}
	var k joined.Checkout
	_, err := decoder.Checkout(value, &k, nil)
	theirs = reasonOf(err)
	e, ours = decode(topicCheckouts, value, zone)
	if ours != theirs {
		t.Fatalf("checkout %.300q: reason %q here, %q in the pipeline", value, ours, theirs)
	}
	if ours != "" {
		return
	}
	if e.id != k.ID.String() || e.user != k.User || e.product != string(k.Product()) || e.time != k.Time {
		t.Fatalf("checkout %.300q: %+v here, %+v in the pipeline", value, e, k)
	}
	for i, o := range e.values {
		text, valid := k.Column(slices.IndexFunc(joined.Columns[:],
			func(c joined.Column) bool { return c.Name == ownColumns[i].name }))
		same := o.text == string(text)
		if ownColumns[i].amount && o.valid {
			a, okA := parseDecimal(o.text)
			b, okB := parseDecimal(string(text))
			same = okA && okB && a.Cmp(b) == 0
		}
		if o.valid != valid || !same {
			t.Fatalf("checkout %.300q: %s is %v here, %q in the pipeline", value, ownColumns[i].name, o, text)
		}
	}
}

func zones(t testing.TB) []*time.Location {
	t.Helper()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatalf("load zone: %v", err)
	}
	return []*time.Location{time.UTC, berlin, time.FixedZone("", -3600)}
}

func TestDecodersAgree(t *testing.T) {
	for _, zone := range zones(t) {
		for _, value := range oddities() {
			agree(t, []byte(value), zone)
		}
	}
}

func TestDecodersAgreeOnRealEvents(t *testing.T) {
	for _, name := range []string{"clicks", "checkouts"} {
		for _, line := range seedLines(t, name) {
			agree(t, line, time.UTC)
		}
	}
}

func seedLines(t testing.TB, name string) [][]byte {
	t.Helper()
	f, err := os.Open("../testdata/" + name + ".jsonl")
	if err != nil {
		t.Fatalf("open events: %v", err)
	}
	defer f.Close()
	var lines [][]byte
	in := bufio.NewScanner(f)
	for in.Scan() {
		lines = append(lines, []byte(in.Text()))
	}
	if err := in.Err(); err != nil || len(lines) < 1000 {
		t.Fatalf("read events: %v, %d lines", err, len(lines))
	}
	return lines
}

func FuzzDecodersAgree(f *testing.F) {
	for i, value := range oddities() { // a seventeenth is a bit of each: fuzzing begins when all seeds were run
		if i%17 == 0 && len(value) < 2000 {
			f.Add([]byte(value))
		}
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, value []byte) { agree(t, value, berlin) })
}

func TestDecodeReasons(t *testing.T) {
	with := func(name, value string) string {
		return strings.TrimSuffix(okCheckout, "}") + `,"` + name + `":` + value + "}"
	}
	for _, c := range []struct{ value, want string }{
		{okCheckout, ""},
		{"", reasonEmpty},
		{strings.Repeat(" ", maxValue+1), reasonTooLarge},
		{`{"checkout_id":`, reasonJSON},
		{`[1]`, reasonShape},
		{`{"x":"` + "\xff" + `"}`, reasonText},
		{`{}`, reasonCheckoutID},
		{`{"CHECKOUT_ID":"k"}`, reasonCheckoutID},
		{with("checkout_id", `"a\u0000"`), reasonText},
		{with("checkout_id", `7`), reasonCheckoutID},
		{with("user_id", `2147483648`), reasonUserID},
		{with("user_id", `"12"`), ""},
		{with("product_id", `""`), reasonProductID},
		{with("datetime_occured", `"2026-02-30 00:00:00"`), reasonTime},
		{with("total_amount", `"NaN"`), reasonAmount},
		{with("ip_address", `1`), reasonText},
		{with("ip_address", `"\ud800"`), reasonText},
		{with("url", `"\ud800"`), ""}, // not a field that we use
	} {
		if _, got := decode(topicCheckouts, []byte(c.value), time.UTC); got != c.want {
			t.Errorf("decode(%.100q) = %q, want %q", c.value, got, c.want)
		}
	}
}

func TestRoundLikePostgres(t *testing.T) {
	for _, c := range []struct {
		in    string
		scale int
		want  string
	}{
		{"0.005", 2, "0.01"}, {"-0.005", 2, "-0.01"}, {"0.0049", 2, "0"}, {"2.345", 2, "2.35"}, {"1e3", 2,
			"1000"}, {"1.25e-1", 2, "0.13"},
		{"149", -2, "100"}, {"150", -2, "200"}, {"-0", 2, "0"}, {"999.995", 2, "1000"}, {"7", 2, "7.00"},
	} {
		d, ok := parseDecimal(c.in)
		want, okWant := parseDecimal(c.want)
		if !ok || !okWant || round(d, c.scale).Cmp(want) != 0 {
			t.Errorf("round(%s, %d) is %v, want %s", c.in, c.scale, round(d, c.scale), c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		unscaled, scale := rapid.Int64().Draw(t, "unscaled"), rapid.IntRange(0, 12).Draw(t, "scale")
		unit := int64(math.Pow10(scale))
		d := big.NewRat(unscaled, unit)
		want := new(big.Int).Mul(big.NewInt(unscaled), big.NewInt(200)) // in hundredths, doubled
		want.Add(want, big.NewInt(unit*int64(big.NewInt(unscaled).Sign()))).Quo(want, big.NewInt(2*unit))
		if got := round(d, 2); got.Cmp(new(big.Rat).SetFrac(want, big.NewInt(100))) != 0 {
			t.Fatalf("round(%d / 10^%d) is %v, want %v hundredths", unscaled, scale, got, want)
		}
	})
}
