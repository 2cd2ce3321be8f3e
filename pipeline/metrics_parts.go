package pipeline

import (
	"time"

	"firstclick/join"
	"firstclick/pipeline/sink"
)

func describeWindow(gauge define) {
	gauge("ends_age_seconds", "Seconds since Kafka last said where the topics end.", func(l *look, emit emit) {
		if !l.EndsAt.IsZero() {
			emit(time.Since(l.EndsAt).Seconds())
		}
	})
	gauge("watermark_timestamp_seconds", "Event time that all clicks are read up to, out-of-order ones aside, as seconds since the epoch.",
		func(l *look, emit emit) { instant(l.Watermark, emit) })
	gauge("window_clicks", "Clicks held in memory.", plain(func(l *look) int64 { return l.Window.Clicks }))
	gauge("window_bytes", "Bytes that the click window has allocated.", plain(func(l *look) int64 { return l.Window.Bytes }))
	gauge("window_budget_bytes", "Bytes above which reading of clicks pauses: half of --memory-limit.", func(l *look, emit emit) {
		if l.WindowBudget > 0 {
			emit(float64(l.WindowBudget))
		}
	})
	gauge("window_buckets", "Buckets of event time that hold clicks.", plain(func(l *look) int64 { return l.Window.Buckets }))
	gauge("window_oldest_timestamp_seconds", "No click held is older than this, as seconds since the epoch.",
		func(l *look, emit emit) { instant(l.Window.Oldest, emit) })
}

func describePostgres(gauge, counter define) {
	counter("dead_letter_payloads_left_out", "Payloads of bad records that were not kept, by reason: past --dead-letter-payloads in an hour only place, size and hash are.",
		func(l *look, emit emit) {
			for _, reason := range join.Reasons() {
				emit(float64(l.Sink.LeftOut[reason]), string(reason))
			}
		}, "reason")
	counter("transactions", "Transactions that landed in Postgres.", plain(func(l *look) int64 { return l.Transactions }))
	counter("transactions_by_path", "Transactions with rows, by the way they took: straight into the table, or by a temporary one because of duplicates.",
		func(l *look, emit emit) {
			emit(float64(l.Sink.Direct), "direct")
			emit(float64(l.Sink.Staged), "staged")
		}, "path")
	counter("postgres_retries", "Transactions and look-ups that failed and were tried again, by cause.", func(l *look, emit emit) {
		for _, cause := range sink.Causes() {
			emit(float64(l.Sink.Retries[cause]), cause)
		}
	}, "cause")
	gauge("last_commit_timestamp_seconds", "When the last transaction ended, as seconds since the epoch.", func(l *look, emit emit) {
		if !l.CommittedAt.IsZero() {
			emit(float64(l.CommittedAt.UnixMicro()) / 1e6)
		}
	})
	gauge("postgres_up", "1 while Postgres answers the look that is had every 10 seconds.", func(l *look, emit emit) { emit(truth(l.Server.OK)) })
	probed := func(name, help string, value func(l *look) float64) {
		gauge(name, help, func(l *look, emit emit) {
			if !l.Server.At.IsZero() { // Postgres has been looked at
				emit(value(l))
			}
		})
	}
	probed("postgres_round_trip_seconds", "Seconds that the last look at Postgres took.", func(l *look) float64 { return l.Server.Took.Seconds() })
	probed("postgres_clock_offset_seconds", "Clock of Postgres minus ours, in seconds.", func(l *look) float64 { return l.Server.ClockOffset.Seconds() })
	probed("slot_retained_bytes", "Bytes of write-ahead log that Postgres keeps for our replication slot; 0 without a slot.",
		func(l *look) float64 { return float64(l.Server.RetainedWAL) })
}

// describeUsers defines what the mirror of commerce.users counts.
func describeUsers(gauge, counter define) {
	gauge("users_entries", "Users held in memory.", plain(func(l *look) int { return l.Users.Entries }))
	gauge("users_capacity", "Users held in memory at most: --users-cache.", plain(func(l *look) int { return l.Users.Capacity }))
	gauge("users_connected", "1 while the replication stream stands; without it names are read from the table.",
		func(l *look, emit emit) { emit(truth(l.Users.Connected)) })
	gauge("users_lag_bytes", "Bytes of write-ahead log from what is applied to the newest position of the server that we know.",
		plain(func(l *look) uint64 { return max(l.Users.ServerLSN, l.Users.LastLSN) - l.Users.LastLSN }))
	gauge("users_age_seconds", "Seconds since the newest message of the replication stream; the server sends one every 10 seconds.", func(l *look, emit emit) {
		if !l.Users.LastMessageTime.IsZero() {
			emit(time.Since(l.Users.LastMessageTime).Seconds())
		}
	})
	counter("users_hits", "Names answered from memory.", plain(func(l *look) uint64 { return l.Users.Hits }))
	counter("users_misses", "Names asked of Postgres.", plain(func(l *look) uint64 { return l.Users.Misses }))
	counter("users_read_through_queries", "Queries for names, at most one for each transaction.", plain(func(l *look) uint64 { return l.Users.ReadThroughQueries }))
	counter("users_read_through_rows", "Users that those queries found.", plain(func(l *look) uint64 { return l.Users.ReadThroughRows }))
	counter("users_evictions", "Users dropped from memory to make room.", plain(func(l *look) uint64 { return l.Users.Evictions }))
	counter("users_refused_fills", "Names read and used, but not kept, because they may be older than the stream.", plain(func(l *look) uint64 { return l.Users.RefusedFills }))
	counter("users_snapshots", "Replication slots whose snapshot was taken over.", plain(func(l *look) uint64 { return l.Users.Snapshots }))
	counter("users_reconnects", "Replication streams lost, or never had, and tried again.", plain(func(l *look) uint64 { return l.Users.Reconnects }))
	counter("users_applied_transactions", "Transactions read from the replication stream.", plain(func(l *look) uint64 { return l.Users.AppliedTransactions }))
	counter("users_applied_changes", "Row changes of commerce.users read from the replication stream.", plain(func(l *look) uint64 { return l.Users.AppliedChanges }))
}

func describeInstance(gauge define) {
	gauge("group_shards", "Checkouts partitions of the group by owner: this instance, another one, none.", func(l *look, emit emit) {
		emit(float64(len(l.Shards)), "self")
		emit(float64(l.Others.Owned), "other")
		emit(float64(l.Others.Unowned), "none")
	}, "owner")
	gauge("healthy", "1 for each check of /readyz that is as it should be.", func(l *look, emit emit) {
		for _, c := range l.health {
			emit(truth(c.Err == nil), c.Name)
		}
	}, "check")
	gauge("started_timestamp_seconds", "When this instance started, as seconds since the epoch.", plain(func(l *look) float64 { return float64(l.Started.UnixMicro()) / 1e6 }))
}
