//go:build !linux && !darwin

package doctor

import "errors"

func diskOf(string) (disk, error) { return disk{}, errors.ErrUnsupported }
