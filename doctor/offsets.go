package doctor

import (
	"fmt"
	"math"
	"slices"
)

const newGroup = "begin anew under another --group with --start earliest: " +
	"rows in the table are kept, and not written twice"

// offsets compares the positions in Postgres with the topics as they are. It finds what a run would
// call a gap.
func offsets(f *facts) (found findings) {
	p := f.stored.progress
	if p == nil {
		return found.ok("none stored yet")
	}
	for _, t := range []struct {
		name string
		id   [16]byte
	}{{p.ClicksTopic, p.ClicksTopicID}, {p.CheckoutsTopic, p.CheckoutsTopicID}} {
		now, there := f.topic(t.name)
		switch {
		case !there && slices.Contains(f.cfg.topics(), t.name):
			found = found.failAbout(t.name, "restore topic "+t.name+", or "+newGroup,
				"topic %s is gone, and positions in it are stored", t.name)
		case there && t.id != [16]byte{} && now.ID != [16]byte{} && [16]byte(now.ID) != t.id:
			found = found.failAbout(t.name, newGroup,
				"topic %s was deleted and made again: the stored offsets mean other records now", t.name)
		}
	}
	if found != nil {
		return found
	}
	shards := f.stored.shards
	for _, s := range shards {
		found = append(found, f.within(topicPartition{f.cfg.CheckoutsTopic, s.Partition}, s.Next, s.Next)...)
	}
	for p := range f.ends {
		if p.topic == f.cfg.ClicksTopic {
			least, greatest := f.clicksNext(p.partition)
			found = append(found, f.within(p, least, greatest)...)
		}
	}
	return found.orOK("%d shards, all within their topics", len(shards))
}

// clicksNext returns the least and the greatest position of the shards in a clicks partition. A
// shard that no instance has owned yet begins where the group does. A partition that appeared later
// begins at 0.
func (f *facts) clicksNext(partition int32) (least, greatest int64) {
	p, shards := f.stored.progress, f.stored.shards
	first := int64(0)
	if int(partition) < len(p.ClicksStart) {
		first = p.ClicksStart[partition]
	}
	if len(shards) < len(p.CheckoutsStart) {
		return first, first
	}
	least, greatest = math.MaxInt64, first
	for _, s := range shards {
		next := first
		if int(partition) < len(s.ClicksNext) {
			next = s.ClicksNext[partition]
		}
		least, greatest = min(least, next), max(greatest, next)
	}
	return min(least, greatest), greatest
}

// within finds what is wrong if stored positions from least to greatest are not within the log.
func (f *facts) within(p topicPartition, least, greatest int64) (found findings) {
	start, end := f.starts[p], f.ends[p]
	what := fmt.Sprintf("%s[%d]", p.topic, p.partition)
	switch _, there := f.ends[p]; {
	case !there:
		return found.failAbout(what+" gone", newGroup, "%s is gone, and position %d in it is stored", what, greatest)
	case least < start:
		return found.failAbout(what+" begins", "restore the records, or "+newGroup,
			"%s: offsets %d to %d were never read and are gone", what, least, start-1)
	case greatest > end:
		return found.failAbout(what+" ends", newGroup,
			"%s ends at %d, and position %d is stored: the log was truncated", what, end, greatest)
	}
	return nil
}
