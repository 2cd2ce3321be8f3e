//go:build !unix

package pgserver

import (
	"io/fs"
	"os"
	"os/exec"

	"firstclick/internal/childproc"
)

func owner(fs.FileInfo) (uid, gid uint32, ok bool) { return 0, 0, false }

func runCommandAs(*exec.Cmd, *childproc.Credential) {}

func own(string) (*os.File, error) { return nil, nil }
