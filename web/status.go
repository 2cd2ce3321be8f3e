package web

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"firstclick/internal/progress"
	"firstclick/pipeline"
)

// States of a status, from good to bad.
const (
	stateOK       = "ok"
	stateStarting = "starting"
	stateBehind   = "behind"
	stateStuck    = "stuck"
)

// status says in one sentence how the pipeline is.
type status struct {
	State  string `json:"state"`
	Text   string `json:"text"`
	Detail string `json:"detail,omitempty"` // the error of the last attempt to write
}

const (
	behindFrom    = 2500 * time.Millisecond // samples are a second apart: less than this is no lag
	silentAfter   = 3 * time.Second         // statistics are new every 50 ms, end offsets at least every second
	statusSamples = 60                      // over which causes of a lag are summed up, at most
	outlookOver   = 10                      // samples over which progress is measured
	delayOver     = 5                       // samples with rows whose median delay is shown, of the last outlookOver
	largeBacklog  = 10_000                  // records
)

// statusOf returns the status by the statistics and the last samples, the newest last.
func statusOf(now time.Time, st *pipeline.Stats, samples []sample) status {
	var last sample
	if n := len(samples); n > 0 {
		last = samples[n-1]
	}
	behind := time.Duration(last.Behind * float64(time.Second))
	delay := medianDelay(samples)
	say := func(state, format string, args ...any) status {
		return status{State: state, Text: fmt.Sprintf(format, args...), Detail: st.Sink.LastError}
	}
	switch {
	case st.At.IsZero():
		return say(stateStarting, "Starting: waiting for Kafka and Postgres, then reading the stored offsets.")
	case now.Sub(st.At) >= silentAfter:
		return say(stateStuck, "Standing still for %s: %s.", span(now.Sub(st.At)),
			records(st.Backlog(), "waited when it was last heard of"))
	case !st.Ready:
		return say(stateStarting, "Starting: the group has not settled yet.")
	case !st.EndsAt.IsZero() && now.Sub(st.EndsAt) >= silentAfter:
		return say(stateStuck, "Kafka does not answer: for %s nobody knows where the topics end.",
			span(now.Sub(st.EndsAt)))
	case len(st.Shards) == 0 && slices.ContainsFunc(samples, func(s sample) bool { return s.Shards > 0 }):
		return say(stateBehind, "Joining the group again: this instance gave up or lost its partitions a moment ago.")
	case len(st.Shards) == 0 && (st.Others.Owned == 0 || st.Others.Unowned > 0):
		return say(stateStarting, "Joining the group: no checkouts partition is assigned yet.")
	case len(st.Shards) == 0:
		return status{State: stateOK,
			Text: "Standing by: other instances have all checkouts partitions; the clicks are held ready here."}
	case behind >= behindFrom:
		return say(stateBehind, "%s behind: %s; %s.",
			span(behind), strings.Join(causes(behind, samples), ", "), outlook(samples))
	case st.Sink.LastError != "" && last.Backlog > 0: // not late yet
		return say(stateBehind, "Postgres did not take the last rows: it is tried again; %s.",
			records(last.Backlog, "to go"))
	case last.Backlog > largeBacklog: // it was there before the first sample: its age is not known
		return say(stateBehind, "Catching up: %s; %s.", records(last.Backlog, "to go"), outlook(samples))
	case delay >= float64(behindFrom.Milliseconds()) && last.Backlog > 0: // such as after an outage of Kafka
		return say(stateBehind, "Catching up: rows appear %s after the checkout; %s.",
			milliseconds(delay), records(last.Backlog, "to go"))
	case slices.ContainsFunc(st.Shards, func(s pipeline.ShardStats) bool { return s.Restoring }):
		return say(stateOK,
			"Up to date: open checkouts are being restored, so that late clicks can still correct them.")
	case delay < 0:
		return say(stateOK, "Up to date: nothing waits, and no checkout came in the last seconds.")
	}
	return say(stateOK, "Up to date: rows appear %s after the checkout.", milliseconds(delay))
}

// medianDelay is the median delay of the last samples that had rows, in milliseconds; negative:
// none had. A mean would show a moment of catching up for long.
func medianDelay(samples []sample) float64 {
	var delays []float64
	for i := len(samples) - 1; i >= max(len(samples)-outlookOver, 0) && len(delays) < delayOver; i-- {
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

// causes divides the lag by what the pipeline waited for while the lag grew. A transaction under
// way is a wait for Postgres, less its wait for names; the rest is a wait for Kafka: for records,
// or for the clicks that must be read before a checkout is released.
func causes(behind time.Duration, samples []sample) []string {
	var postgres, users, kafka float64
	for i, n := len(samples)-1, 0; i >= 0 && n < statusSamples; i, n = i-1, n+1 {
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
		return []string{"the cause is not known yet"}
	}
	var texts []string
	for i, c := range list {
		d := time.Duration(float64(behind) * c.share / sum)
		switch {
		case i == 0:
			texts = append(texts, span(d)+" waiting for "+c.text)
		case d >= time.Second:
			texts = append(texts, span(d)+" "+c.text)
		}
	}
	return texts
}

// outlook says when the pipeline will have caught up, by how the backlog went down lately.
func outlook(samples []sample) string {
	n := len(samples)
	from := max(n-1-outlookOver, 0)
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
	left := float64(is.Backlog) / rate // seconds
	switch about := "caught up in about "; {
	case left <= 5:
		return about + "5 s"
	case left < 55:
		return fmt.Sprintf("%s%d s", about, int64(math.Ceil(left/10))*10)
	case left < 90*60:
		return fmt.Sprintf("%s%d min", about, int64(math.Ceil(left/60)))
	case left < 48*3600:
		return fmt.Sprintf("%s%d h", about, int64(math.Round(left/3600)))
	default:
		return fmt.Sprintf("%s%d days", about, int64(math.Round(left/86400)))
	}
}

// trouble names the parts of the graph that do not work.
func trouble(now time.Time, st *pipeline.Stats) map[string]string {
	t := map[string]string{}
	if st.At.IsZero() {
		return t // it has not begun
	}
	if silent := now.Sub(st.At); silent >= silentAfter {
		t["join"] = "stands still for " + span(silent)
		return t // the state of the others is not known
	}
	if !st.EndsAt.IsZero() && now.Sub(st.EndsAt) >= silentAfter {
		t["clicks"], t["checkouts"] = "does not answer", "does not answer"
	}
	if st.Sink.LastError != "" {
		t["postgres"] = "does not take rows"
	}
	if st.Ready && len(st.Shards) > 0 && !st.Users.Connected { // a stand-by needs no stream
		t["users"] = "stream is down"
	}
	return t
}

func records(n int64, what string) string {
	if n == 1 {
		return "1 record " + what
	}
	return progress.Grouped(n) + " records " + what
}

// span shows a time to the second, or coarser if it is long: two units at most.
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
