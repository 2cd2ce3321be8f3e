package pgserver

import (
	"context"
	"errors"
	"fmt"
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

// layout is part of the cached cluster's name: raise it when the arguments of initdb change.
const layout = 1

// initialized returns the cached cluster of this version, made by initdb where it is missing.
func initialized(ctx context.Context, p programs, runAs *childproc.Credential) (string, error) {
	cache, err := cacheDir(runAs)
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
		err = putInPlace(filepath.Join(temporary, "data"), dir, "PG_VERSION")
	}
	return dir, errors.Join(err, os.RemoveAll(temporary))
}

// putInPlace renames a directory, unless another process has put one in its place that holds the
// file.
func putInPlace(from, to, file string) error {
	err := os.Rename(from, to)
	if err != nil {
		if _, missing := os.Stat(filepath.Join(to, file)); missing == nil {
			return nil
		}
	}
	return err
}

func initialize(ctx context.Context, p programs, dir string, runAs *childproc.Credential) error {
	passwordFile := filepath.Join(dir, "password")
	if err := os.WriteFile(passwordFile, []byte(password+"\n"), 0o600); err != nil {
		return fmt.Errorf("write a file: %w", err)
	}
	if err := giveAway(runAs, dir, passwordFile); err != nil {
		return err
	}
	command := exec.CommandContext(ctx, filepath.Join(p.dir, "initdb"), "-D", filepath.Join(dir, "data"),
		"-U", superuser, "--pwfile", passwordFile, "--auth", "scram-sha-256", "--encoding", "UTF8",
		"--locale", "C", "--no-sync")
	command.Dir = dir
	runCommandAs(command, runAs)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("run initdb: %w: %s", err, tail(out))
	}
	return nil
}

// copyCluster copies a cluster that has no server, as the server's user.
func copyCluster(ctx context.Context, from, to string, runAs *childproc.Credential) error {
	command := exec.CommandContext(ctx, "cp", "-R", from, to)
	command.Dir = "/"
	runCommandAs(command, runAs)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("copy a new cluster: %w: %s", err, tail(out))
	}
	return nil
}

// clusterMajor is the major version of the data in dir, 0 where there are none.
func clusterMajor(data string) (int, error) {
	text, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	major := 0
	if err == nil {
		major, err = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	if err != nil {
		return 0, fmt.Errorf("read the version of the data: %w", err)
	}
	return major, nil
}
