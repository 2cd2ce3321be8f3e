package pgserver

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
	return fmt.Sprintf("directory %s is closed to user id %d, which Postgres runs as because it refuses to run as "+
		"root: choose a directory elsewhere, or chmod o+x %s",
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
	}
	return mode&0o001 != 0
}

func giveAway(runAs *childproc.Credential, paths ...string) error {
	if runAs == nil {
		return nil
	}
	for _, path := range paths {
		if err := os.Lchown(path, int(runAs.UID), int(runAs.GID)); err != nil {
			return fmt.Errorf("give a file to user id %d: %w", runAs.UID, err)
		}
	}
	return nil
}

// TempDir makes a directory for a server's data: in the one that FIRSTCLICK_PGTEST_DIR names, which
// may be memory, else in one that the server's user can enter.
func TempDir() (string, error) {
	runAs := serverUser()
	var tried error
	for _, parent := range []string{os.Getenv("FIRSTCLICK_PGTEST_DIR"), os.TempDir(), "/tmp", "/var/tmp"} {
		if parent == "" {
			continue
		}
		dir, err := os.MkdirTemp(parent, "firstclick-pg-")
		if err == nil {
			if err = errors.Join(giveAway(runAs, dir), reachable(dir, runAs)); err == nil {
				return dir, nil
			}
			err = errors.Join(err, os.RemoveAll(dir))
		}
		tried = errors.Join(tried, err)
	}
	return "", fmt.Errorf("make a directory: %w", tried)
}

// cacheDir makes and returns a directory that lasts and that the server's user can enter: in the
// user's cache directory, as root in /var/cache, or in the directory for temporary files.
func cacheDir(runAs *childproc.Credential) (string, error) {
	candidates := []string{filepath.Join(os.TempDir(), fmt.Sprintf("firstclick-%d", os.Geteuid()))}
	if runAs != nil {
		candidates = append([]string{"/var/cache/firstclick"}, candidates...)
	}
	if cache, err := os.UserCacheDir(); err == nil {
		candidates = append([]string{filepath.Join(cache, "firstclick")}, candidates...)
	}
	var tried error
	for _, dir := range candidates {
		err := makeCache(dir, runAs)
		if err == nil {
			return dir, nil
		}
		tried = errors.Join(tried, err)
	}
	return "", fmt.Errorf("find a cache directory: %w", tried)
}

func makeCache(dir string, runAs *childproc.Credential) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	// Where everybody may write, another user may have made the directory, and this process would
	// run what lies in it.
	if uid, _, ok := owner(info); !info.IsDir() || ok && uid != uint32(os.Geteuid()) {
		return fmt.Errorf("cache directory %s belongs to another user", dir)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("cache directory %s can be written by others", dir)
	}
	return reachable(dir, runAs)
}
