package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"firstclick/tools/testbed"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "house:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	root, err := testbed.Root()
	if err != nil {
		return err
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	switch {
	case len(args) == 1 && args[0] == "widths":
		for names := bufio.NewScanner(in); names.Scan(); {
			if err := widths(names.Text(), out); err != nil {
				return err
			}
		}
		return nil
	case len(args) == 1 && args[0] == "figures":
		return figures(out)
	}
	return errors.New("usage: house widths < FILES, or house figures")
}

// sources lists the Go files that git tracks or would track.
func sources() ([]string, error) {
	out, err := exec.Command("git", "ls-files", "-co", "--exclude-standard", "--deduplicate", "*.go").Output()
	if err != nil {
		return nil, fmt.Errorf("list the Go files: %w", err)
	}
	return strings.Fields(string(out)), nil
}
