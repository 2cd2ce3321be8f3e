package shape

import (
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A path that is drawn at random is read from what it is written as.
func TestPathsAreReadAsTheyAreWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		member := rapid.OneOf(rapid.StringMatching(`[a-zA-Z_0-9$"\\. \[\]-]{0,6}`), rapid.String())
		p := Path{Steps: []Step{{Member: member.Draw(t, "member")}}}
		for range rapid.IntRange(0, 4).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "index") {
				p.Steps = append(p.Steps, Step{Index: rapid.IntRange(0, 1<<31-1).Draw(t, "n"), IsIndex: true})
			} else {
				p.Steps = append(p.Steps, Step{Member: member.Draw(t, "member")})
			}
		}
		got, err := ParsePath(p.String())
		if err != nil || len(got.Steps) != len(p.Steps) {
			t.Fatalf("%s: %v, %v", p, got, err)
		}
		for i := range p.Steps {
			if got.Steps[i] != p.Steps[i] {
				t.Fatalf("%s: step %d is %+v, not %+v", p, i, got.Steps[i], p.Steps[i])
			}
		}
		name := rapid.StringMatching(`[a-zA-Z_0-9$"\. äß-]{1,20}`).Draw(t, "name")
		if column, err := ParseColumn(QuoteName(name)); err != nil || column != name {
			t.Fatalf("%s: %q, %v", QuoteName(name), column, err)
		}
	})
}

// Decimal agrees with exact arithmetic, and equal numbers have one spelling.
func TestDecimal(t *testing.T) {
	for text, want := range map[string]string{
		"0": "0", "-0": "0", "-0.0e5": "0", "1.50": "1.5", "1e3": "1000", "1E+3": "1000", "12e-3": "0.012",
		"-120e-1": "-12", "9007199254740993": "9007199254740993", "01": "", "1.": "", ".5": "", "+1": "", "1e": "",
		"1e+-3": "", "": "", "-": "", "0x10": "", "1_000": "", "1e9999": "", "NaN": "",
	} {
		if got, ok := Decimal(text); got != want || ok != (want != "") {
			t.Errorf("%q is %q, %v; want %q", text, got, ok, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`-?(0|[1-9][0-9]{0,12})(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?`).Draw(t, "number")
		got, ok := Decimal(text)
		want, _ := new(big.Rat).SetString(text)
		have, _ := new(big.Rat).SetString(got)
		if !ok || want.Cmp(have) != 0 || strings.ContainsAny(got, "eE") {
			t.Fatalf("%s is %s, %v", text, got, ok)
		}
		if again, _ := Decimal(got); again != got {
			t.Fatalf("%s is %s, and that is %s", text, got, again)
		}
	})
}

func TestColumnTypes(t *testing.T) {
	for text, want := range map[string]string{
		"text": "text", " VARCHAR ( 36 ) ": "varchar(36)", "numeric(12, 2)": "numeric(12,2)",
		"double  precision": "double precision", "int8": "bigint",
		"timestamp with time zone": "timestamptz", "money": "", "text(3)": "", "numeric(1,2,3)": "", "varchar(x)": "",
		"varchar(3": "", "varchar(3); drop": "",
	} {
		if got, err := ColumnType(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v; want %q", text, got, err, want)
		}
	}
}
