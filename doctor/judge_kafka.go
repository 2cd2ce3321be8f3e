package doctor

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Judgements about Kafka.
const (
	ahead    = 5 * time.Minute // events further ahead of their record's time are dead letters
	drift    = time.Second     // a difference between clocks that is worth a warning
	tight    = 10              // per cent of a disk: less is worth a warning
	silent   = 30 * time.Second
	stalled  = time.Minute // a shard's positions are committed at least every 10 s
	forever  = time.Duration(math.MaxInt64)
	newGroup = "begin anew under another --group with --start earliest: rows that stand converge"
)

func (f *facts) tool(name, rest string) string {
	return name + " --bootstrap-server " + f.cfg.Kafka.Brokers[0] + " " + rest
}

func (f *facts) topicNames() []string { return []string{f.cfg.ClicksTopic, f.cfg.CheckoutsTopic} }

// topic is what the metadata says; ok is false where it does not exist.
func (f *facts) topic(name string) (t kadm.TopicDetail, ok bool) {
	t, ok = f.kafka.metadata.Topics[name]
	return t, ok && t.Err == nil && len(t.Partitions) > 0
}

// existing are the topics that are there.
func (f *facts) existing() []kadm.TopicDetail {
	var topics []kadm.TopicDetail
	for _, name := range f.topicNames() {
		if t, ok := f.topic(name); ok {
			topics = append(topics, t)
		}
	}
	return topics
}

func kafkaVersion(f *facts) []Finding {
	if unknown := f.unknown(askVersions); unknown != nil {
		return unknown
	}
	versions := slices.Compact(slices.Sorted(maps.Values(f.kafka.versions)))
	text := strings.Join(versions, ", ")
	for _, v := range versions {
		var major, minor int
		if _, err := fmt.Sscanf(strings.TrimPrefix(v, "at least "), "v%d.%d", &major, &minor); err == nil && (major < 2 || major == 2 && minor < 8) {
			return warn("upgrade Kafka to 2.8 or later", "%s: topics have no ids there, so that one that is deleted and made again is not noticed", text)
		}
	}
	return ok("%s by what %d of %d brokers can do", text, len(f.kafka.versions), len(f.kafka.metadata.Brokers))
}

// advertised looks at the addresses that the brokers give themselves: a name that only their own network knows is the commonest mistake.
func advertised(f *facts) []Finding {
	if unknown := f.unknown(askMetadata); unknown != nil {
		return unknown
	}
	var found []Finding
	for _, address := range slices.Sorted(maps.Keys(f.kafka.advertised)) {
		if err := f.kafka.advertised[address]; err != nil {
			found = append(found, fail("advertised.listeners of that broker must be an address that is reached from here",
				"a broker says that it is %s, which cannot be reached: %s", address, plainly(err))...)
		}
	}
	if found == nil {
		return ok("%d, all reached at the addresses that they give: %s", len(f.kafka.advertised), strings.Join(slices.Sorted(maps.Keys(f.kafka.advertised)), ", "))
	}
	return found
}

func topics(f *facts) []Finding {
	if unknown := f.unknown(askMetadata); unknown != nil {
		return unknown
	}
	var found []Finding
	for _, name := range f.topicNames() {
		t, there := f.topic(name)
		err := f.kafka.metadata.Topics[name].Err
		switch {
		case there:
			found = append(found, f.partitions(t)...)
		case errors.Is(err, kerr.TopicAuthorizationFailed):
			found = append(found, fail(f.allow("--operation Read --operation Describe --operation DescribeConfigs --topic "+name), "%s: this user may not see it", name)...)
		case err == nil || errors.Is(err, kerr.UnknownTopicOrPartition):
			found = append(found, warn(f.tool("kafka-topics.sh", "--create --topic "+name+" --partitions 3"), "%s does not exist: run waits until it does", name)...)
		default:
			found = append(found, warn("", "%s: %s", name, plainly(err))...)
		}
	}
	return found
}

func (f *facts) allow(rest string) string {
	user := f.cfg.Kafka.User
	if user == "" {
		user = "ANONYMOUS"
	}
	return f.tool("kafka-acls.sh", "--add --allow-principal User:"+user+" "+rest)
}

func (f *facts) partitions(t kadm.TopicDetail) []Finding {
	var down []string
	for _, p := range t.Partitions.Sorted() {
		if p.Leader < 0 || p.Err != nil {
			down = append(down, strconv.Itoa(int(p.Partition)))
		}
	}
	if down != nil {
		return fail("start the brokers that hold them", "%s: no leader for partitions %s", t.Topic, strings.Join(down, ", "))
	}
	if members := f.kafka.members.Ours; t.Topic == f.cfg.CheckoutsTopic && members > len(t.Partitions) {
		return warn(f.tool("kafka-topics.sh", fmt.Sprintf("--alter --topic %s --partitions %d", t.Topic, members)),
			"%s: %d partitions for %d instances, of which %d only stand by", t.Topic, len(t.Partitions), members, members-len(t.Partitions))
	}
	return ok("%s: %d partitions", t.Topic, len(t.Partitions))
}

