package sink

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"firstclick/join"
)

// entry is a row in the order in which it is written.
type entry struct {
	prefix uint64 // the first eight bytes of the checkout_id, for quick comparing
	row    *Row
	batch  int32 // index into work.batches
	index  int32 // of the row in its batch
}

// work is what one Commit writes, put in order. The tries of a Commit share it and do not change it; between them it may become wary, and gets the
// names of the moment.
type work struct {
	batches []*Batch // by group, topic, partition: the lock order
	rows    []entry  // by checkout_id as bytes, then partition, then offset: the lock order
	repeats bool     // some rows have the same checkout_id
	dead    []deadLetter
	late    []late
	users   []int32 // of the rows, each once
	names   map[int32]string
	wary    bool          // Postgres refused something of what is written after the rows, or at COMMIT: the next try finds it
	raised  int           // tries that a function of the database ended
	edition string        // of commerce.users, which the names belong to; empty: of none
	asked   time.Time     // when the names were asked for
	patient time.Duration // names that are older when rows can be written are asked for again

	known mask  // rows that are thought to stand already, or to repeat another of these
	asks  bool  // Postgres is asked about the others
	turn  *turn // nil: it need not wait for others
}

// sifted says whether rows are known or asked for: the others go straight into the table.
func (w *work) sifted() bool { return w.turn != nil }

type deadLetter struct {
	*DeadLetter
	group string
}

type late struct {
	*Late
	group string
}

func newWork(batches []*Batch) (*work, error) {
	w := &work{batches: slices.Clone(batches)}
	slices.SortFunc(w.batches, func(a, b *Batch) int { return compareShards(a.Claim, b.Claim) })
	rows := 0
	for i, b := range w.batches {
		if i > 0 && compareShards(b.Claim, w.batches[i-1].Claim) == 0 {
			return nil, fmt.Errorf("commit: two batches of checkouts partition %d", b.Claim.Partition)
		}
		rows += len(b.Rows)
	}
	w.orderRows(rows)
	w.orderLetters()
	for _, e := range w.rows {
		if len(e.row.Own) < 4 {
			return nil, errors.New("commit: a row without its own columns")
		}
	}
	return w, nil
}

func compareShards(a, b *Claim) int {
	return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

// correction is one of a batch, or of a row that is written in the same transaction.
type correction struct {
	join.Correction
	batch int32 // index into work.batches
	row   *Row  // of the same transaction; nil: one that stood before
}

// corrections merges those of all batches and of duplicates, in order; of several for one checkout
// only the least that Postgres takes can have an effect. Left out are those of rejected rows, whose
// click is not one of the row that has their checkout_id.
func (w *work) corrections(out *outcome) []correction {
	type place struct {
		batch  int32
		offset int64
	}
	rejected := make(map[place]bool, len(out.rejected))
	for _, e := range out.rejected {
		rejected[place{e.batch, e.row.Offset}] = true
	}
	all := slices.Clone(out.corrected)
	for i, b := range w.batches {
		for _, c := range b.Corrections {
			if len(rejected) > 0 && rejected[place{int32(i), c.Offset}] {
				continue
			}
			all = append(all, correction{Correction: c, batch: int32(i)})
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

// leastPerCheckout compacts sorted corrections.
func leastPerCheckout(cs []correction) []correction {
	return slices.CompactFunc(cs, func(a, b correction) bool { return a.Checkout == b.Checkout })
}

// orderLetters collects dead letters and late events in the order of their keys.
func (w *work) orderLetters() {
	for _, b := range w.batches {
		for i := range b.Dead {
			w.dead = append(w.dead, deadLetter{&b.Dead[i], b.Claim.Group})
		}
		for i := range b.Late {
			w.late = append(w.late, late{&b.Late[i], b.Claim.Group})
		}
	}
	sortDead(w.dead)
	slices.SortFunc(w.late, compareLate)
	w.late = slices.CompactFunc(w.late, func(a, b late) bool { return compareLate(a, b) == 0 }) // several shards may note one click
}

func compareLate(a, b late) int {
	return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.Topic, b.Topic), bytes.Compare(a.TopicID[:], b.TopicID[:]),
		cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
}

func sortDead(dead []deadLetter) {
	slices.SortFunc(dead, func(a, b deadLetter) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.Topic, b.Topic), bytes.Compare(a.TopicID[:], b.TopicID[:]),
			cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
}

// place is where what is written stands in Kafka, for people.
func (w *work) place() string {
	const most = 4
	var places []string
	for i, b := range w.batches {
		if i == most {
			places = append(places, fmt.Sprintf("%d more", len(w.batches)-most))
			break
		}
		place := fmt.Sprintf("%s[%d] before offset %d", b.Claim.Topic, b.Claim.Partition, b.Position.NextOffset)
		if n := len(b.Rows); n > 0 {
			place = fmt.Sprintf("%s[%d] offsets %d to %d", b.Claim.Topic, b.Claim.Partition, b.Rows[0].Offset, b.Rows[n-1].Offset)
		}
		places = append(places, place)
	}
	return strings.Join(places, ", ")
}

// letter makes a dead letter of a row.
func (w *work) letter(e entry, reason join.Reason, detail string) deadLetter {
	b := w.batches[e.batch]
	return deadLetter{group: b.Claim.Group, DeadLetter: &DeadLetter{
		Topic: b.Claim.Topic, TopicID: b.TopicID, Partition: b.Claim.Partition, Offset: e.row.Offset,
		Reason: reason, Detail: detail, RecordTime: e.row.RecordTime,
	}}
}
