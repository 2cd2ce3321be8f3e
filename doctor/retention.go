package doctor

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const forever = time.Duration(math.MaxInt64)

// retention compares how long records are kept with how long they are needed: the clicks of one
// window before the oldest checkout that waits or is not final. The difference is how long
// firstclick may stop.
func retention(f *facts) (found findings) {
	window, lateness, outOfOrder := f.needed()
	lag := f.lag()
	need := window + lateness + outOfOrder + lag
	reason := "window, lateness and out-of-order take " + shown(need-lag)
	if lag > 0 {
		reason += ", the lag " + shown(lag)
	}
	for _, t := range f.existingTopics() {
		found = append(found, f.topicRetention(t.Topic, need, reason)...)
	}
	return found
}

func (f *facts) topicRetention(topic string, need time.Duration, reason string) (found findings) {
	settings := f.configs[topic]
	kept, bytes := forever, int64(-1) // no bounds
	ms, err := strconv.ParseInt(settings["retention.ms"], 10, 64)
	if err == nil && ms >= 0 && ms < int64(forever/time.Millisecond) {
		kept = time.Duration(ms) * time.Millisecond
	}
	if n, err := strconv.ParseInt(settings["retention.bytes"], 10, 64); err == nil {
		bytes = n
	}
	longer := f.alterTopic(topic, fmt.Sprintf("retention.ms=%d", (2*need+24*time.Hour).Milliseconds()))
	unbounded := f.alterTopic(topic, "retention.bytes=-1")
	switch {
	case strings.Contains(settings["cleanup.policy"], "compact"):
		return found.fail(f.alterTopic(topic, "cleanup.policy=delete"),
			"%s is compacted: records disappear, and those without a key are refused", topic)
	case kept < need:
		return found.fail(longer, "%s keeps records for %s; %s", topic, shown(kept), reason)
	}
	span := f.span(topic)
	reach, forecast := time.Duration(0), ", and how far back these reach cannot be told yet"
	if bytes > 0 && span == 0 {
		if reach = f.reachOf(topic, bytes); reach > 0 {
			forecast = ", which at the pace so far reach back " + shown(reach)
		}
	}
	switch {
	case bytes > 0 && span > 0 && span < need:
		return found.warn(unbounded,
			"%s is also bounded by retention.bytes=%d a partition, and reaches back only %s; %s",
			topic, bytes, shown(span), reason)
	case bytes > 0 && span == 0 && reach < need:
		return found.warn(unbounded, "%s has lost nothing yet, but is bounded by retention.bytes=%d a partition%s; %s",
			topic, bytes, forecast, reason)
	case kept < 2*need:
		return found.warn(longer, "%s keeps records for %s: after a stop of %s there is a gap; %s",
			topic, shown(kept), shown(kept-need), reason)
	case kept == forever && bytes > 0 && span == 0:
		return found.ok("%s keeps %d bytes a partition (retention.bytes)%s; %s", topic, bytes, forecast, reason)
	case kept == forever && bytes > 0:
		return found.ok("%s keeps %d bytes a partition (retention.bytes), and reaches back %s; %s",
			topic, bytes, shown(span), reason)
	case kept == forever:
		return found.ok("%s keeps records for ever; %s", topic, reason)
	}
	return found.ok("%s keeps records for %s; %s", topic, shown(kept), reason)
}

// span is how far back the topic reaches: the least over the partitions that have lost records
// already. 0: none has.
func (f *facts) span(topic string) (span time.Duration) {
	for p, at := range f.oldest {
		if p.topic != topic || f.starts[p] == 0 {
			continue
		}
		if d := f.cfg.Now().Sub(at); span == 0 || d < span {
			span = d
		}
	}
	return span
}

// reachOf is how far back a topic that has lost nothing yet will reach at this size, if it goes on
// growing as it has so far. 0: not known.
func (f *facts) reachOf(topic string, bytes int64) (reach time.Duration) {
	for _, d := range f.dirs {
		for p, held := range d.Topics[topic] {
			oldest, known := f.oldest[topicPartition{topic, p}]
			age := f.cfg.Now().Sub(oldest)
			if !known || held.Size <= 0 || age <= 0 {
				continue
			}
			if will := float64(age) / float64(held.Size) * float64(bytes); reach == 0 || will < float64(reach) {
				reach = time.Duration(min(will, float64(forever)/2))
			}
		}
	}
	return reach
}

// lag is how long the oldest checkout that Postgres does not have has been waiting.
func (f *facts) lag() (lag time.Duration) {
	for _, at := range f.next {
		lag = max(lag, f.cfg.Now().Sub(at))
	}
	return lag
}

// shown writes a duration without needless zeros: 7d0h, 1h, 1h15m15s, 250ms.
func shown(d time.Duration) string {
	switch {
	case d == forever:
		return "ever"
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d < time.Minute:
		return d.Round(time.Millisecond).String()
	}
	text := d.Round(time.Second).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