func replicas(f *facts) []Finding {
	if unknown := f.unknown(askMetadata, askConfigs); unknown != nil {
		return unknown
	}
	var found []Finding
	brokers := len(f.kafka.metadata.Brokers)
	for _, t := range f.existing() {
		least, lagging := math.MaxInt, 0
		for _, p := range t.Partitions {
			least = min(least, len(p.Replicas))
			if len(p.ISR) < len(p.Replicas) {
				lagging++
			}
		}
		needed, err := strconv.Atoi(f.kafka.configs[t.Topic]["min.insync.replicas"])
		if err != nil {
			needed = 1
		}
		switch {
		case least == 1 && brokers > 1:
			found = append(found, warn("kafka-reassign-partitions.sh, to 3 replicas", "%s has one replica on a cluster of %d brokers: a broker lost is its records lost", t.Topic, brokers)...)
		case needed >= least && least > 1:
			found = append(found, warn(f.alter(t.Topic, fmt.Sprintf("min.insync.replicas=%d", least-1)), "%s: min.insync.replicas is %d of %d replicas: nothing can be produced while one broker is down", t.Topic, needed, least)...)
		case lagging > 0:
			found = append(found, warn("look at the brokers that are behind", "%s: %d of %d partitions have replicas that are not in sync", t.Topic, lagging, len(t.Partitions))...)
		case needed == 1 && least > 1:
			found = append(found, warn(f.alter(t.Topic, "min.insync.replicas=2"), "%s: min.insync.replicas is 1: a record that was acknowledged can be lost with one broker", t.Topic)...)
		default:
			found = append(found, ok("%s: %d replicas, min.insync.replicas %d", t.Topic, least, needed)...)
		}
	}
	return found
}

func (f *facts) alter(topic, setting string) string {
	return f.tool("kafka-configs.sh", "--alter --entity-type topics --entity-name "+topic+" --add-config "+setting)
}

// lag is how long the oldest checkout that Postgres does not have has been waiting.
func (f *facts) lag() time.Duration {
	lag := time.Duration(0)
	for _, at := range f.kafka.lagging {
		lag = max(lag, f.cfg.Now().Sub(at))
	}
	return lag
}

// retention compares how long records are kept with how long they are needed: the clicks of a window before the oldest checkout that
// waits or is not final. What is above that is how long firstclick may stand still.
func retention(f *facts) []Finding {
	if unknown := f.unknown(askConfigs); unknown != nil {
		return unknown
	}
	window, lateness, outOfOrder := f.meaning()
	lag := f.lag()
	need := window + lateness + outOfOrder + lag
	what := fmt.Sprintf("window, lateness and out-of-order take %s", shown(window+lateness+outOfOrder))
	if lag > 0 {
		what += fmt.Sprintf(", the lag %s", shown(lag))
	}
	var found []Finding
	for _, t := range f.existing() {
		settings := f.kafka.configs[t.Topic]
		kept, bytes := keeping(settings)
		span := f.span(t.Topic)
		switch {
		case strings.Contains(settings["cleanup.policy"], "compact"):
			found = append(found, fail(f.alter(t.Topic, "cleanup.policy=delete"), "%s is compacted: records disappear, and those without a key are refused", t.Topic)...)
		case kept < need:
			found = append(found, fail(f.alter(t.Topic, fmt.Sprintf("retention.ms=%d", (2*need+24*time.Hour).Milliseconds())),
				"%s keeps records for %s; %s", t.Topic, shown(kept), what)...)
		case bytes > 0 && span > 0 && span < need:
			found = append(found, warn(f.alter(t.Topic, "retention.bytes=-1"), "%s is also bounded by retention.bytes=%d a partition, and reaches back only %s; %s", t.Topic, bytes, shown(span), what)...)
		case bytes > 0 && span == 0 && f.reach(t.Topic, bytes) < need:
			found = append(found, warn(f.alter(t.Topic, "retention.bytes=-1"), "%s has lost nothing yet, but is bounded by retention.bytes=%d a partition%s; %s", t.Topic, bytes, f.atThisPace(t.Topic, bytes), what)...)
		case kept < 2*need:
			found = append(found, warn(f.alter(t.Topic, fmt.Sprintf("retention.ms=%d", (2*need+24*time.Hour).Milliseconds())),
				"%s keeps records for %s: after standing still for %s there is a gap; %s", t.Topic, shown(kept), shown(kept-need), what)...)
		case kept == forever && bytes > 0 && span == 0:
			found = append(found, ok("%s keeps %d bytes a partition (retention.bytes)%s; %s", t.Topic, bytes, f.atThisPace(t.Topic, bytes), what)...)
		case kept == forever && bytes > 0:
			found = append(found, ok("%s keeps %d bytes a partition (retention.bytes), and reaches back %s; %s", t.Topic, bytes, shown(span), what)...)
		case kept == forever:
			found = append(found, ok("%s keeps records for ever; %s", t.Topic, what)...)
		default:
			found = append(found, ok("%s keeps records for %s; %s", t.Topic, shown(kept), what)...)
		}
	}
	return found
}

