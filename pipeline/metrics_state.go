package pipeline

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"firstclick/join/event"
)

// definePartitions defines how far things are. Clicks count as read, checkouts as committed.
func (c *stateCollector) definePartitions() {
	// Of a partition of which nothing was read yet, only the lag in records is known.
	lag := func(name, help string, value func(Lag) float64, always bool) {
		c.partitioned(name, help, func(st *Stats, i int) (float64, bool) {
			lag, known := st.ClicksLag(i, time.Now())
			return value(lag), known || always && st.Clicks[i].End >= 0
		}, func(st *Stats, i int) (float64, bool) {
			lag, known := st.ShardLag(i, time.Now())
			return value(lag), known || always && st.Shards[i].End >= 0
		})
	}
	lag("lag_records", "Records up to the end of the partition that are not read (clicks) or not committed "+
		"(checkouts); 0 while idle.",
		func(l Lag) float64 { return float64(l.Records) }, true)
	lag("lag_record_time_seconds", "Seconds since the timestamp of the record where a partition stands; 0 at its "+
		"end.",
		func(l Lag) float64 { return l.Record.Seconds() }, false)
	lag("lag_event_time_seconds", "Seconds since the event time of the record where a partition stands; 0 at its "+
		"end.",
		func(l Lag) float64 { return l.Event.Seconds() }, false)
	offset := func(o int64) (float64, bool) { return float64(o), o >= 0 }
	c.partitioned("next_offset", "Offset of the next record to read (clicks) or to commit (checkouts).",
		func(st *Stats, i int) (float64, bool) { return offset(st.Clicks[i].Next) },
		func(st *Stats, i int) (float64, bool) { return offset(st.Shards[i].Committed) })
	c.partitioned("end_offset", "Offset at which the partition ends in Kafka, as asked for last.",
		func(st *Stats, i int) (float64, bool) { return offset(st.Clicks[i].End) },
		func(st *Stats, i int) (float64, bool) { return offset(st.Shards[i].End) })
	c.partitioned("paused", "1 while reading of the partition is paused: for the window's budget (clicks) or a "+
		"full queue (checkouts).",
		func(st *Stats, i int) (float64, bool) { return truth(st.Clicks[i].Paused) },
		func(st *Stats, i int) (float64, bool) { return truth(st.Shards[i].Paused) })
	c.partitioned("clicks_max_timestamp_seconds", "Event time that a clicks partition has been read up to, as "+
		"seconds since the epoch: of its newest clicks, but for those that are dated ahead of this machine's clock "+
		"or far from the others.",
		func(st *Stats, i int) (float64, bool) { return instant(st.Clicks[i].MaxTime) }, nil)
	c.partitioned("final_before_timestamp_seconds", "Event time before which the click columns of a shard's rows "+
		"do not move, as seconds since the epoch.",
		nil, func(st *Stats, i int) (float64, bool) { return instant(st.Shards[i].FinalBefore) })
	c.partitioned("release_queue_records", "Records of checkouts of a shard that wait for clicks or for their "+
		"transaction.",
		nil, func(st *Stats, i int) (float64, bool) { return float64(st.Shards[i].Queued), true })
	c.partitioned("recent_checkouts", "Checkouts of a shard that are not final: an earlier click would still "+
		"change them.",
		nil, func(st *Stats, i int) (float64, bool) { return float64(st.Shards[i].Open), true })
	c.partitioned("shard_owned", "1 for each checkouts partition that this instance owns.",
		nil, func(*Stats, int) (float64, bool) { return 1, true })
	c.partitioned("shard_restoring", "1 while recent checkouts of an earlier owner are still being read.",
		nil, func(st *Stats, i int) (float64, bool) { return truth(st.Shards[i].Restoring) })
}

