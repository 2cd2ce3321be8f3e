package metrics

import (
	"time"

	"firstclick/join"
	"firstclick/pipeline/sink"
)

// output is what Postgres is given.
func output() []metric {
	return []metric{
		{
			name: "latency_seconds", help: "Seconds from a checkout's record timestamp to the end of the transaction that holds it; a backlog counts in full.",
			histogram: func(l *look) histogramValue { return l.Latency },
		},
		{
			name: "commit_seconds", help: "Seconds that a transaction took, look-up of names and repeated tries included.",
			histogram: func(l *look) histogramValue { return l.Commit },
		},
		{
			name: "commit_rows", help: "Rows in a transaction that carried any.",
			histogram: func(l *look) histogramValue { return l.BatchRows },
		},
		counter("rows", "Checkouts written, by outcome. Corrected ones were counted before: they moved to an earlier click. Conflicts and refused ones are dead letters.",
			func(l *look, emit emit) {
				r := &l.Measures.Result
				emit(float64(r.Attributed), "attributed")
				emit(float64(r.Fresh-r.Attributed), "unattributed")
				emit(float64(r.Duplicates), "duplicate")
				emit(float64(r.Conflicts), "conflict")
				emit(float64(r.Refused), "refused")
				emit(float64(r.Corrected), "corrected")
			}, "outcome"),
		counter("unknown_users", "Rows written without a name, for their user was not known.", plain(func(l *look) int64 { return l.Measures.Result.Unknown })),
		counter("dead_letters", "Dead letters committed, by topic and reason.", func(l *look, emit emit) { perCause(l, l.DeadLetters, emit) }, "topic", "reason"),
		counter("dead_letter_payloads_left_out", "Payloads of bad records that were not kept, by reason: past --dead-letter-payloads in an hour only place, size and hash are.",
			func(l *look, emit emit) {
				for _, reason := range join.Reasons() {
					emit(float64(l.Sink.LeftOut[reason]), string(reason))
				}
			}, "reason"),
		counter("transactions", "Transactions that landed in Postgres.", plain(func(l *look) int64 { return l.Sink.Commits })),
		counter("transactions_by_path", "Transactions with rows, by the way they took: straight into the table, or by a temporary one because of duplicates.",
			func(l *look, emit emit) {
				emit(float64(l.Sink.Direct), "direct")
				emit(float64(l.Sink.Staged), "staged")
			}, "path"),
		counter("postgres_retries", "Transactions and look-ups that failed and were tried again, by cause.", func(l *look, emit emit) {
			for _, cause := range sink.Causes() {
				emit(float64(l.Sink.Retries[cause]), cause)
			}
		}, "cause"),
		counter("committing_seconds", "Wall time with a transaction under way, in seconds.", plain(func(l *look) float64 { return l.Committing.Seconds() })),
		counter("naming_seconds", "Wall time in which a transaction waited for users' names, in seconds.", plain(func(l *look) float64 { return l.Naming.Seconds() })),
		gauge("last_commit_timestamp_seconds", "When the last transaction ended, as seconds since the epoch.", func(l *look, emit emit) {
			if !l.CommittedAt.IsZero() {
				emit(float64(l.CommittedAt.UnixMicro()) / 1e6)
			}
		}),
		gauge("postgres_up", "1 while Postgres answers the look that is had every 10 seconds.", func(l *look, emit emit) { emit(truth(l.Server.OK)) }),
		gauge("postgres_round_trip_seconds", "Seconds that the last look at Postgres took.", probed(func(l *look) float64 { return l.Server.Took.Seconds() })),
		gauge("postgres_clock_offset_seconds", "Clock of Postgres minus ours, in seconds.", probed(func(l *look) float64 { return l.Server.ClockOffset.Seconds() })),
		gauge("slot_retained_bytes", "Bytes of write-ahead log that Postgres keeps for our replication slot; 0 without a slot.",
			probed(func(l *look) float64 { return float64(l.Server.RetainedWAL) })),
	}
}

// probed leaves a figure out until Postgres has been looked at.
func probed(value func(l *look) float64) func(l *look, emit emit) {
	return func(l *look, emit emit) {
		if !l.Server.At.IsZero() {
			emit(value(l))
		}
	}
}

