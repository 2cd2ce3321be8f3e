package pgtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"firstclick/internal/childproc"
)

// serverUser is the user that Postgres runs as: nil for our own, another one where we are root.
func serverUser() *childproc.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		known, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(known.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(known.Gid, 10, 32)
		if errUID == nil && errGID == nil && uid != 0 {
			return &childproc.Credential{UID: uint32(uid), GID: uint32(gid)}
		}
	}
	return &childproc.Credential{UID: 65534, GID: 65534} // a process needs no entry in /etc/passwd; initdb is given -U
}

// UnreachableError says that the user that Postgres runs as cannot get into a directory.
type UnreachableError struct {
	Dir string // the directory that stands in the way
	UID uint32
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("directory %s is closed to user id %d, which Postgres runs as because it refuses to run as root: choose a directory elsewhere, or chmod o+x %s",
		e.Dir, e.UID, e.Dir)
}

// reachable checks that the server's user can get into every directory above and including dir.
func reachable(dir string, runAs *childproc.Credential) error {
	if runAs == nil {
		return nil
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("find directory %s: %w", dir, err)
	}
	for at := dir; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil {
			return fmt.Errorf("look at directory %s: %w", at, err)
		}
		if !enterable(info, runAs) {
			return &UnreachableError{Dir: at, UID: runAs.UID}
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

func enterable(info fs.FileInfo, runAs *childproc.Credential) bool {
	uid, gid, ok := owner(info)
	mode := info.Mode().Perm()
	switch {
	case !ok:
		return true
	case uid == runAs.UID:
		return mode&0o100 != 0
	case gid == runAs.GID:
		return mode&0o010 != 0
	default:
		return mode&0o001 != 0
	}
}

// CacheDir makes and returns a directory of ours that lasts, and that the server's user can get into: in the user's cache directory, or
// as root in /var/cache, or in the directory for temporary files.
func CacheDir() (string, error) {
	runAs := serverUser()
	var tried error
	for _, dir := range cacheCandidates(runAs) {
		if err := makeCache(dir, runAs); err != nil {
			tried = errors.Join(tried, err)
			continue
		}
		return dir, nil
	}
	return "", fmt.Errorf("find a cache directory: %w", tried)
}

func cacheCandidates(runAs *childproc.Credential) (dirs []string) {
	if cache, err := os.UserCacheDir(); err == nil {
		dirs = append(dirs, filepath.Join(cache, "firstclick"))
	}
	if runAs != nil {
		dirs = append(dirs, "/var/cache/firstclick")
	}
	return append(dirs, filepath.Join(os.TempDir(), fmt.Sprintf("firstclick-%d", os.Geteuid())))
}

func makeCache(dir string, runAs *childproc.Credential) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make cache directory: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("look at cache directory: %w", err)
	}
	// In a directory that everybody writes to, somebody else may have made it: what lies in it would be run by us.
	if uid, _, ok := owner(info); !info.IsDir() || ok && uid != uint32(os.Geteuid()) {
		return fmt.Errorf("cache directory %s is not ours", dir)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("cache directory %s can be written by others", dir)
	}
	return reachable(dir, runAs)
}
