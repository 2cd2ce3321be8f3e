//go:build unix

package pgtest

import (
	"io/fs"
	"os/exec"
	"syscall"

	"firstclick/internal/tether"
)

func owner(info fs.FileInfo) (uid, gid uint32, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return stat.Uid, stat.Gid, true
}

func runCommandAs(command *exec.Cmd, runAs *tether.Credential) {
	if runAs != nil {
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: runAs.UID, Gid: runAs.GID}}
	}
}
