//go:build linux || darwin

package doctor

import "golang.org/x/sys/unix"

func diskOf(path string) (disk, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return disk{}, err
	}
	block := int64(s.Bsize) //nolint:unconvert // an int32 on other systems
	return disk{free: int64(s.Bavail) * block, total: int64(s.Blocks) * block}, nil
}