// keeping is how long a topic keeps records, and how many bytes of a partition (-1: any).
func keeping(settings map[string]string) (kept time.Duration, bytes int64) {
	kept, bytes = forever, -1
	if ms, err := strconv.ParseInt(settings["retention.ms"], 10, 64); err == nil && ms >= 0 && ms < int64(forever/time.Millisecond) {
		kept = time.Duration(ms) * time.Millisecond
	}
	if n, err := strconv.ParseInt(settings["retention.bytes"], 10, 64); err == nil {
		bytes = n
	}
	return kept, bytes
}

// span is how far back the shortest partition reaches from which records have been deleted already; 0: none has lost any.
func (f *facts) span(topic string) time.Duration {
	span := time.Duration(0)
	for p, at := range f.kafka.oldest {
		if p.topic != topic || f.kafka.starts[p] == 0 {
			continue
		}
		if d := f.cfg.Now().Sub(at); span == 0 || d < span {
			span = d
		}
	}
	return span
}

// reach is how far back a topic will reach that has not met its bound in bytes yet, by the pace at which it grew so far; 0: not known.
func (f *facts) reach(topic string, bytes int64) time.Duration {
	reach := time.Duration(0)
	for _, d := range f.kafka.dirs {
		for p, held := range d.Topics[topic] {
			age := f.cfg.Now().Sub(f.kafka.oldest[place{topic, p}])
			if _, known := f.kafka.oldest[place{topic, p}]; !known || held.Size <= 0 || age <= 0 {
				continue
			}
			if will := float64(age) / float64(held.Size) * float64(bytes); reach == 0 || will < float64(reach) {
				reach = time.Duration(min(will, float64(forever)/2))
			}
		}
	}
	return reach
}

func (f *facts) atThisPace(topic string, bytes int64) string {
	if reach := f.reach(topic, bytes); reach > 0 {
		return ", which at the pace so far reach back " + shown(reach)
	}
	return ", and how far back these reach cannot be told yet"
}

func shown(d time.Duration) string {
	switch {
	case d == forever:
		return "ever"
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Minute:
		text := d.Round(time.Second).String()
		if strings.HasSuffix(text, "m0s") {
			text = strings.TrimSuffix(text, "0s")
		}
		if strings.HasSuffix(text, "h0m") {
			text = strings.TrimSuffix(text, "0m")
		}
		return text
	}
	return d.Round(time.Millisecond).String()
}

// recordTimes compares the clock here with the times that producers and brokers put on records.
func recordTimes(f *facts) []Finding {
	var found []Finding
	now := f.cfg.Now()
	for _, t := range f.existing() {
		var newest time.Time
		for p, at := range f.kafka.newest {
			if p.topic == t.Topic && at.After(newest) {
				newest = at
			}
		}
		early := newest.Sub(now)
		const fix = "chronyc tracking, here and on the producers' machines"
		switch {
		case newest.IsZero() && f.errs[askNewest] != nil:
			found = append(found, f.unreadable(t.Topic)...)
		case newest.IsZero():
			found = append(found, ok("%s is empty", t.Topic)...)
		case early > ahead:
			found = append(found, fail(fix, "%s: the newest record is from %s in the future", t.Topic, shown(early))...)
		case early > drift:
			found = append(found, warn(fix, "%s: the newest record is from %s in the future", t.Topic, shown(early))...)
		default:
			found = append(found, ok("%s: the newest record is %s old", t.Topic, shown(max(0, -early)))...)
		}
	}
	return found
}

func (f *facts) unreadable(topic string) []Finding {
	err := f.errs[askNewest]
	if errors.Is(err, kerr.TopicAuthorizationFailed) {
		return fail(f.allow("--operation Read --topic "+topic), "%s: this user may not read it", topic)
	}
	return warn("", "%s: its newest record could not be read: %s", topic, plainly(err))
}

func kafkaDisk(f *facts) []Finding {
	var found []Finding
	visible := 0
	for _, d := range f.kafka.dirs {
		if d.Err != nil || d.UsableBytes < 0 || d.TotalBytes <= 0 {
			continue
		}
		visible++
		if d.UsableBytes < d.TotalBytes/100*tight {
			found = append(found, warn("free or add disk, or shorten the retention of other topics", "broker %d has %s of %s free in %s", d.Broker, size(d.UsableBytes), size(d.TotalBytes), d.Dir)...)
		}
	}
	switch {
	case found != nil:
		return found
	case visible > 0:
		return ok("more than %d %% free in %d log directories", tight, visible)
	case errors.Is(f.errs[askDirs], kerr.UnknownTopicOrPartition): // it is asked by topic
		return warn("", "free disk is not visible before both topics are there")
	case f.errs[askDirs] != nil:
		return warn("", "free disk is not visible: %s", plainly(f.errs[askDirs]))
	}
	return warn("", "free disk is not visible: the brokers do not tell (Kafka 3.3 and later do)")
}
