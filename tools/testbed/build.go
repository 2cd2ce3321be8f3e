package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Root returns the top directory of the repository, searched from the working directory upwards.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "docker-compose.yml")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find the repository: no docker-compose.yml in this directory or above it")
		}
		dir = parent
	}
}

// Build compiles the product into binary; flags are for go build. It builds in the product's own
// module: the binary links the versions of that go.mod, not those of the tools.
func Build(ctx context.Context, binary string, flags ...string) error {
	root, err := Root()
	if err != nil {
		return err
	}
	if binary, err = filepath.Abs(binary); err != nil {
		return err
	}
	// -buildvcs=false: a working copy that git does not trust must build too.
	args := append([]string{"build", "-C", root, "-buildvcs=false", "-o", binary}, flags...)
	if out, err := exec.CommandContext(ctx, "go", append(args, ".")...).CombinedOutput(); err != nil {
		return fmt.Errorf("build firstclick: %w\n%s", err, out)
	}
	return nil
}

// TempDir makes a directory that other users can enter: as root, Postgres runs as another one.
func TempDir(pattern string) (string, error) {
	dir, err := os.MkdirTemp("", pattern)
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		return "", fmt.Errorf("make a directory: %w", err)
	}
	return dir, nil
}
