package cdc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// snapshot is a pg_snapshot: which transactions a query saw. Its xids have 64 bits (xid8: epoch and xid), top-level
// transactions only; a transaction's subtransactions become visible with it.
// https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT-PARTS
type snapshot struct {
	xmin uint64   // all below have ended: visible, or aborted
	xmax uint64   // this and all above had not begun or not ended
	xip  []uint64 // ascending: in progress, within [xmin, xmax)
	lsn  uint64   // insert position read after the snapshot was taken: what it sees was written before
	// settled: the stream has passed lsn, so that nothing it still brings is visible in this snapshot.
	settled bool
}

// parseSnapshot reads the text of a pg_snapshot, xmin:xmax:xip,xip...
func parseSnapshot(text string) (*snapshot, error) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return nil, fmt.Errorf("parse snapshot %.100q: not xmin:xmax:xip", text)
	}
	s := &snapshot{}
	var err error
	if s.xmin, err = strconv.ParseUint(parts[0], 10, 64); err != nil {
		return nil, fmt.Errorf("parse snapshot xmin: %w", err)
	}
	if s.xmax, err = strconv.ParseUint(parts[1], 10, 64); err != nil {
		return nil, fmt.Errorf("parse snapshot xmax: %w", err)
	}
	if s.xmin == 0 || s.xmin > s.xmax {
		return nil, fmt.Errorf("parse snapshot %.100q: xmin and xmax out of order", text)
	}
	if parts[2] == "" {
		return s, nil
	}
	for field := range strings.SplitSeq(parts[2], ",") {
		x, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("parse snapshot xip: %w", err)
		}
		if x < s.xmin || x >= s.xmax || len(s.xip) > 0 && x <= s.xip[len(s.xip)-1] {
			return nil, fmt.Errorf("parse snapshot %.100q: xip out of order", text)
		}
		s.xip = append(s.xip, x)
	}
	return s, nil
}

// sees says whether the committed transaction x is visible in the snapshot.
func (s *snapshot) sees(x uint64) bool {
	switch {
	case s.settled:
		return false // only transactions that the stream brings are asked about
	case x < s.xmin:
		return true
	case x >= s.xmax:
		return false
	}
	_, running := slices.BinarySearch(s.xip, x)
	return !running
}

// covers says whether s sees every transaction that e sees.
func (s *snapshot) covers(e *snapshot) bool {
	for _, x := range s.xip {
		if e.seesAt(x) {
			return false
		}
	}
	// What lies between s.xmax and e.xmax is unseen by s. It is seen by e unless e lists it, so a range longer than e's list
	// holds one that e sees.
	if s.xmax < e.xmax {
		if e.xmax-s.xmax > uint64(len(e.xip)) {
			return false
		}
		for x := s.xmax; x < e.xmax; x++ {
			if e.seesAt(x) {
				return false
			}
		}
	}
	return true
}

// seesAt is sees for any transaction, also one that the stream does not bring.
func (s *snapshot) seesAt(x uint64) bool {
	if x < s.xmin || x >= s.xmax {
		return x < s.xmin
	}
	_, running := slices.BinarySearch(s.xip, x)
	return !running
}

// settle frees what only transactions visible in the snapshot need.
func (s *snapshot) settle() {
	s.settled = true
	s.xip = nil
}

// fullXid extends the 32-bit xid of a pgoutput message by its epoch: the one of the 64-bit xids with these low bits that is
// nearest to a known recent one. Postgres never lets two living xids lie 2^31 or more apart.
// https://www.postgresql.org/docs/current/routine-vacuuming.html#VACUUM-FOR-WRAPAROUND
func fullXid(near uint64, xid uint32) uint64 {
	return near + uint64(int64(int32(xid-uint32(near))))
}
