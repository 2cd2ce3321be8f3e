package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// smallDisk is a file system in memory that holds the target table, and can be filled up.
type smallDisk struct{ dir string }

const smallDiskSize = "128m"

// putOnSmallDisk moves the target table to a small disk. Only root may mount one.
func (w *world) putOnSmallDisk(ctx context.Context) error {
	dir := filepath.Join(w.dir, "small")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "mount", "-t", "tmpfs", "-o", "size="+smallDiskSize, "tmpfs",
		dir).CombinedOutput(); err != nil {
		return fmt.Errorf("mount a small disk (only root may): %w: %s", err, out)
	}
	w.disk = &smallDisk{dir}
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(w.postgres.Dir, "data"))
	if err != nil {
		return err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		if err := os.Chown(data, int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	return w.db.Exec(ctx, `CREATE TABLESPACE small LOCATION '`+data+`'`,
		`ALTER TABLE commerce.attributed_checkouts SET TABLESPACE small`,
		`ALTER INDEX commerce.attributed_checkouts_pkey SET TABLESPACE small`)
}

func (d *smallDisk) ballast() string { return filepath.Join(d.dir, "ballast") }

// fill takes all the room that is left.
func (d *smallDisk) fill() error {
	file, err := os.Create(d.ballast())
	if err != nil {
		return err
	}
	defer file.Close()
	for size := 1 << 20; size >= 512; {
		_, err := file.Write(make([]byte, size))
		if errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			return err
		}
	}
	return nil
}

// remove unmounts it; Postgres must have ended.
func (d *smallDisk) remove() error {
	if out, err := exec.Command("umount", d.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("unmount the small disk: %w: %s", err, out)
	}
	return nil
}
