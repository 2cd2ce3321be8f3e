package cdc

import (
	"fmt"
)

// Publication is the name of the publication of commerce.users.
const Publication = "firstclick_users"

// Problem names what stands in the way of replication; the words are stable.
type Problem string

// What EnsurePublication, Check and the mirror find.
const (
	ProblemVersion     Problem = "version"     // the server is older than 13
	ProblemStandby     Problem = "standby"     // the server is a standby; publications need the primary
	ProblemWALLevel    Problem = "wal_level"   // wal_level is not logical
	ProblemReplication Problem = "replication" // the role may not replicate
	ProblemSlots       Problem = "slots"       // every replication slot is taken
	ProblemSenders     Problem = "senders"     // every WAL sender is taken
	ProblemTable       Problem = "table"       // no table commerce.users
	ProblemColumns     Problem = "columns"     // it lacks id or username, or id is no integer
	ProblemSelect      Problem = "select"      // the role may not read them
	ProblemIdentity    Problem = "identity"    // the table has no replica identity, or one that does not hold the id
	ProblemUnfollowed  Problem = "unfollowed"  // the stream would not bring all changes of names: they are read through
	ProblemPublication Problem = "publication" // the publication does not fit and the role may not mend it
)

// SetupError says what stands in the way of replication, and what mends it.
type SetupError struct {
	Problem Problem
	What    string // what is wrong
	Mend    string // the SQL or the setting that mends it
	Err     error  // what Postgres said, if it was asked; may be nil
}

func (e *SetupError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s (%v); to mend it: %s", e.What, e.Err, e.Mend)
	}
	return fmt.Sprintf("%s; to mend it: %s", e.What, e.Mend)
}

func (e *SetupError) Unwrap() error { return e.Err }
