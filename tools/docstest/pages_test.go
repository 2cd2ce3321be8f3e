package docstest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// top is the repository's directory.
const top = "../.."

// page is one document.
type page struct {
	name   string // from the top
	text   string
	blocks []block
	spans  []span
	heads  []string // headings, as links name them
}

// block is a fenced or indented piece of a page.
type block struct {
	lang    string // "": none was given
	section string // the heading above it
	line    int    // of its first line
	text    string
}

// span is code in running text.
type span struct {
	line int
	text string
}

// pages returns every document of the repository.
func pages(t *testing.T) []page {
	t.Helper()
	var all []page
	err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != top && (strings.HasPrefix(entry.Name(), ".") ||
			slices.Contains([]string{"bin", "dist", "node_modules", "testdata"}, entry.Name())):
			return filepath.SkipDir
		case filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(top, path)
		all = append(all, parse(filepath.ToSlash(name), string(text)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("only %d pages found", len(all))
	}
	return all
}

func onePage(t *testing.T, name string) page {
	t.Helper()
	for _, p := range pages(t) {
		if p.name == name {
			return p
		}
	}
	t.Fatalf("there is no page %s", name)
	return page{}
}

var (
	codeSpan = regexp.MustCompile("(``+ ?)(.+?)( ?``+)|`([^`]+)`")
	notLink  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// parse reads as much of Markdown as the pages use.
func parse(name, text string) page {
	p := page{name: name, text: text}
	section, fence := "", ""
	var open *block
	inParagraph := false // where indented lines are text, not a block
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case fence != "" && strings.HasPrefix(trimmed, fence):
			p.blocks, fence = append(p.blocks, *open), ""
		case fence != "":
			open.text += line + "\n"
		case strings.HasPrefix(trimmed, "```"):
			fence = trimmed[:len(trimmed)-len(strings.TrimLeft(trimmed, "`"))]
			open = &block{lang: strings.TrimLeft(trimmed, "`"), section: section, line: i + 2}
		case strings.HasPrefix(line, "#"):
			section = strings.TrimSpace(strings.TrimLeft(line, "#"))
			p.heads = append(p.heads, strings.ReplaceAll(notLink.ReplaceAllString(strings.ToLower(section), ""), " ",
				"-"))
		case strings.HasPrefix(line, "    ") && trimmed != "" && !inParagraph:
			p.blocks = append(p.blocks, block{lang: "sh", section: section, line: i + 1, text: trimmed + "\n"})
		default:
			for _, m := range codeSpan.FindAllStringSubmatch(line, -1) {
				p.spans = append(p.spans, span{line: i + 1, text: strings.ReplaceAll(m[2]+m[4], `\|`, "|")})
			}
			inParagraph = trimmed != ""
		}
	}
	return p
}

// statements splits SQL at semicolons outside of quotes and comments.
func statements(sql string) (all []string) {
	var one strings.Builder
	quoted := false
	for line := range strings.Lines(sql) {
		if !quoted {
			line, _, _ = strings.Cut(line, "--")
		}
		for _, r := range line {
			if r == '\'' {
				quoted = !quoted
			}
			if r == ';' && !quoted {
				all = append(all, strings.TrimSpace(one.String()))
				one.Reset()
				continue
			}
			one.WriteRune(r)
		}
		one.WriteByte('\n')
	}
	if rest := strings.TrimSpace(one.String()); rest != "" {
		all = append(all, rest)
	}
	return all
}

// Links to headings lead to headings. That files are there is checked by .ci/house.
func TestAnchors(t *testing.T) {
	heads := map[string][]string{}
	for _, p := range pages(t) {
		heads[p.name] = p.heads
	}
	link := regexp.MustCompile(`\]\(([^)#: ]*)#([^)]+)\)`)
	for _, p := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(p.text, -1) {
			target := p.name
			if m[1] != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(p.name), m[1]))
			}
			if !slices.Contains(heads[target], m[2]) {
				t.Errorf("%s: %s has no heading #%s", p.name, target, m[2])
			}
		}
	}
}