// users is the mirror of commerce.users.
func users() []metric {
	return []metric{
		gauge("users_entries", "Users held in memory.", plain(func(l *look) int { return l.Users.Entries })),
		gauge("users_capacity", "Users held in memory at most: --users-cache.", plain(func(l *look) int { return l.Users.Capacity })),
		counter("users_hits", "Names answered from memory.", plain(func(l *look) uint64 { return l.Users.Hits })),
		counter("users_misses", "Names asked of Postgres.", plain(func(l *look) uint64 { return l.Users.Misses })),
		counter("users_read_through_queries", "Queries for names, at most one for each transaction.", plain(func(l *look) uint64 { return l.Users.ReadThroughQueries })),
		counter("users_read_through_rows", "Users that those queries found.", plain(func(l *look) uint64 { return l.Users.ReadThroughRows })),
		counter("users_evictions", "Users dropped from memory to make room.", plain(func(l *look) uint64 { return l.Users.Evictions })),
		counter("users_refused_fills", "Names read and used, but not kept, because they may be older than the stream.", plain(func(l *look) uint64 { return l.Users.RefusedFills })),
		gauge("users_connected", "1 while the replication stream stands; without it names are read from the table.", func(l *look, emit emit) { emit(truth(l.Users.Connected)) }),
		counter("users_snapshots", "Replication slots whose snapshot was taken over.", plain(func(l *look) uint64 { return l.Users.Snapshots })),
		counter("users_reconnects", "Replication streams lost, or never had, and tried again.", plain(func(l *look) uint64 { return l.Users.Reconnects })),
		counter("users_applied_transactions", "Transactions read from the replication stream.", plain(func(l *look) uint64 { return l.Users.AppliedTransactions })),
		counter("users_applied_changes", "Row changes of commerce.users read from the replication stream.", plain(func(l *look) uint64 { return l.Users.AppliedChanges })),
		gauge("users_lag_bytes", "Bytes of write-ahead log from what is applied to the newest position of the server that we know.", plain(func(l *look) uint64 {
			return max(l.Users.ServerLSN, l.Users.LastLSN) - l.Users.LastLSN
		})),
		gauge("users_age_seconds", "Seconds since the newest message of the replication stream; the server sends one every 10 seconds.", func(l *look, emit emit) {
			if !l.Users.LastMessageTime.IsZero() {
				emit(time.Since(l.Users.LastMessageTime).Seconds())
			}
		}),
	}
}

// instances is who does what.
func instances() []metric {
	return []metric{
		gauge("shard_owned", "1 for each checkouts partition that this instance owns.", func(l *look, emit emit) {
			for _, s := range l.Shards {
				emit(1, l.CheckoutsTopic, number(s.Partition))
			}
		}, "topic", "partition"),
		gauge("shard_restoring", "1 while recent checkouts of an earlier owner are still being read.", func(l *look, emit emit) {
			for _, s := range l.Shards {
				emit(truth(s.Restoring), l.CheckoutsTopic, number(s.Partition))
			}
		}, "topic", "partition"),
		gauge("group_shards", "Checkouts partitions of the group by owner: this instance, another one, none.", func(l *look, emit emit) {
			emit(float64(len(l.Shards)), "self")
			emit(float64(l.Others.Owned), "other")
			emit(float64(l.Others.Unowned), "none")
		}, "owner"),
		gauge("healthy", "1 for each check of /readyz that is as it should be.", func(l *look, emit emit) {
			for _, c := range l.health {
				emit(truth(c.Err == nil), c.Name)
			}
		}, "check"),
		counter("fenced", "Times that another instance had taken over a shard that this one believed to own.", plain(func(l *look) int64 { return l.Fenced })),
		counter("rebalances", "What the group told this instance: partitions assigned (also none), revoked, lost.", func(l *look, emit emit) {
			emit(float64(l.Assigned), "assigned")
			emit(float64(l.Revoked), "revoked")
			emit(float64(l.Lost), "lost")
		}, "event"),
		counter("sessions", "Times that work began where Postgres was: at the start, after being fenced, after what could not be mended otherwise.",
			plain(func(l *look) int64 { return l.Sessions })),
		gauge("started_timestamp_seconds", "When this instance started, as seconds since the epoch.", plain(func(l *look) float64 { return float64(l.Started.UnixMicro()) / 1e6 })),
	}
}