// defineParts defines the state of the window, of Postgres, of the mirror of commerce.users and of
// the instances.
func (c *stateCollector) defineParts() {
	c.gauge("started_timestamp_seconds", "When this instance started, as seconds since the epoch.",
		func(st *Stats) (float64, bool) { return stamp(st.Started) })
	c.gauge("ends_age_seconds", "Seconds since Kafka last said where the topics end.",
		func(st *Stats) (float64, bool) { return age(st.EndsAt) })
	c.gauge("watermark_timestamp_seconds", "Event time that all clicks are read up to, out-of-order ones aside, as "+
		"seconds since the epoch.",
		func(st *Stats) (float64, bool) { return instant(st.Watermark) })
	c.gauge("window_clicks", "Clicks held in memory.",
		func(st *Stats) (float64, bool) { return float64(st.Window.Clicks), true })
	c.gauge("window_bytes", "Bytes that the click window has allocated.",
		func(st *Stats) (float64, bool) { return float64(st.Window.Bytes), true })
	c.gauge("window_budget_bytes", "Bytes above which reading of clicks pauses: half of --memory-limit.",
		func(st *Stats) (float64, bool) { return float64(st.WindowBudget), st.WindowBudget > 0 })
	c.gauge("window_buckets", "Buckets of event time that hold clicks.",
		func(st *Stats) (float64, bool) { return float64(st.Window.Buckets), true })
	c.gauge("window_oldest_timestamp_seconds", "No click held is older than this, as seconds since the epoch.",
		func(st *Stats) (float64, bool) { return instant(st.Window.Oldest) })
	c.define(prometheus.GaugeValue, "group_shards", "Checkouts partitions of the group by owner: this instance, "+
		"another one, none.", func(st *Stats, emit emit) {
		emit(float64(len(st.Shards)), true, "self")
		emit(float64(st.Others.Owned), true, "other")
		emit(float64(st.Others.Unowned), true, "none")
	}, "owner")
	c.define(prometheus.GaugeValue, "healthy", "1 for each check of /readyz that is as it should be.",
		func(_ *Stats, emit emit) {
			for _, check := range c.health() {
				v, known := truth(check.Err == nil)
				emit(v, known, check.Name)
			}
		}, "check")

	c.gauge("last_commit_timestamp_seconds", "When the last transaction ended, as seconds since the epoch.",
		func(st *Stats) (float64, bool) { return stamp(st.CommittedAt) })
	c.gauge("postgres_up", "1 while Postgres answers the look that is had every 10 seconds.",
		func(st *Stats) (float64, bool) { return truth(st.Server.OK) })
	probed := func(name, help string, value func(p *ServerProbe) float64) {
		c.gauge(name, help, func(st *Stats) (float64, bool) { return value(&st.Server), !st.Server.At.IsZero() })
	}
	probed("postgres_round_trip_seconds", "Seconds that the last look at Postgres took.",
		func(p *ServerProbe) float64 { return p.Took.Seconds() })
	probed("postgres_clock_offset_seconds", "Clock of Postgres minus ours, in seconds.",
		func(p *ServerProbe) float64 { return p.ClockOffset.Seconds() })
	probed("slot_retained_bytes", "Bytes of write-ahead log that Postgres keeps for our replication slot; 0 "+
		"without a slot.",
		func(p *ServerProbe) float64 { return float64(p.RetainedWAL) })

	c.gauge("users_entries", "Users held in memory.",
		func(st *Stats) (float64, bool) { return float64(st.Users.Entries), true })
	c.gauge("users_capacity", "Users held in memory at most: --users-cache.",
		func(st *Stats) (float64, bool) { return float64(st.Users.Capacity), true })
	c.gauge("users_connected", "1 while the replication stream stands; without it names are read from the table.",
		func(st *Stats) (float64, bool) { return truth(st.Users.Connected) })
	c.gauge("users_lag_bytes", "Bytes of write-ahead log from what is applied to the newest position of the server "+
		"that we know.",
		func(st *Stats) (float64, bool) {
			return float64(max(st.Users.ServerLSN, st.Users.LastLSN) - st.Users.LastLSN), true
		})
	c.gauge("users_age_seconds", "Seconds since the newest message of the replication stream; the server sends one "+
		"every 10 seconds.",
		func(st *Stats) (float64, bool) { return age(st.Users.LastMessageTime) })
	counter := func(name, help string, value func(st *Stats) uint64) {
		c.define(prometheus.CounterValue, name, help, func(st *Stats, emit emit) { emit(float64(value(st)), true) })
	}
	counter("users_hits_total", "Names answered from memory.", func(st *Stats) uint64 { return st.Users.Hits })
	counter("users_misses_total", "Names asked of Postgres.", func(st *Stats) uint64 { return st.Users.Misses })
	counter("users_read_through_queries_total", "Queries for names, at most one for each transaction.",
		func(st *Stats) uint64 { return st.Users.ReadThroughQueries })
	counter("users_read_through_rows_total", "Users that those queries found.",
		func(st *Stats) uint64 { return st.Users.ReadThroughRows })
	counter("users_evictions_total", "Users dropped from memory to make room.",
		func(st *Stats) uint64 { return st.Users.Evictions })
	counter("users_refused_fills_total", "Names read and used, but not kept, because they may be older than the "+
		"stream.", func(st *Stats) uint64 { return st.Users.RefusedFills })
	counter("users_snapshots_total", "Replication slots whose snapshot was taken over.",
		func(st *Stats) uint64 { return st.Users.Snapshots })
	counter("users_reconnects_total", "Replication streams lost, or never had, and tried again.",
		func(st *Stats) uint64 { return st.Users.Reconnects })
	counter("users_applied_transactions_total", "Transactions read from the replication stream.",
		func(st *Stats) uint64 { return st.Users.AppliedTransactions })
	counter("users_applied_changes_total", "Row changes of commerce.users read from the replication stream.",
		func(st *Stats) uint64 { return st.Users.AppliedChanges })
}

// instant is a time in microseconds since the epoch as Prometheus has it, in seconds.
func instant(t int64) (v float64, known bool) { return float64(t) / 1e6, t != event.NoTime }

func stamp(t time.Time) (v float64, known bool) { return float64(t.UnixMicro()) / 1e6, !t.IsZero() }

func age(t time.Time) (v float64, known bool) { return time.Since(t).Seconds(), !t.IsZero() }

func truth(b bool) (v float64, known bool) {
	if b {
		return 1, true
	}
	return 0, true
}
