package doctor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// disk is a file system as df shows it, in bytes.
type disk struct{ free, total int64 }

// readSmall reads the beginning of a small file.
func readSmall(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, 4096))
}

// ours says whether the server's data directory is a directory of this machine: a path of that name may be there although the server runs
// in a container or behind a tunnel. The lock file in it holds, in its third line, when the server was started.
// https://www.postgresql.org/docs/current/storage-file-layout.html
func ours(s server, readFile func(string) ([]byte, error)) error {
	if s.Directory == "" || !s.Local {
		return errors.New("the server does not tell, and runs elsewhere or under another user")
	}
	content, err := readFile(filepath.Join(s.Directory, "postmaster.pid"))
	if err != nil {
		return errors.New("the data directory cannot be seen from here")
	}
	lines := bytes.Split(content, []byte("\n"))
	if len(lines) < 3 {
		return errors.New("the data directory cannot be told from another's")
	}
	started, err := strconv.ParseInt(string(bytes.TrimSpace(lines[2])), 10, 64)
	if d := s.Started.Sub(time.Unix(started, 0)); err != nil || d < -2*time.Second || d > 2*time.Second {
		return errors.New("the data directory of that name is another server's")
	}
	return nil
}

// size shows bytes as people say them.
func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, prefix := float64(n)/unit, 0
	for v >= unit && prefix < 5 {
		v, prefix = v/unit, prefix+1
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGTPE"[prefix])
}
