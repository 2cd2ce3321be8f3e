package web

import (
	"cmp"
	"slices"
	"time"

	"firstclick/join/event"
	"firstclick/pipeline"
)

// snapshot is the event "now": everything that moves each second. Times of events are microseconds
// since the epoch, null if unknown.
type snapshot struct {
	At         int64                    `json:"at"` // milliseconds since the epoch
	Uptime     float64                  `json:"uptime_s"`
	Status     status                   `json:"standing"`
	Trouble    map[string]string        `json:"trouble"` // what is wrong with a part of the graph
	Sample     map[string][]float64     `json:"sample"`  // the history of one second
	Edges      map[string]edge          `json:"edges"`
	Clicks     map[int]clicksPart       `json:"clicks"`    // by partition: those with the greatest lag
	Checkouts  map[int32]checkoutsShard `json:"checkouts"` // likewise
	Held       held                     `json:"held"`
	Window     windowView               `json:"window"`
	Users      map[string]any           `json:"users"`
	Totals     map[string]int64         `json:"totals"`
	Watermark  *int64                   `json:"watermark"`
	Postgres   postgresView             `json:"postgres"`
	Fenced     int64                    `json:"fenced"`
	OpenTxnRel int64                    `json:"open_txn_releases"`
}

// held counts over all partitions, also those that are not listed.
type held struct {
	Clicks  int `json:"clicks"` // partitions
	Shards  int `json:"shards"`
	Queued  int `json:"queued"`
	Recents int `json:"recents"`
}

// edge is the flow between two parts of the graph.
type edge struct {
	Rate     float64 `json:"rate"`     // per second
	Lag      int64   `json:"lag"`      // records that wait before it
	Pressure float64 `json:"pressure"` // 0 (free) to 1 (held back)
}

type clicksPart struct {
	Partition int    `json:"partition"`
	Next      int64  `json:"next"`
	End       int64  `json:"end"`
	Lag       int64  `json:"lag"`
	MaxTime   *int64 `json:"max_time"`
	Paused    bool   `json:"paused"`
}

type checkoutsShard struct {
	Partition   int32   `json:"partition"`
	Next        int64   `json:"next"`
	End         int64   `json:"end"`
	Committed   int64   `json:"committed"`
	Lag         int64   `json:"lag"`
	Behind      float64 `json:"behind_s"`
	Queued      int     `json:"queued"`
	Recents     int     `json:"recents"`
	MaxReleased *int64  `json:"max_released"`
	FinalBefore *int64  `json:"final_before"`
	Restoring   bool    `json:"restoring"`
	Paused      bool    `json:"paused"`
}

type windowView struct {
	Clicks  int64  `json:"clicks"`
	Bytes   int64  `json:"bytes"`
	Buckets int64  `json:"buckets"`
	Oldest  *int64 `json:"oldest"`
}

type postgresView struct {
	Retries   map[string]int64 `json:"retries"`
	LastError string           `json:"last_error,omitempty"`
}

// timeOrNull returns nil for a time that is not known.
func timeOrNull(t int64) *int64 {
	if t == event.NoTime {
		return nil
	}
	return &t
}

// publishNow publishes the snapshot of the last sample.
func (p *Page) publishNow() {
	if samples := p.feed.recent(statusSamples); len(samples) > 0 {
		st := p.cfg.Stats()
		p.hub.publish("now", p.snapshot(time.Now(), &st, samples))
	}
}

