//go:build chaoshooks

package pipeline

import "os"

// In builds with the tag chaoshooks a rule can be left out, to show that internal/chaos notices.

func reasserts() bool { return os.Getenv("FIRSTCLICK_CHAOS") != "no-reassert" }

func releaseRule() bool { return os.Getenv("FIRSTCLICK_CHAOS") != "no-release-rule" }
