package web

import (
	"cmp"
	"slices"
	"time"

	"firstclick/join"
	"firstclick/pipeline"
)

// picture is everything that moves each second.
type picture struct {
	At         int64                    `json:"at"` // milliseconds since the epoch
	Uptime     float64                  `json:"uptime_s"`
	Standing   standing                 `json:"standing"`
	Trouble    map[string]string        `json:"trouble"` // by part of the graph: what is wrong with it, in a few words
	Sample     history                  `json:"sample"`  // of one second
	Edges      map[string]edge          `json:"edges"`
	Clicks     map[int]clicksPart       `json:"clicks"`    // by partition; of very many, those with the greatest lag
	Checkouts  map[int32]checkoutsShard `json:"checkouts"` // likewise
	Held       heldNow                  `json:"held"`
	Window     windowNow                `json:"window"`
	Users      usersNow                 `json:"users"`
	Totals     totals                   `json:"totals"`
	Watermark  *int64                   `json:"watermark"` // microseconds
	Postgres   postgresNow              `json:"postgres"`
	Fenced     int64                    `json:"fenced"`
	OpenTxnRel int64                    `json:"open_txn_releases"`
}

// heldNow is what is in hand over all partitions, also those that are not listed.
type heldNow struct {
	Clicks  int `json:"clicks"` // partitions
	Shards  int `json:"shards"`
	Queued  int `json:"queued"`
	Recents int `json:"recents"`
}

// partsShown is how many partitions of a topic are told of: an event has its bound.
const partsShown = 100

// most returns the positions of the n members of a list of so many with the greatest lag, of equal ones the first.
func most(n, of int, lag func(i int) int64) []int {
	places := make([]int, of)
	for i := range places {
		places[i] = i
	}
	if of > n {
		slices.SortStableFunc(places, func(a, b int) int { return cmp.Compare(lag(b), lag(a)) })
		places = places[:n]
	}
	return places
}

