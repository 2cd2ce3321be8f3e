package escape

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":"b\n"}`:           `{"a":"b\n"}`,
		"Müller 東京 😀":           "Müller 東京 😀",
		"\x1b[2J\x1b]0;owned\a": `\x1b[2J\x1b]0;owned\x07`,
		"a\r\nstatus: fine\tb":  `a\r\nstatus: fine\tb`,
		"\u009b31m":             `\u009b31m`, // CSI in one character
		"\u202etxt.exe":         `\u202etxt.exe`,
		"\x00\x7f\xff\xc3":      `\x00\x7f\xff\xc3`,
		"\U000e0041":            `\U000e0041`,
	} {
		if got := Text([]byte(in)); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add([]byte("\x1b[2J\u202e\xff"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got := Text(text)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q became %q", text, got)
		}
		// The JSON of anything stays the JSON of the same, without what a terminal obeys.
		encoded, err := json.MarshalIndent(map[string]string{"text": string(text)}, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		safe := JSON(encoded)
		if strings.ContainsFunc(string(safe), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
			t.Errorf("%q became %q", encoded, safe)
		}
		var before, after map[string]string
		if err := json.Unmarshal(encoded, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(safe, &after); err != nil || before["text"] != after["text"] {
			t.Errorf("%q became %q: %v", encoded, safe, err)
		}
	})
}
