package sink

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"firstclick/join/event"
)

// commitSet is what one Commit writes, in the order in which locks are taken. The attempts of the
// Commit share it. Between them only the names change, and what the last attempt has learnt.
type commitSet struct {
	group   string
	batches []*Batch      // by topic, then partition
	rows    []rowRef      // by checkout_id as bytes, then partition, then offset
	fields  []byte        // of the rows, as they came: their memory is read in its order, which is fast
	repeats bool          // some rows have the same checkout_id
	dead    []*DeadLetter // in the order of their keys
	late    []*Late       // in the order of their keys

	users      []int32          // of the rows, each once
	names      map[int32]string // of these users
	namesOf    string           // the edition of commerce.users that the names come from; empty: none
	namesAt    time.Time        // when they were read
	namesLimit time.Duration    // names that are older when the rows can be written are read again

	// savepoints: Postgres refused something that is written after the rows, or at COMMIT. The next
	// attempt finds it with a savepoint for each piece.
	savepoints bool
	raised     int // attempts that failed because a function of the database raised an error

	likely mask    // rows that probably have a row already, or repeat another one of the set
	lookUp bool    // the attempt looks up which of the other rows exist
	ticket *ticket // nil: no row is likely to exist, and nothing is looked up
}

// rowRef is a row with its batch and its place in commitSet.rows.
type rowRef struct {
	*event.Released
	batch  *Batch
	prefix uint64 // the first eight bytes of the checkout_id: rows are compared by them first
	at     int32
	fields event.Span // in commitSet.fields: the checkout's own columns in COPY's form
}

func newCommitSet(batches []*Batch) (*commitSet, error) {
	set := &commitSet{group: batches[0].Claim.Group, batches: slices.Clone(batches), namesLimit: freshNames}
	slices.SortFunc(set.batches, func(a, b *Batch) int { return compareShards(a.Claim, b.Claim) })
	for i, b := range set.batches {
		if b.Claim.Group != set.group {
			return nil, fmt.Errorf("commit: batches of the groups %q and %q", set.group, b.Claim.Group)
		}
		if i > 0 && compareShards(b.Claim, set.batches[i-1].Claim) == 0 {
			return nil, fmt.Errorf("commit: two batches of checkouts partition %d", b.Claim.Partition)
		}
		for j := range b.Dead {
			set.dead = append(set.dead, &b.Dead[j])
		}
		for j := range b.Late {
			set.late = append(set.late, &b.Late[j])
		}
	}
	set.sortRows()
	sortLetters(set.dead)
	slices.SortFunc(set.late, compareLate)
	// Several shards may note the same click.
	set.late = slices.CompactFunc(set.late, func(a, b *Late) bool { return compareLate(a, b) == 0 })
	return set, nil
}

func compareShards(a, b *Claim) int {
	return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

func compareLate(a, b *Late) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), bytes.Compare(a.TopicID[:], b.TopicID[:]),
		cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
}

func sortLetters(dead []*DeadLetter) {
	slices.SortFunc(dead, func(a, b *DeadLetter) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), bytes.Compare(a.TopicID[:], b.TopicID[:]),
			cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
}

