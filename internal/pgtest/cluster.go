package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"firstclick/internal/childproc"
)

const (
	superuser = "postgres"
	password  = "postgres"
)

// layout is part of the cached cluster's name: raise it when what initdb is told changes.
const layout = 1

// initialized returns the cached cluster of this version, made by initdb where it is missing.
func initialized(ctx context.Context, p programs, runAs *childproc.Credential) (string, error) {
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	uid := uint32(os.Geteuid())
	if runAs != nil {
		uid = runAs.UID
	}
	dir := filepath.Join(cache, fmt.Sprintf("cluster-%s-%d-%d", p.version, layout, uid))
	if _, err := os.Stat(filepath.Join(dir, "PG_VERSION")); err == nil {
		return dir, nil
	}
	temporary, err := os.MkdirTemp(cache, "initdb-")
	if err != nil {
		return "", fmt.Errorf("make a directory: %w", err)
	}
	err = initialize(ctx, p, temporary, runAs)
	if err == nil {
		// Several processes may do this at once: the first directory in place is as good as ours.
		if err = os.Rename(filepath.Join(temporary, "data"), dir); err != nil {
			if _, there := os.Stat(filepath.Join(dir, "PG_VERSION")); there == nil {
				err = nil
			}
		}
	}
	return dir, errors.Join(err, os.RemoveAll(temporary))
}

func initialize(ctx context.Context, p programs, dir string, runAs *childproc.Credential) error {
	passwordFile := filepath.Join(dir, "password")
	if err := os.WriteFile(passwordFile, []byte(password+"\n"), 0o600); err != nil {
		return fmt.Errorf("write a file: %w", err)
	}
	if err := giveAway(runAs, dir, passwordFile); err != nil {
		return err
	}
	command := exec.CommandContext(ctx, filepath.Join(p.dir, "initdb"), "-D", filepath.Join(dir, "data"), "-U", superuser, "--pwfile", passwordFile,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	command.Dir = dir
	runCommandAs(command, runAs)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("run initdb: %w: %s", err, tail(out, 2000))
	}
	return nil
}

// copyCluster copies a cluster that nobody has running.
func copyCluster(from, to string, runAs *childproc.Credential) error {
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if entry.IsDir() {
			err = os.Mkdir(target, info.Mode().Perm())
		} else {
			err = copyFile(path, target, info.Mode().Perm())
		}
		if err != nil {
			return err
		}
		return giveAway(runAs, target)
	})
	if err != nil {
		return fmt.Errorf("copy a new cluster: %w", err)
	}
	return nil
}

func copyFile(from, to string, mode fs.FileMode) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
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

// clusterMajor is the major version of the data in dir, 0 where there are none.
func clusterMajor(data string) (int, error) {
	text, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the version of the data: %w", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read the version of the data: %w", err)
	}
	return major, nil
}

func tail(text []byte, n int) []byte {
	if len(text) > n {
		return text[len(text)-n:]
	}
	return text
}
