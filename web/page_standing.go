package web

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"firstclick/pipeline"
)

// States of a standing, from good to bad.
const (
	stateOK       = "ok"
	stateStarting = "starting"
	stateBehind   = "behind"
	stateStuck    = "stuck"
)

// standing is how the job stands, for people.
type standing struct {
	State  string `json:"state"`
	Text   string `json:"text"`             // one sentence
	Detail string `json:"detail,omitempty"` // what the last try to write failed at, or what else there is to say
}

const (
	behindFrom = 2500 * time.Millisecond // samples are a second apart: less than this is no lag
	silentFrom = 3 * time.Second         // the loop tells how it stands every 50 ms
	deafFrom   = 3 * time.Second         // the ends are asked for at least every second
	delayOver  = 5                       // samples that had rows, of the last ones, whose median delay is told
	overLast   = 10                      // samples that progress is taken over
	causesOver = 60                      // samples that causes are taken over, at most
)

// judge says how the job stands by its statistics and the samples up to now, the newest last.
func judge(now time.Time, st *pipeline.Stats, samples []sample) standing {
	s := standing{Detail: st.Sink.LastError}
	silent := now.Sub(st.At)
	switch {
	case st.At.IsZero():
		return standing{State: stateStarting, Text: "Starting: waiting for Kafka and Postgres, then reading the stored offsets."}
	case silent >= silentFrom:
		s.State = stateStuck
		s.Text = fmt.Sprintf("Standing still for %s: %s.", span(silent), records(st.Backlog(), "waited when it was last heard of"))
		return s
	case !st.Ready:
		return standing{State: stateStarting, Text: "Starting: the group has not settled yet.", Detail: s.Detail}
	case !st.EndsAt.IsZero() && now.Sub(st.EndsAt) >= deafFrom:
		s.State = stateStuck
		s.Text = fmt.Sprintf("Kafka does not answer: for %s nobody knows where the topics end.", span(now.Sub(st.EndsAt)))
		return s
	case len(st.Shards) == 0 && slices.ContainsFunc(samples, func(s sample) bool { return s.Shards > 0 }):
		return standing{State: stateBehind, Text: "Joining the group again: the partitions of this instance were let go or lost a moment ago.", Detail: s.Detail}
	case len(st.Shards) == 0 && (st.Others.Owned == 0 || st.Others.Unowned > 0):
		return standing{State: stateStarting, Text: "Joining the group: no checkouts partition is in hand yet.", Detail: s.Detail}
	case len(st.Shards) == 0:
		return standing{State: stateOK, Text: "Standing by: other instances have all checkouts partitions; the clicks are held ready here."}
	}
	var last sample
	if n := len(samples); n > 0 {
		last = samples[n-1]
	}
	behind := time.Duration(last.Behind * float64(time.Second))
	if behind < behindFrom {
		if st.Sink.LastError != "" && last.Backlog > 0 { // green would be a lie, though it is not late yet
			s.State, s.Text = stateBehind, fmt.Sprintf("Postgres did not take the last rows: it is tried again; %s.", records(last.Backlog, "to go"))
			return s
		}
		s.State, s.Text = stateOK, upToDate(st, samples)
		if late := delayOf(samples); late >= float64(behindFrom.Milliseconds()) && last.Backlog > 0 { // what waited elsewhere, as in a Kafka that was away
			s.State, s.Text = stateBehind, fmt.Sprintf("Catching up: rows appear %s after the checkout; %s.", milliseconds(late), records(last.Backlog, "to go"))
		}
		if last.Backlog > 10_000 { // it was there before we looked, and nothing tells how old it is
			s.State, s.Text = stateBehind, fmt.Sprintf("Catching up: %s; %s.", records(last.Backlog, "to go"), outlook(samples))
		}
		return s
	}
	s.State = stateBehind
	s.Text = fmt.Sprintf("%s behind: %s; %s.", span(behind), strings.Join(causes(behind, samples), ", "), outlook(samples))
	return s
}

func upToDate(st *pipeline.Stats, samples []sample) string {
	if restoring(st) {
		return "Up to date: recent checkouts are being recalled, so that late clicks can still correct them."
	}
	delay := delayOf(samples)
	if delay < 0 {
		return "Up to date: nothing waits, and no checkout came in the last seconds."
	}
	return fmt.Sprintf("Up to date: rows appear %s after the checkout.", milliseconds(delay))
}