// edge is what flows between two parts of the job. Pressure is 0 (free) to 1 (held back).
type edge struct {
	Rate     float64 `json:"rate"` // per second
	Lag      int64   `json:"lag"`  // records that wait before it
	Pressure float64 `json:"pressure"`
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

type windowNow struct {
	Clicks  int64  `json:"clicks"`
	Bytes   int64  `json:"bytes"`
	Buckets int64  `json:"buckets"`
	Oldest  *int64 `json:"oldest"`
}

type usersNow struct {
	Connected   bool    `json:"connected"`
	Entries     int     `json:"entries"`
	Capacity    int     `json:"capacity"`
	Hits        uint64  `json:"hits"`
	Misses      uint64  `json:"misses"`
	Queries     uint64  `json:"queries"`
	Evictions   uint64  `json:"evictions"`
	Refused     uint64  `json:"refused_fills"`
	Snapshots   uint64  `json:"snapshots"`
	Reconnects  uint64  `json:"reconnects"`
	Changes     uint64  `json:"changes"`
	LagBytes    uint64  `json:"lag_bytes"`
	LastMessage *int64  `json:"last_message"` // microseconds
	LastError   string  `json:"last_error,omitempty"`
	HitRate     float64 `json:"hit_rate"` // per second
}

type totals struct {
	Clicks       int64 `json:"clicks"`
	Checkouts    int64 `json:"checkouts"`
	Rows         int64 `json:"rows"`
	Attributed   int64 `json:"attributed"`
	Corrected    int64 `json:"corrected"`
	Duplicates   int64 `json:"duplicates"`
	Conflicts    int64 `json:"conflicts"`
	Refused      int64 `json:"refused"`
	DeadLetters  int64 `json:"dead_letters"`
	Late         int64 `json:"late"`
	Far          int64 `json:"far"` // of them, dated far ahead
	Unknown      int64 `json:"unknown"`
	Transactions int64 `json:"transactions"`
}

func totalsOf(st *pipeline.Stats) totals {
	r := &st.Result
	return totals{
		st.ClicksRead, st.CheckoutsRead, r.Fresh, r.Attributed, r.Corrected, r.Duplicates, r.Conflicts, r.Refused, r.DeadLetters, r.Late, st.FarClicks + st.FarCheckouts, r.Unknown, st.Transactions,
	}
}

type postgresNow struct {
	Retries   map[string]int64 `json:"retries"`
	LastError string           `json:"last_error,omitempty"`
}

// micros leaves out a time that is not known.
func micros(t int64) *int64 {
	if t == join.NoTime {
		return nil
	}
	return &t
}

func (p *Page) picture(now time.Time, st *pipeline.Stats, s *sample) *picture {
	pic := &picture{
		At: now.UnixMilli(), Uptime: now.Sub(st.Started).Seconds(), Standing: judge(now, st, p.feed.recent(causesOver)),
		Edges: edges(st, s), Clicks: map[int]clicksPart{}, Checkouts: map[int32]checkoutsShard{}, Held: heldNow{Clicks: len(st.Clicks), Shards: len(st.Shards)},
		Window:   windowNow{st.Window.Clicks, st.Window.Bytes, st.Window.Buckets, micros(st.Window.Oldest)},
		Users:    users(st, s),
		Postgres: postgresNow{st.Sink.Retries, clip(st.Sink.LastError)},
		Fenced:   st.Fenced, OpenTxnRel: st.OpenTxnReleases, Trouble: trouble(now, st),
	}
	if !st.At.IsZero() {
		pic.Watermark = micros(st.Watermark)
	}
	if st.Window.Clicks == 0 {
		pic.Window.Oldest = nil
	}
	pic.Sample.add(s)
	pic.Totals = totalsOf(st)
	pic.Standing.Detail = clip(pic.Standing.Detail)
	for _, i := range most(partsShown, len(st.Clicks), func(i int) int64 { return st.Clicks[i].End - st.Clicks[i].Next }) {
		c := &st.Clicks[i]
		pic.Clicks[i] = clicksPart{i, c.Next, max(c.End, c.Next), max(c.End-c.Next, 0), micros(c.MaxTime), c.Paused} // the end was asked for a moment ago
	}
	for i := range st.Shards {
		pic.Held.Queued += st.Shards[i].Queued
		pic.Held.Recents += st.Shards[i].Recents
	}
	for _, i := range most(partsShown, len(st.Shards), func(i int) int64 { return st.Shards[i].End - st.Shards[i].Committed }) {
		sh := &st.Shards[i]
		pic.Checkouts[sh.Partition] = checkoutsShard{
			Partition: sh.Partition, Next: sh.Next, End: max(sh.End, sh.Next), Committed: sh.Committed, Lag: max(sh.End-sh.Committed, 0),
			Behind: p.feed.behind(now, sh.Partition).Seconds(), Queued: sh.Queued, Recents: sh.Recents,
			MaxReleased: micros(sh.MaxReleased), FinalBefore: micros(sh.FinalBefore), Restoring: sh.Restoring, Paused: sh.Paused,
		}
	}
	return pic
}

// trouble names the parts of the graph that do not do their work. Empty: all do.
func trouble(now time.Time, st *pipeline.Stats) map[string]string {
	t := map[string]string{}
	if st.At.IsZero() {
		return t // it has not begun
	}
	if silent := now.Sub(st.At); silent >= silentFrom {
		t["join"] = "stands still for " + span(silent)
		return t // nobody knows of the others
	}
	if !st.EndsAt.IsZero() && now.Sub(st.EndsAt) >= deafFrom {
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

// behind is how long the oldest unwritten record of a shard has waited, where we saw it come.
func (f *feed) behind(now time.Time, partition int32) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.shards[partition]
	if w == nil || len(w.marks) == 0 || w.marks[0].at.IsZero() {
		return 0
	}
	return now.Sub(w.marks[0].at)
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
	if write.Lag > 0 { // busy with what there is is not held back
		write.Pressure = s.Committing
	}
	return map[string]edge{
		"clicks": clicks, "window": {Rate: s.Rows}, "checkouts": checkouts,
		"users": {Rate: s.Hits + s.Misses, Pressure: s.Naming}, "postgres": write,
	}
}

func users(st *pipeline.Stats, s *sample) usersNow {
	u := &st.Users
	now := usersNow{
		Connected: u.Connected, Entries: u.Entries, Capacity: u.Capacity, Hits: u.Hits, Misses: u.Misses, Queries: u.ReadThroughQueries,
		Evictions: u.Evictions, Refused: u.RefusedFills, Snapshots: u.Snapshots, Reconnects: u.Reconnects, Changes: u.AppliedChanges,
		LastError: clip(u.LastError), HitRate: s.Hits,
	}
	if u.ServerLSN > u.LastLSN {
		now.LagBytes = u.ServerLSN - u.LastLSN
	}
	if !u.LastMessageTime.IsZero() {
		t := u.LastMessageTime.UnixMicro()
		now.LastMessage = &t
	}
	return now
}
