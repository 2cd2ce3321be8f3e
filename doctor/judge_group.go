package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// settings compares what the group was begun with with what a run would be given.
func settings(f *facts) []Finding {
	if unknown := f.unknown(askStored); unknown != nil {
		return unknown
	}
	p := f.postgres.stored.progress
	if p == nil {
		return ok("group %s has not begun: a first run stores what it is given", f.cfg.Group)
	}
	zone := "UTC"
	if f.cfg.Zone != nil {
		zone = f.cfg.Zone.String()
	}
	var found []Finding
	for _, s := range []struct {
		flag          string
		stored, given any
	}{
		{"--clicks-topic", p.ClicksTopic, f.cfg.ClicksTopic}, {"--checkouts-topic", p.CheckoutsTopic, f.cfg.CheckoutsTopic},
		{"--window", p.Window, f.cfg.Window}, {"--lateness", p.Lateness, f.cfg.Lateness}, {"--out-of-order", p.OutOfOrder, f.cfg.OutOfOrder},
		{"--max-future-skew", p.MaxSkew, cmp.Or(f.cfg.MaxSkew, p.MaxSkew)},
		{"--time-zone", p.Zone, zone},
	} {
		if s.stored != s.given {
			found = append(found, fail(fmt.Sprintf("%s %v, or another --group", s.flag, s.stored), "group %s was begun with %s %v, not %v: run refuses that", f.cfg.Group, s.flag, s.stored, s.given)...)
		}
	}
	if found == nil {
		return ok("as group %s was begun: window %s, lateness %s, out-of-order %s, %s", f.cfg.Group, shown(p.Window), shown(p.Lateness), shown(p.OutOfOrder), p.Zone)
	}
	return found
}

func instances(f *facts) []Finding {
	if unknown := f.unknown(askStored); unknown != nil {
		return unknown
	}
	var found []Finding
	alive := 0
	for _, i := range f.postgres.stored.instances {
		if i.Silent <= silent {
			alive++
			continue
		}
		found = append(found, warn(fmt.Sprintf("look at process %d on %s; if it is gone: DELETE FROM firstclick.instances WHERE instance = '%s'", i.PID, i.Host, strings.ReplaceAll(i.Name, "'", "''")),
			"%s on %s has been silent for %s", i.Name, i.Host, shown(i.Silent))...)
	}
	for _, s := range f.postgres.stored.shards {
		if alive > 0 && s.Silent > stalled {
			found = append(found, warn("look at the log of "+orNobody(s.Instance), "checkouts partition %d has committed nothing for %s, its owner is %s", s.Partition, shown(s.Silent), orNobody(s.Instance))...)
		}
	}
	if found == nil {
		return ok("%d running", alive)
	}
	return found
}

func orNobody(name string) string {
	if name == "" {
		return "nobody"
	}
	return name
}

func group(f *facts) []Finding {
	if err := f.errs[askGroup]; errors.Is(err, kerr.GroupAuthorizationFailed) {
		return fail(f.allow("--operation Read --operation Describe --group "+f.cfg.Group), "this user may not use group %s", f.cfg.Group)
	}
	if unknown := f.unknown(askGroup, askStored); unknown != nil {
		return unknown
	}
	g := f.kafka.group
	begun := f.postgres.stored.progress != nil
	lag, known := f.lagRecords()
	text := fmt.Sprintf("group %s", f.cfg.Group)
	behind := "lag unknown"
	if known {
		behind = fmt.Sprintf("%d checkouts behind", lag)
		if d := f.lag(); d > 0 {
			behind += ", the oldest waiting for " + shown(d)
		} else if lag > 0 {
			behind += ", since when is not known: the oldest has no timestamp that can be meant, or was written just now"
		}
	}
	switch {
	case len(g.Members) == 0 && !begun:
		return ok("%s has not begun", text)
	case len(g.Members) == 0:
		return warn("firstclick run", "%s: nobody runs; %s", text, behind)
	case g.State == "PreparingRebalance" || g.State == "CompletingRebalance":
		return warn("wait a minute and look again; if it stays so, see the logs for who comes and goes", "%s: %d members, rebalancing; %s", text, len(g.Members), behind)
	}
	if found := f.strangers(); found != nil {
		return found
	}
	return ok("%s: %d instances, %s; %s", text, f.kafka.members.Ours, strings.ToLower(g.State), behind)
}

