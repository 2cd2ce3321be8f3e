package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestArchivesAreReproducible(t *testing.T) {
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	make := func() []byte {
		f := files{"z": {content: []byte("last")}, "firstclick": {content: []byte("binary"), executable: true},
			strings.Repeat("long/", 40) + "name": {content: []byte("x")}}
		var b bytes.Buffer
		if err := f.archive(&b, "firstclick_v1", at); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	one := make()
	if !bytes.Equal(one, make()) {
		t.Error("two archives of the same files differ")
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(one))
	if err != nil {
		t.Fatal(err)
	}
	if !unpacked.ModTime.IsZero() || unpacked.Name != "" {
		t.Errorf("gzip says %s, %q", unpacked.ModTime, unpacked.Name)
	}
	var names []string
	for in := tar.NewReader(unpacked); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if !h.ModTime.Equal(at) || h.Uid != 0 || h.Uname != "" ||
			(h.Mode == 0o755) != (h.Name == "firstclick_v1/firstclick") {
			t.Errorf("entry %+v", h)
		}
	}
	if len(names) != 3 || names[0] != "firstclick_v1/firstclick" || names[2] != "firstclick_v1/z" {
		t.Errorf("entries %q", names)
	}
}

func TestKindsOfLicences(t *testing.T) {
	ours, err := os.ReadFile(filepath.Join("..", "..", "LICENSE"))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		string(ours): "Apache-2.0",
		"Permission is hereby granted,\n free of charge, to any person": "MIT",
		"Mozilla Public License,\nversion 2.0":                          "MPL-2.0",
		"   * Neither the name of Google Inc. nor":                      "BSD-3-Clause",
		"GNU GENERAL PUBLIC LICENSE Version 3":                          "",
		"":                                                              "",
	} {
		if got := kindOf([]byte(text)); got != want {
			t.Errorf("%.40q: %q, want %q", text, got, want)
		}
	}
	dir := t.TempDir()
	if _, err := (module{Path: "example.org/x", Dir: dir}).licence(files{}); err == nil {
		t.Error("a module without a licence passes")
	}
	if err := os.WriteFile(filepath.Join(dir, "COPYING"), []byte("GNU GENERAL PUBLIC LICENSE"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (module{Path: "example.org/x", Dir: dir}).licence(files{}); err == nil {
		t.Error("a module under the GPL passes")
	}
}

func TestStampedSBOM(t *testing.T) {
	at := time.Unix(1_000_000_000, 0)
	got, err := stamped([]byte(`{"metadata":{"timestamp":"now"},"components":[{"name":"x"}]}`), at)
	if err != nil || !strings.Contains(string(got), `"timestamp": "2001-09-09T01:46:40Z"`) {
		t.Errorf("%s, %v", got, err)
	}
	for _, bad := range []string{`{}`, `{"metadata":{}}`, `[`} {
		if _, err := stamped([]byte(bad), at); err == nil {
			t.Errorf("%s passes", bad)
		}
	}
}
