//go:build chaoshooks

package sink

import (
	"os"
	"strings"
)

// moveStatement is without its owner check where tools/chaos wants to see that it notices.
func moveStatement() string {
	if os.Getenv("FIRSTCLICK_CHAOS") != "no-owner-check" {
		return moveSQL
	}
	return strings.Replace(moveSQL, "owner = $4 AND commits = $5", "$4::uuid IS NOT NULL AND $5::bigint IS NOT NULL", 1)
}
