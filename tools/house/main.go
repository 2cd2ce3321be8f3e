package main

import (
	"errors"
	"fmt"
	"io"
	"os"
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
	if len(args) != 1 {
		return errors.New("usage: house widths < FILES, or house figures < FILES")
	}
	text, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	files := strings.Fields(string(text))
	switch args[0] {
	case "widths":
		for _, file := range files {
			if err := widths(file, out); err != nil {
				return err
			}
		}
		return nil
	case "figures":
		return figures(files, out)
	}
	return fmt.Errorf("house does not know %q", args[0])
}
