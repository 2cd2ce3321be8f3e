package cdc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// snapshot is a pg_snapshot: which transactions a query saw. Its xids have 64 bits (xid8: epoch and
// xid). They are of top-level transactions: a subtransaction becomes visible with its own.
// https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT-PARTS
type snapshot struct {
	xmin uint64   // all below have ended: visible, or aborted
	xmax uint64   // this and all above had not begun or not ended
	xip  []uint64 // ascending: in progress, within [xmin, xmax)
	lsn  uint64   // insert position read after the snapshot was taken: what it sees was written before
	// passed: the stream is past lsn, so nothing that it still brings is visible here.
	passed bool
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
	if x < s.xmin || x >= s.xmax {
		return x < s.xmin
	}
	_, running := slices.BinarySearch(s.xip, x)
	return !running
}

// seesStreamed is sees for a transaction that the stream brings now.
func (s *snapshot) seesStreamed(x uint64) bool { return !s.passed && s.sees(x) }

// pass records that the stream is past lsn, and frees what is not needed any more.
func (s *snapshot) pass() {
	s.passed = true
	s.xip = nil
}

// covers says whether s sees every transaction that e sees.
func (s *snapshot) covers(e *snapshot) bool {
	if slices.ContainsFunc(s.xip, e.sees) {
		return false
	}
	// s sees nothing from s.xmax on. e sees what it does not list there below e.xmax. So a range
	// that is longer than e's list holds a transaction that e sees.
	if s.xmax < e.xmax && e.xmax-s.xmax > uint64(len(e.xip)) {
		return false
	}
	for x := s.xmax; x < e.xmax; x++ {
		if e.sees(x) {
			return false
		}
	}
	return true
}

// fullXid extends the 32-bit xid of a pgoutput message by its epoch. Of the 64-bit xids with these
// low bits it is the one nearest to a known recent one: Postgres never lets two living xids lie
// 2^31 or more apart.
// https://www.postgresql.org/docs/current/routine-vacuuming.html#VACUUM-FOR-WRAPAROUND
func fullXid(near uint64, xid uint32) uint64 {
	return near + uint64(int64(int32(xid-uint32(near))))
}