// strangers is what keeps checkouts from this database although the group is settled.
func (f *facts) strangers() (found []Finding) {
	const own = "give each database and each application a --group of its own"
	for _, s := range f.kafka.members.Strangers {
		who, _, _ := strings.Cut(s, ", ")
		found = append(found, about(who, fail(own, "group %s is not ours alone: %s", f.cfg.Group, s))...)
	}
	if found != nil {
		return found
	}
	if left := f.kafka.members.Left; len(left) > 0 {
		found = append(found, about("left", fail("stop all members of the group, then start firstclick run", "no member of group %s has %s%v", f.cfg.Group, f.cfg.CheckoutsTopic, left))...)
	}
	stored := map[int32]bool{}
	for _, s := range f.postgres.stored.shards {
		stored[s.Partition] = true
	}
	for _, p := range slices.Sorted(maps.Keys(f.kafka.metadata.Topics[f.cfg.CheckoutsTopic].Partitions)) {
		if !stored[p] && f.kafka.members.Settled && !slices.Contains(f.kafka.members.Left, p) {
			found = append(found, about(fmt.Sprint("row of ", p), fail("see the log of the instance that has it", "%s[%d] has a member of the group, and no position in this database", f.cfg.CheckoutsTopic, p))...)
		}
	}
	return found
}

// lagRecords counts the checkouts that Postgres does not have yet.
func (f *facts) lagRecords() (lag int64, known bool) {
	for _, s := range f.postgres.stored.shards {
		end, there := f.kafka.ends[place{f.cfg.CheckoutsTopic, s.Partition}]
		if !there {
			return 0, false
		}
		lag += max(0, end-s.Next)
	}
	return lag, len(f.postgres.stored.shards) > 0
}

// offsets compares the positions in Postgres with the topics as they are: what a run would call a gap.
func offsets(f *facts) []Finding {
	if unknown := f.unknown(askStored, askMetadata, askStarts, askEnds); unknown != nil {
		return unknown
	}
	stored := f.postgres.stored
	if stored.progress == nil {
		return ok("none stored yet")
	}
	var found []Finding
	for _, t := range []struct {
		name string
		id   [16]byte
	}{{stored.progress.ClicksTopic, stored.progress.ClicksTopicID}, {stored.progress.CheckoutsTopic, stored.progress.CheckoutsTopicID}} {
		now, there := f.topic(t.name)
		switch {
		case !there && slices.Contains(f.topicNames(), t.name):
			found = append(found, about(t.name, fail("restore topic "+t.name+", or "+newGroup, "topic %s is gone, and positions in it are stored", t.name))...)
		case there && t.id != [16]byte{} && now.ID != [16]byte{} && [16]byte(now.ID) != t.id:
			found = append(found, about(t.name, fail(newGroup, "topic %s was deleted and made again: the stored offsets mean other records now", t.name))...)
		}
	}
	if found != nil {
		return found
	}
	for _, s := range stored.shards {
		found = append(found, f.within(f.cfg.CheckoutsTopic, s.Partition, s.Next, s.Next)...)
	}
	for p := range f.clicksPartitions() {
		least, greatest := f.clicksNext(p)
		found = append(found, f.within(f.cfg.ClicksTopic, p, least, greatest)...)
	}
	if found == nil {
		return ok("%d shards, all within their topics", len(stored.shards))
	}
	return found
}

func (f *facts) clicksPartitions() map[int32]bool {
	partitions := map[int32]bool{}
	for p := range f.kafka.ends {
		if p.topic == f.cfg.ClicksTopic {
			partitions[p.partition] = true
		}
	}
	return partitions
}

// clicksNext is where reading of a clicks partition stands: the least and the greatest over the shards. A shard that no instance had yet
// begins where the group does; a partition that appeared later begins at 0.
func (f *facts) clicksNext(partition int32) (least, greatest int64) {
	first := int64(0)
	if starts := f.postgres.stored.progress.ClicksStart; int(partition) < len(starts) {
		first = starts[partition]
	}
	if len(f.postgres.stored.shards) < len(f.postgres.stored.progress.CheckoutsStart) {
		return first, first
	}
	least, greatest = math.MaxInt64, first
	for _, s := range f.postgres.stored.shards {
		next := first
		if int(partition) < len(s.ClicksNext) {
			next = s.ClicksNext[partition]
		}
		least, greatest = min(least, next), max(greatest, next)
	}
	return min(least, greatest), greatest
}

func (f *facts) within(topic string, partition int32, least, greatest int64) []Finding {
	start, end := f.kafka.starts[place{topic, partition}], f.kafka.ends[place{topic, partition}]
	what := fmt.Sprintf("%s[%d]", topic, partition)
	switch _, there := f.kafka.ends[place{topic, partition}]; {
	case !there:
		return about(what+" gone", fail(newGroup, "%s is gone, and position %d in it is stored", what, greatest))
	case least < start:
		return about(what+" begins", fail("restore the records, or "+newGroup, "%s: offsets %d to %d were never read and are gone", what, least, start-1))
	case greatest > end:
		return about(what+" ends", fail(newGroup, "%s ends at %d, and position %d is stored: the log was truncated", what, end, greatest))
	}
	return nil
}
