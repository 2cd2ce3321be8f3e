//go:build chaoshooks

package rules

import (
	"os"
	"time"
)

// Restore is false where chaos leaves it out.
func Restore() bool { return os.Getenv("FIRSTCLICK_CHAOS") != "no-reassert" }

// Barrier is false where chaos leaves it out.
func Barrier() bool { return os.Getenv("FIRSTCLICK_CHAOS") != "no-release-rule" }

// Wall is wrong by FIRSTCLICK_CHAOS_CLOCK.
func Wall() time.Time {
	wrong, err := time.ParseDuration(os.Getenv("FIRSTCLICK_CHAOS_CLOCK"))
	if err != nil {
		return time.Now()
	}
	return time.Now().Round(0).Add(wrong) // without the monotonic reading, like a clock that was set
}
