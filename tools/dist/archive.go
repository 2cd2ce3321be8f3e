package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"
)

// file is an entry of an archive.
type file struct {
	content    []byte
	executable bool
}

// files are entries by their path below the archive's folder.
type files map[string]file

// add reads an entry from disk.
func (f files) add(name, path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read what goes into the archive: %w", err)
	}
	f[name] = file{content: content}
	return nil
}

// archive writes a tar.gz: the same files and time give the same bytes.
func (f files) archive(w io.Writer, folder string, at time.Time) error {
	packed, err := gzip.NewWriterLevel(w, gzip.BestCompression) // its header has neither name nor time
	if err != nil {
		return err
	}
	out := tar.NewWriter(packed)
	for _, name := range slices.Sorted(maps.Keys(f)) {
		entry := f[name]
		mode := int64(0o644)
		if entry.executable {
			mode = 0o755
		}
		header := tar.Header{Typeflag: tar.TypeReg, Name: folder + "/" + name, Size: int64(len(entry.content)),
			Mode: mode, ModTime: at, Format: tar.FormatUSTAR}
		if len(header.Name) > 100 { // what the plain header holds
			header.Format = tar.FormatPAX
		}
		if err := out.WriteHeader(&header); err != nil {
			return fmt.Errorf("entry %s: %w", name, err)
		}
		if _, err := out.Write(entry.content); err != nil {
			return fmt.Errorf("entry %s: %w", name, err)
		}
	}
	return errors.Join(out.Close(), packed.Close())
}
