package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// The most that a file may have. Widths are columns; a tab counts 4 at most.
const (
	maxLines   = 400
	maxComment = 100
	maxCode    = 120
	maxPage    = 120
)

// linkTarget is the part of a Markdown link that no reader sees.
var linkTarget = regexp.MustCompile(`\]\([^)]*\)|<https?://[^>]*>`)

// widths prints what of a Go file or a Markdown page is too long.
func widths(path string, out io.Writer) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read a source: %w", err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if filepath.Ext(path) == ".md" {
		for i, line := range lines {
			if w := columns(linkTarget.ReplaceAllString(line, "]")); w > maxPage && !strings.HasPrefix(line, "|") {
				fmt.Fprintf(out, "%s:%d: a page's line of %d columns, want %d at most\n", path, i+1, w, maxPage)
			}
		}
		return nil
	}
	if len(lines) > maxLines {
		fmt.Fprintf(out, "%s: %d lines, want %d at most\n", path, len(lines), maxLines)
	}
	for i, line := range lines {
		w, words := columns(line), strings.TrimSpace(line)
		comment, isComment := strings.CutPrefix(words, "//")
		switch {
		// an address cannot be broken
		case isComment && w > maxComment && strings.Contains(strings.TrimSpace(comment), " "):
			fmt.Fprintf(out, "%s:%d: a comment line of %d columns, want %d at most\n", path, i+1, w, maxComment)
		case !isComment && w > maxCode:
			fmt.Fprintf(out, "%s:%d: a code line of %d columns, want %d at most\n", path, i+1, w, maxCode)
		}
	}
	return nil
}

func columns(line string) int {
	n := 0
	for _, r := range line {
		if r == '\t' {
			n += 4 - n%4
		} else {
			n++
		}
	}
	return n
}