func (p *Page) snapshot(now time.Time, st *pipeline.Stats, samples []sample) *snapshot {
	last := samples[len(samples)-1]
	r := &st.Result
	snap := &snapshot{
		At: now.UnixMilli(), Uptime: now.Sub(st.Started).Seconds(),
		Status: statusOf(now, st, samples), Trouble: trouble(now, st),
		Sample: history(samples[len(samples)-1:]), Edges: edges(st, &last),
		Totals: map[string]int64{
			"clicks": st.ClicksRead, "checkouts": st.CheckoutsRead, "transactions": st.Transactions,
			"rows": r.Fresh, "attributed": r.Attributed, "corrected": r.Corrected, "unknown": r.Unknown,
			"duplicates": r.Duplicates, "conflicts": r.Conflicts, "refused": r.Refused, "dead_letters": r.DeadLetters,
			"late": r.Late, "far": st.FarClicks + st.FarCheckouts, // far: those of late that were dated far ahead
		},
		Clicks: map[int]clicksPart{}, Checkouts: map[int32]checkoutsShard{},
		Held:     held{Clicks: len(st.Clicks), Shards: len(st.Shards)},
		Window:   windowView{st.Window.Clicks, st.Window.Bytes, st.Window.Buckets, timeOrNull(st.Window.Oldest)},
		Users:    users(st, &last),
		Postgres: postgresView{st.Sink.Retries, clip(st.Sink.LastError)},
		Fenced:   st.Fenced, OpenTxnRel: st.OpenTxnReleases,
	}
	snap.Status.Detail = clip(snap.Status.Detail)
	if !st.At.IsZero() {
		snap.Watermark = timeOrNull(st.Watermark)
	}
	if st.Window.Clicks == 0 {
		snap.Window.Oldest = nil
	}
	for i := range st.Shards {
		snap.Held.Queued += st.Shards[i].Queued
		snap.Held.Recents += st.Shards[i].Open
	}
	for _, i := range greatest(len(st.Clicks), func(i int) int64 { return st.Clicks[i].End - st.Clicks[i].Next }) {
		c := &st.Clicks[i] // its end is older than next, and may be less
		snap.Clicks[i] = clicksPart{
			i, c.Next, max(c.End, c.Next), max(c.End-c.Next, 0), timeOrNull(c.MaxTime), c.Paused,
		}
	}
	for _, i := range greatest(len(st.Shards), func(i int) int64 { return st.Shards[i].End - st.Shards[i].Committed }) {
		sh := &st.Shards[i]
		lag, _ := st.ShardLag(i, now)
		snap.Checkouts[sh.Partition] = checkoutsShard{
			Partition: sh.Partition, Next: sh.Next, End: max(sh.End, sh.Next), Committed: sh.Committed,
			Lag: lag.Records, Behind: lag.Record.Seconds(),
			Queued: sh.Queued, Recents: sh.Open, Restoring: sh.Restoring, Paused: sh.Paused,
			MaxReleased: timeOrNull(sh.MaxReleased), FinalBefore: timeOrNull(sh.FinalBefore),
		}
	}
	return snap
}

// partsShown is how many partitions of a topic an event lists, to stay below [maxEvent].
const partsShown = 100

// greatest returns the positions of the partsShown elements with the greatest lag among n.
func greatest(n int, lag func(i int) int64) []int {
	places := make([]int, n)
	for i := range places {
		places[i] = i
	}
	if n > partsShown {
		slices.SortStableFunc(places, func(a, b int) int { return cmp.Compare(lag(b), lag(a)) })
		places = places[:partsShown]
	}
	return places
}

func edges(st *pipeline.Stats, s *sample) map[string]edge {
	var clicks, checkouts, write edge
	clicks.Rate, checkouts.Rate, write.Rate = s.Clicks, s.Checkouts, s.Rows+s.Corrected
	for i := range st.Clicks {
		c := &st.Clicks[i]
		clicks.Lag += max(c.End-c.Next, 0)
		if c.Paused {
			clicks.Pressure += 1 / float64(len(st.Clicks))
		}
	}
	if st.MaxHeld > 0 {
		checkouts.Pressure = min(float64(st.Held)/float64(st.MaxHeld), 1)
	}
	for i := range st.Shards {
		sh := &st.Shards[i]
		checkouts.Lag += max(sh.End-sh.Next, 0)
		write.Lag += max(sh.Next-sh.Committed, 0)
		if sh.Paused {
			checkouts.Pressure = 1
		}
	}
	if write.Lag > 0 { // without rows that wait a busy Postgres holds nothing back
		write.Pressure = s.Committing
	}
	return map[string]edge{
		"clicks": clicks, "window": {Rate: s.Rows}, "checkouts": checkouts,
		"users": {Rate: s.Hits + s.Misses, Pressure: s.Naming}, "postgres": write,
	}
}

func users(st *pipeline.Stats, s *sample) map[string]any {
	u := &st.Users
	view := map[string]any{
		"connected": u.Connected, "entries": u.Entries, "capacity": u.Capacity, "hits": u.Hits, "misses": u.Misses,
		"queries": u.ReadThroughQueries, "evictions": u.Evictions, "refused_fills": u.RefusedFills,
		"snapshots": u.Snapshots, "reconnects": u.Reconnects, "changes": u.AppliedChanges,
		"lag_bytes": u.ServerLSN - min(u.LastLSN, u.ServerLSN),
		"hit_rate":  s.Hits, // per second
	}
	if u.LastError != "" {
		view["last_error"] = clip(u.LastError)
	}
	if !u.LastMessageTime.IsZero() {
		view["last_message"] = u.LastMessageTime.UnixMicro()
	}
	return view
}
