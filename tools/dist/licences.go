package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
)

// licenceFile is how licences and notices are named.
var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([-.].*)?$`)

// kinds are the licences that may be linked in, and a phrase that each has and no other. MPL-2.0
// binds the files that are under it, which we do not change.
var kinds = []struct{ kind, phrase string }{
	{"Apache-2.0", "apache license version 2.0"},
	{"MPL-2.0", "mozilla public license, version 2.0"},
	{"MPL-2.0", "mozilla public license version 2.0"},
	{"BSD-3-Clause", "neither the name of"},
	{"BSD-2-Clause",
		"redistributions in binary form must reproduce the above copyright notice, this list of conditions and the " +
			"following disclaimer in the documentation"},
	{"ISC", "permission to use, copy, modify, and/or distribute this software for any purpose"},
	{"ISC", "permission to use, copy, modify, and distribute this software for any purpose"},
	{"MIT", "permission is hereby granted, free of charge"},
	{"public domain", "put into the public domain. you can do whatever you want with these files"},
	{"Unlicense", "this is free and unencumbered software released into the public domain"},
}

// kindOf knows a licence by its text, "" where it does not.
func kindOf(text []byte) string {
	plain := strings.ToLower(strings.Join(strings.Fields(strings.NewReplacer(",", ", ", "*", " ", "//",
		" ").Replace(string(text))), " "))
	for _, k := range kinds {
		if strings.Contains(plain, k.phrase) || strings.Contains(strings.ReplaceAll(plain, ", ", " "),
			strings.ReplaceAll(k.phrase, ", ", " ")) {
			return k.kind
		}
	}
	return ""
}

// licences adds the licence texts of Go and of every module in the binary.
func (r *release) licences(ctx context.Context, binary string, all files) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("read what is linked in: %w", err)
	}
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	// The whole list in one call.
	args := []string{"mod", "download", "-json"}
	for _, m := range info.Deps {
		if m.Replace != nil {
			return fmt.Errorf("module %s is replaced by %s: its licence is not looked for", m.Path, m.Replace.Path)
		}
		args = append(args, m.Path+"@"+m.Version)
	}
	out, err := exec.CommandContext(ctx, "go", args...).Output()
	if err != nil {
		return fmt.Errorf("go mod download: %w", err)
	}
	modules := []module{{Path: "Go", Version: info.GoVersion, Dir: strings.TrimSpace(string(root))}}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var m module
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("read the list of modules: %w", err)
		}
		modules = append(modules, m)
	}
	var list bytes.Buffer
	table := tabwriter.NewWriter(&list, 0, 0, 2, ' ', 0)
	for _, m := range modules {
		kind, err := m.licence(all)
		if err != nil {
			return err
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", m.Path, m.Version, kind)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	all["licenses/README.txt"] = file{content: append([]byte("What is linked into firstclick, and its licences. The "+
		"texts are in the folders.\n\n"), list.Bytes()...)}
	return nil
}

type module struct{ Path, Version, Dir string }

// licence adds the module's texts and says of what kind they are.
func (m module) licence(all files) (string, error) {
	entries, err := os.ReadDir(m.Dir)
	if err != nil {
		return "", fmt.Errorf("look for the licence of %s: %w", m.Path, err)
	}
	var found []string
	for _, entry := range entries {
		if entry.IsDir() || !licenceFile.MatchString(entry.Name()) {
			continue
		}
		name := "licenses/" + m.Path + "/" + entry.Name()
		if err := all.add(name, filepath.Join(m.Dir, entry.Name())); err != nil {
			return "", err
		}
		if kind := kindOf(all[name].content); kind != "" && !slices.Contains(found, kind) {
			found = append(found, kind)
		}
	}
	if len(found) == 0 {
		return "", fmt.Errorf("module %s %s has no licence that is known: look at it, and at tools/dist", m.Path,
			m.Version)
	}
	return strings.Join(found, " and "), nil
}