// delayOf is the median delay of the last samples that had rows, in milliseconds; negative: none had. Of a mean, a moment of catching up would
// be told of for long.
func delayOf(samples []sample) float64 {
	var delays []float64
	for i := len(samples) - 1; i >= max(len(samples)-overLast, 0) && len(delays) < delayOver; i-- {
		if samples[i].Delay >= 0 {
			delays = append(delays, samples[i].Delay)
		}
	}
	if len(delays) == 0 {
		return -1
	}
	slices.Sort(delays)
	return delays[(len(delays)-1)/2]
}

func restoring(st *pipeline.Stats) bool {
	return slices.ContainsFunc(st.Shards, func(s pipeline.ShardStats) bool { return s.Restoring })
}

// causes divides the time behind by what was waited for while it grew: a transaction under way is Postgres, but for the part in
// which it asks for names; the rest is Kafka, for records or for the clicks that must be read before a checkout may be joined.
func causes(behind time.Duration, samples []sample) []string {
	var postgres, users, kafka float64
	for i, n := len(samples)-1, 0; i >= 0 && n < causesOver; i, n = i-1, n+1 {
		s := &samples[i]
		if s.Behind == 0 && n > 0 {
			break
		}
		postgres += s.Committing - s.Naming
		users += s.Naming
		kafka += 1 - s.Committing
	}
	type cause struct {
		share float64
		text  string
	}
	list := []cause{{postgres, "Postgres"}, {kafka, "Kafka"}, {users, "users"}}
	slices.SortStableFunc(list, func(a, b cause) int { return cmp.Compare(b.share, a.share) })
	sum := postgres + users + kafka
	if sum <= 0 {
		return []string{"it is not known yet what for"}
	}
	var texts []string
	for _, c := range list {
		d := time.Duration(float64(behind) * c.share / sum)
		if len(texts) > 0 && d < time.Second {
			continue
		}
		text := span(d) + " " + c.text
		if len(texts) == 0 {
			text = span(d) + " waiting for " + c.text
		}
		texts = append(texts, text)
	}
	return texts
}

// outlook says when it will be caught up, by how the backlog went down lately.
func outlook(samples []sample) string {
	n := len(samples)
	from := max(n-1-overLast, 0)
	if n < 3 || samples[from].Backlog == 0 {
		return "too early to say when it is caught up"
	}
	was, is := &samples[from], &samples[n-1]
	rate := float64(was.Backlog-is.Backlog) / is.At.Sub(was.At).Seconds()
	switch {
	case is.Backlog == 0:
		return "caught up in a moment"
	case rate < 0.5:
		return records(is.Backlog, "to go") + ", not catching up so far"
	}
	left := time.Duration(float64(is.Backlog) / rate * float64(time.Second))
	return "caught up in about " + roughly(left)
}

func records(n int64, what string) string {
	if n == 1 {
		return "1 record " + what
	}
	return grouped(n) + " records " + what
}

func grouped(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// span is a time to the second, or coarser where it is long: two units at most.
func span(d time.Duration) string {
	s := int64(d.Round(time.Second) / time.Second)
	switch {
	case s < 120:
		return fmt.Sprintf("%d s", s)
	case s < 2*3600:
		if s%60 == 0 || s >= 600 {
			return fmt.Sprintf("%d min", (s+30)/60)
		}
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	case s < 48*3600:
		return fmt.Sprintf("%d h %d min", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%d days", s/86400)
}

// roughly is a time that nobody knows to the second.
func roughly(d time.Duration) string {
	switch s := d.Seconds(); {
	case s <= 5:
		return "5 s"
	case s < 55:
		return fmt.Sprintf("%d s", int64(math.Ceil(s/10))*10)
	case s < 90*60:
		return fmt.Sprintf("%d min", int64(math.Ceil(s/60)))
	case s < 48*3600:
		return fmt.Sprintf("%d h", int64(math.Round(s/3600)))
	}
	return fmt.Sprintf("%d days", int64(math.Round(d.Hours()/24)))
}

func milliseconds(ms float64) string {
	switch {
	case ms < 1:
		return "under 1 ms"
	case ms < 1000:
		return fmt.Sprintf("%.0f ms", ms)
	case ms < 10_000:
		return fmt.Sprintf("%.1f s", ms/1000)
	}
	return span(time.Duration(ms * float64(time.Millisecond)))
}
