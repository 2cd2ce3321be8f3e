//go:build chaoshooks

package pipeline

import (
	"os"
	"time"
)

// In builds with the tag chaoshooks a rule can be left out, to show that tools/chaos notices.

func reasserts() bool { return os.Getenv("FIRSTCLICK_CHAOS") != "no-reassert" }

func releaseRule() bool { return os.Getenv("FIRSTCLICK_CHAOS") != "no-release-rule" }

// wall is wrong by what FIRSTCLICK_CHAOS_CLOCK says.
func wall() time.Time {
	wrong, err := time.ParseDuration(os.Getenv("FIRSTCLICK_CHAOS_CLOCK"))
	if err != nil {
		return time.Now()
	}
	return time.Now().Round(0).Add(wrong) // without the monotonic reading, as a clock that was set
}
