package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// group describes the consumer group. One that never existed has no members.
func (k *kafka) group(ctx context.Context) (kadm.DescribedGroup, error) {
	groups, err := k.admin.DescribeGroups(ctx, k.cfg.Group)
	g := groups[k.cfg.Group]
	if err == nil && !errors.Is(g.Err, kerr.GroupIDNotFound) {
		err = g.Err
	}
	return g, err
}

func group(f *facts) (found findings) {
	if errors.Is(f.errs["group"], kerr.GroupAuthorizationFailed) {
		return found.fail(f.grantACL("--operation Read --operation Describe --group "+f.cfg.Group),
			"this user may not use group %s", f.cfg.Group)
	}
	if unknown := f.unknown("group", "stored group"); unknown != nil {
		return unknown
	}
	g := f.group
	behind := f.behind()
	switch {
	case len(g.Members) == 0 && f.stored.progress == nil:
		return found.ok("group %s has not begun", f.cfg.Group)
	case len(g.Members) == 0:
		return found.warn("firstclick run", "group %s: no instance runs; %s", f.cfg.Group, behind)
	case g.State == "PreparingRebalance" || g.State == "CompletingRebalance":
		return found.warn("wait a minute and look again; if it stays so, see the logs for who comes and goes",
			"group %s: %d members, rebalancing; %s", f.cfg.Group, len(g.Members), behind)
	}
	if found := f.unserved(); found != nil {
		return found
	}
	return found.ok("group %s: %d instances, %s; %s", f.cfg.Group, f.members.Ours, strings.ToLower(g.State), behind)
}

// unserved finds what keeps checkouts from this database although the group is stable.
func (f *facts) unserved() (found findings) {
	topic, members := f.cfg.CheckoutsTopic, f.members
	for _, m := range members.Foreign {
		who, _, _ := strings.Cut(m, ", ")
		found = found.failAbout(who, "give each database and each application a --group of its own",
			"group %s is not ours alone: %s", f.cfg.Group, m)
	}
	if found != nil {
		return found
	}
	if len(members.Unassigned) > 0 {
		found = found.failAbout("unassigned", "stop all members of the group, then start firstclick run",
			"no member of group %s has %s%v", f.cfg.Group, topic, members.Unassigned)
	}
	stored := map[int32]bool{}
	for _, s := range f.stored.shards {
		stored[s.Partition] = true
	}
	for _, p := range slices.Sorted(maps.Keys(f.metadata.Topics[topic].Partitions)) {
		if members.Stable && !stored[p] && !slices.Contains(members.Unassigned, p) {
			found = found.failAbout(fmt.Sprint("row of ", p), "see the log of the instance that has it",
				"%s[%d] has a member of the group, and no position in this database", topic, p)
		}
	}
	return found
}

// behind says how many checkouts Postgres does not have, and for how long the oldest has been
// waiting.
func (f *facts) behind() string {
	shards := f.stored.shards
	if len(shards) == 0 {
		return "lag unknown"
	}
	records := int64(0)
	for _, s := range shards {
		end, there := f.ends[topicPartition{f.cfg.CheckoutsTopic, s.Partition}]
		if !there {
			return "lag unknown"
		}
		records += max(0, end-s.Next)
	}
	text := fmt.Sprintf("%d checkouts behind", records)
	if lag := f.lag(); lag > 0 {
		text += ", the oldest waiting for " + shown(lag)
	} else if records > 0 {
		text += ", since when is not known: the oldest has no usable timestamp, or was written just now"
	}
	return text
}
