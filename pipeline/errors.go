package pipeline

import "firstclick/pipeline/ending"

type (
	// ConfigError says that the configuration cannot be used.
	ConfigError = ending.ConfigError
	// GapError says that records are gone that firstclick has not read, or still needs.
	GapError = ending.GapError
)

// ErrFencedAgain ends a run whose shards other instances take over again and again.
var ErrFencedAgain = ending.ErrFencedAgain
