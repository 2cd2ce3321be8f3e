package cli

import (
	"slices"
	"testing"
)

func TestParseHosts(t *testing.T) {
	for text, want := range map[string][]string{"": nil, " , ": nil, "firstclick": {"firstclick"},
		"page.example, app1.": {"page.example", "app1."}} {
		if got, err := parseHosts(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"page.example:8081", "https://page.example", "*", "*.example", "a b"} {
		if got, err := parseHosts(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}
