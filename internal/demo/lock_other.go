//go:build !unix

package demo

import (
	"errors"
	"os"
)

func lockFile(*os.File) error { return errors.New("the demo needs Linux, macOS or another Unix") }

func interrupt(int) error { return errors.New("the demo needs Linux, macOS or another Unix") }
