package sink

import (
	"context"
)

// Rejected returns the offsets in [from, to) of a shard's checkouts that became dead letters because their row conflicts with one
// that stands or was refused: no click may be given to the row that has their checkout_id.
func (s *Sink) Rejected(ctx context.Context, c *Claim, topicID [16]byte, from, to int64) (map[int64]bool, error) {
	return nil, nil
}