// sortRows merges the rows of all batches.
func (set *commitSet) sortRows() {
	n := 0
	for _, b := range set.batches {
		n += len(b.Rows)
	}
	set.rows, set.users = make([]rowRef, 0, n), make([]int32, 0, n)
	for _, b := range set.batches {
		for i := range b.Rows {
			r := rowRef{Released: &b.Rows[i], batch: b, at: int32(len(set.rows))}
			r.prefix = prefix(r.IDText())
			r.fields.From = uint32(len(set.fields))
			set.fields = appendFields(set.fields, r.Released)
			r.fields.To = uint32(len(set.fields))
			if len(set.rows) == 0 { // the others are about as long
				set.fields = slices.Grow(set.fields, n*(len(set.fields)+64))
			}
			set.rows, set.users = append(set.rows, r), append(set.users, r.User)
		}
	}
	slices.SortFunc(set.rows, func(a, b rowRef) int {
		switch {
		case a.prefix < b.prefix:
			return -1
		case a.prefix > b.prefix:
			return 1
		}
		if c := bytes.Compare(a.IDText(), b.IDText()); c != 0 {
			return c
		}
		if a.batch == b.batch {
			return cmp.Compare(a.Offset, b.Offset)
		}
		return cmp.Compare(a.at, b.at)
	})
	for i := range set.rows {
		set.rows[i].at = int32(i)
		set.repeats = set.repeats || i > 0 && sameID(set.rows[i-1], set.rows[i])
	}
	slices.Sort(set.users)
	set.users = slices.Compact(set.users)
}

// prefix is ordered as the bytes of id are. A shorter id is filled up with NUL, which no id holds.
func prefix(id []byte) uint64 {
	if len(id) >= 8 {
		return binary.BigEndian.Uint64(id)
	}
	var b [8]byte
	copy(b[:], id)
	return binary.BigEndian.Uint64(b[:])
}

func sameID(a, b rowRef) bool { return a.prefix == b.prefix && bytes.Equal(a.IDText(), b.IDText()) }

// offsets says for people where in Kafka the set comes from.
func (set *commitSet) offsets() string {
	const most = 4
	var places []string
	for i, b := range set.batches {
		if i == most {
			places = append(places, fmt.Sprintf("%d more", len(set.batches)-most))
			break
		}
		place := fmt.Sprintf("before offset %d", b.Position.NextOffset)
		if n := len(b.Rows); n > 0 {
			place = fmt.Sprintf("offsets %d to %d", b.Rows[0].Offset, b.Rows[n-1].Offset)
		}
		places = append(places, fmt.Sprintf("%s[%d] %s", b.Claim.Topic, b.Claim.Partition, place))
	}
	return strings.Join(places, ", ")
}

// commitResult is what became of a commitSet in one attempt.
type commitResult struct {
	Result
	staged     bool // some rows went through the temporary table
	unforeseen bool // a duplicate was found that was not likely to be one

	rejected   map[*event.Released]bool // these became dead letters
	letters    []*DeadLetter            // of rows: conflicts and refusals
	unnamed    []rowRef                 // rows without a name, fresh or found in the table
	asserted   []correction             // of rows in the table whose click is to be corrected: see assertClick
	refusals   []refusal
	newLetters int64 // dead letters that no other transaction is known to write
}

// refusal is a checkout of a batch whose first click was refused.
type refusal struct {
	batch *Batch
	event.Refusal
}

// correction is one of a batch, or of a row of the same transaction.
type correction struct {
	event.Correction
	batch *Batch
	row   *event.Released // of the same transaction; nil: the row is older
}

// corrections merges those of the batches and of rows, in lock order. Of several for one checkout
// only the least that Postgres takes has an effect. Corrections of rejected rows are left out: the
// row that has their checkout_id is of another checkout.
func (set *commitSet) corrections(result *commitResult) []correction {
	type record struct {
		batch  *Batch
		offset int64
	}
	rejected := make(map[record]bool, len(result.rejected))
	if len(result.rejected) > 0 {
		for _, r := range set.rows {
			if result.rejected[r.Released] {
				rejected[record{r.batch, r.Offset}] = true
			}
		}
	}
	all := slices.Clone(result.asserted)
	for _, b := range set.batches {
		for _, c := range b.Corrections {
			if !rejected[record{b, c.Offset}] {
				all = append(all, correction{Correction: c, batch: b})
			}
		}
	}
	slices.SortFunc(all, compareCorrections)
	return all
}

func compareCorrections(a, b correction) int {
	if c := a.Checkout.Compare(b.Checkout); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(a.ClickTime, b.ClickTime), a.Click.Compare(b.Click))
}
