//go:build !unix

package pgtest

import (
	"io/fs"
	"os"
	"os/exec"

	"firstclick/internal/tether"
)

func owner(fs.FileInfo) (uid, gid uint32, ok bool) { return 0, 0, false }

func runCommandAs(*exec.Cmd, *tether.Credential) {}

func own(string) (*os.File, error) { return nil, nil }
