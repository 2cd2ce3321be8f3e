package grafana

import "strings"

// only narrows every firstclick metric of an expression down to the variables: where it says S (or T, with topics).
func only(expr string) string {
	return strings.NewReplacer(
		"{S}", `{group=~"$group",instance=~"$instance"}`,
		"{S,", `{group=~"$group",instance=~"$instance",`,
		"{T}", `{group=~"$group",instance=~"$instance",topic=~"$topic"}`,
		"{I}", `{instance=~"$instance"}`,
		"{I,", `{instance=~"$instance",`,
	).Replace(expr)
}

func q(expr, legend string) Query { return Query{only(expr), legend} }

func graph(title, description, unit string, width int, steps []Step, queries ...Query) Panel {
	return Panel{Title: title, Description: description, Kind: "timeseries", Unit: unit, Width: width, Steps: steps, Queries: queries}
}

func stat(title, description, unit string, steps []Step, query Query) Panel {
	return Panel{Title: title, Description: description, Kind: "stat", Unit: unit, Width: 4, Steps: steps, Queries: []Query{query}}
}

// quantile reads the native histogram where the server has taken that, else the classic one.
func quantile(share, metric string) string {
	return `histogram_quantile(` + share + `, sum by (le) (rate(` + metric + `_bucket{S}[$__rate_interval]))) or histogram_quantile(` + share +
		`, sum(rate(` + metric + `{S}[$__rate_interval])))`
}

// Dashboards are all that there are, by file name.
func Dashboards() map[string]Dashboard {
	return map[string]Dashboard{"firstclick-lag.json": lagBoard(), "firstclick-runtime.json": runtimeBoard()}
}

func lagBoard() Dashboard {
	return Dashboard{
		UID: "firstclick-lag", Title: "firstclick: lag", Description: "Is it healthy, how far behind is it, and why?", Tags: []string{"firstclick"},
		Rows: []Row{overview(), perPartition(), input(), window(), output(), users(), letters(), instances()},
	}
}

func overview() Row {
	return Row{"Overview", []Panel{
		stat("Behind, by record time", "Seconds since the timestamp of the record where the worst partition stands; 0 at the ends. Yellow from 10 s, red from the minute at which the alert looks.", "s",
			low(10, 60), q(`max(firstclick_lag_record_time_seconds{T})`, "behind")),
		stat("Records behind", "Checkouts not committed and clicks not read, over all partitions. 10,000 is what firstclick itself calls a backlog.", "short",
			low(10_000, 100_000), q(`sum(max by (group, topic, partition) (firstclick_lag_records{T}))`, "records")),
		stat("Row after checkout, p99", "99 of 100 checkouts are in Postgres within this time after their record's timestamp. Yellow from half a second, red from 5 s.", "s",
			low(0.5, 5), q(quantile("0.99", "firstclick_latency_seconds"), "p99")),
		stat("Rows written", "Checkouts written a second. Red: none at all.", "rowsps",
			high(0.001), q(`sum(rate(firstclick_rows_total{S,outcome!="corrected"}[$__rate_interval]))`, "rows")),
		stat("Unhealthy checks", "Checks of /readyz that fail, over all instances. One is too many.", "short",
			none(1), q(`sum(1 - firstclick_healthy{S})`, "checks")),
		stat("Uptime", "Since the youngest instance started. Yellow in its first five minutes: was that restart wanted?", "s",
			[]Step{{0, yellow}, {300, green}}, q(`min(time() - firstclick_started_timestamp_seconds{S})`, "uptime")),
		graph("Behind, by event time", "Seconds since the event time of the record where the worst partition of each topic stands, as the original's event-time lag; 0 at the ends. The dashes are a minute and five.", "s", 12,
			low(60, 300), q(`max by (group, topic) (firstclick_lag_event_time_seconds{T})`, "{{group}} {{topic}}")),
		graph("Row after checkout", "Time from a checkout's record timestamp to the end of the transaction that holds it. A backlog counts in full.", "s", 12,
			low(0.5, 5), q(quantile("0.5", "firstclick_latency_seconds"), "p50"), q(quantile("0.99", "firstclick_latency_seconds"), "p99")),
	}}
}

func perPartition() Row {
	return Row{"Per partition", []Panel{
		graph("Lag in records", "Records that are not read (clicks) or not committed (checkouts). Yellow from a backlog's 10,000.", "short", 12,
			low(10_000, 1_000_000), q(`firstclick_lag_records{T}`, "{{instance}} {{topic}}[{{partition}}]")),
		graph("Lag in seconds of record time", "Since the timestamp of the record where the partition stands; 0 at its end, and it grows while Kafka does not answer.", "s", 12,
			low(10, 60), q(`firstclick_lag_record_time_seconds{T}`, "{{instance}} {{topic}}[{{partition}}]")),
		graph("Watermark behind the clock", "Event time that all clicks are read up to, and the greatest of each partition, behind our clock. Beyond window and lateness (75 min) old events are being read.", "s", 12,
			low(60, 4500), q(`time() - firstclick_watermark_timestamp_seconds{S}`, "{{instance}} watermark"), q(`time() - firstclick_clicks_max_timestamp_seconds{T}`, "{{instance}} {{topic}}[{{partition}}]")),
		graph("Release queue", "Checkouts that wait for clicks or for their transaction. At 4,096 reading pauses.", "short", 12,
			low(1_024, 4_096), q(`firstclick_release_queue_records{T}`, "{{instance}} {{topic}}[{{partition}}]")),
		graph("Distance to retention", "Records between the first that Kafka still has and where we stand, while something is unread. At 0 records are lost unread.", "short", 12,
			[]Step{{0, red}, {1, yellow}, {10_000, green}}, q(`firstclick_next_offset{T} - firstclick_log_start_offset{T}`, "{{instance}} {{topic}}[{{partition}}]")),
		graph("Paused partitions", "1 while reading is paused: clicks for the window's budget, checkouts for a full queue.", "short", 12,
			none(1), q(`firstclick_paused{T}`, "{{instance}} {{topic}}[{{partition}}]")),
	}}
}

func input() Row {
	return Row{"Kafka in", []Panel{
		graph("Records consumed", "Records read a second. Red at zero: nothing arrives.", "cps", 12,
			high(0.001), q(`sum by (group, topic) (rate(firstclick_records_read_total{T}[$__rate_interval]))`, "{{group}} {{topic}}")),
		graph("Bytes consumed", "Bytes of the records' values read a second. Beyond 100 MB/s the network is what to look at.", "Bps", 12,
			[]Step{{0, red}, {1, green}, {100e6, yellow}}, q(`sum by (group, topic) (rate(firstclick_read_bytes_total{T}[$__rate_interval]))`, "{{group}} {{topic}}")),
		graph("Bytes on the wire", "Bytes in from and out to Kafka a second, compressed, requests included. Beyond 100 MB/s the network is what to look at.", "Bps", 12,
			low(100e6, 1e9), q(`sum by (client) (rate(firstclick_kafka_read_bytes_total{I}[$__rate_interval]))`, "in, {{client}}"), q(`sum by (client) (rate(firstclick_kafka_write_bytes_total{I}[$__rate_interval]))`, "out, {{client}}")),
		graph("Records' clocks ahead of ours", "Timestamp of the newest record minus our clock when it was read. Above zero, clocks disagree; from 2 s on the alert looks.", "s", 12,
			low(0.5, 2), q(`max by (instance, topic) (firstclick_record_time_ahead_seconds{T})`, "{{instance}} {{topic}}")),
	}}
}

func window() Row {
	return Row{"Window, late and corrected", []Panel{
		graph("Clicks in memory", "Clicks held for window, lateness and out-of-order. 100 million take about 5 GB.", "short", 8,
			low(50e6, 100e6), q(`firstclick_window_clicks{S}`, "{{instance}}")),
		graph("Window of its budget", "Bytes of the window as a share of its budget. From 90 % on the alert looks; at 100 % clicks pause.", "percentunit", 8,
			low(0.75, 0.9), q(`firstclick_window_bytes{S} / firstclick_window_budget_bytes{S}`, "{{instance}}")),
		graph("Oldest click, buckets", "Age of the oldest click held, by event time. Two hours and more: some shard of the group holds old clicks.", "s", 8,
			low(5_400, 7_200), q(`time() - firstclick_window_oldest_timestamp_seconds{S}`, "{{instance}} oldest"), q(`60 * firstclick_window_buckets{S}`, "{{instance}} buckets of a minute")),
		graph("Late clicks by effect", "Corrections that late clicks gave rise to, and clicks and checkouts too late for that, which `firstclick repair` looks at: one is worth a look.", "cps", 12,
			none(0.1), q(`sum by (effect) (rate(firstclick_late_clicks_total{S}[$__rate_interval]))`, "clicks {{effect}}"), q(`sum(rate(firstclick_late_checkouts_total{S}[$__rate_interval]))`, "checkouts noted")),
		graph("Checkouts not final, open transactions", "Checkouts that an earlier click would still change; releases past a producer's open transaction. A million take about 100 MB.", "short", 12,
			low(1e6, 1e7), q(`sum by (instance) (firstclick_recent_checkouts{S})`, "{{instance}} not final"), q(`sum(increase(firstclick_open_transaction_releases_total{S}[$__rate_interval]))`, "released past an open transaction")),
	}}
}

func output() Row {
	return Row{"Postgres out", []Panel{
		graph("Rows by outcome", "Checkouts written a second. Corrected ones were counted before. Red at zero.", "rowsps", 12,
			high(0.001), q(`sum by (outcome) (rate(firstclick_rows_total{S}[$__rate_interval]))`, "{{outcome}}")),
		graph("Transaction time", "With look-up of names and repeated tries. Yellow from 100 ms, red from a second.", "s", 12,
			low(0.1, 1), q(quantile("0.5", "firstclick_commit_seconds"), "p50"), q(quantile("0.99", "firstclick_commit_seconds"), "p99")),
		graph("Rows in a transaction", "The more load, the more rows: natural batching. 8,192 rows of a shard are the most.", "short", 8,
			low(8_192, 16_384), q(quantile("0.5", "firstclick_commit_rows"), "p50"), q(quantile("0.99", "firstclick_commit_rows"), "p99")),
		graph("Where the time goes", "Share of the time with a transaction under way, and waiting for names in one. Near 1, Postgres is what holds us up.", "percentunit", 8,
			low(0.7, 0.95), q(`rate(firstclick_committing_seconds_total{S}[$__rate_interval])`, "{{instance}} in a transaction"), q(`rate(firstclick_naming_seconds_total{S}[$__rate_interval])`, "{{instance}} waiting for names")),
		graph("Tried again", "Transactions and look-ups that failed and were tried again, by cause. A conflict now and then is in order.", "cps", 8,
			none(0.1), q(`sum by (cause) (rate(firstclick_postgres_retries_total{S}[$__rate_interval]))`, "{{cause}}")),
	}}
}

func users() Row {
	return Row{"Users mirror, slot and WAL", []Panel{
		stat("Streams standing", "Instances whose replication stream stands. Without one names are read from the table.", "short", high(1), q(`sum(firstclick_users_connected{S})`, "streams")),
		stat("Age of the stream", "Since the newest message; the server sends one every 10 s.", "s", low(30, 60), q(`max(firstclick_users_age_seconds{S})`, "age")),
		stat("Mirror behind", "Bytes of write-ahead log not applied yet.", "bytes", low(16<<20, 256<<20), q(`max(firstclick_users_lag_bytes{S})`, "behind")),
		stat("WAL held by our slot", "Bytes that Postgres keeps for us. From 1 GB on the alert looks.", "bytes", low(256<<20, 1e9), q(`max(firstclick_slot_retained_bytes{S})`, "retained")),
		stat("Clock of Postgres", "Its clock minus ours. From 2 s on the alert looks.", "s",
			[]Step{{0, red}, {-2, green}, {2, red}}, q(`max(firstclick_postgres_clock_offset_seconds{S})`, "offset")),
		stat("Users in memory", "As a share of --users-cache. A full one evicts.", "percentunit", low(0.9, 1), q(`max(firstclick_users_entries{S} / firstclick_users_capacity{S})`, "full")),
		graph("Slot and WAL", "Bytes kept for our slot, and bytes not applied yet. From 1 GB on the alert looks.", "bytes", 12,
			low(256<<20, 1e9), q(`firstclick_slot_retained_bytes{S}`, "{{instance}} retained"), q(`firstclick_users_lag_bytes{S}`, "{{instance}} not applied")),
		graph("Names", "Asked of memory and of the table, evicted, refused, unknown, a second. A thousand misses a second: raise --users-cache.", "cps", 12,
			low(1_000, 10_000), q(`sum(rate(firstclick_users_hits_total{S}[$__rate_interval]))`, "hits"), q(`sum(rate(firstclick_users_misses_total{S}[$__rate_interval]))`, "misses"),
			q(`sum(rate(firstclick_users_read_through_queries_total{S}[$__rate_interval]))`, "queries"), q(`sum(rate(firstclick_users_evictions_total{S}[$__rate_interval]))`, "evictions"),
			q(`sum(rate(firstclick_users_refused_fills_total{S}[$__rate_interval]))`, "refused fills"), q(`sum(rate(firstclick_unknown_users_total{S}[$__rate_interval]))`, "rows without a name")),
		graph("Stream", "Changes applied a second; slots taken and streams lost. A stream lost every minute is flapping.", "cps", 24,
			low(1_000, 10_000), q(`sum(rate(firstclick_users_applied_changes_total{S}[$__rate_interval]))`, "changes"), q(`sum(rate(firstclick_users_reconnects_total{S}[$__rate_interval]))`, "reconnects"),
			q(`sum(rate(firstclick_users_snapshots_total{S}[$__rate_interval]))`, "snapshots")),
	}}
}

func letters() Row {
	return Row{"Dead letters", []Panel{
		graph("Dead letters by reason", "Records that became no row, in the last minutes. One is worth a look: `firstclick dead-letters list`.", "short", 12,
			none(1), q(`sum by (topic, reason) (increase(firstclick_dead_letters_total{T}[$__rate_interval])) > 0`, "{{topic}} {{reason}}"), q(`sum(increase(firstclick_dead_letters_total{T}[$__rate_interval]))`, "all")),
		graph("Not decodable by reason", "Records read that could not be decoded, before they are committed as dead letters. One is worth a look.", "short", 12,
			none(1), q(`sum by (topic, reason) (increase(firstclick_decode_failures_total{T}[$__rate_interval])) > 0`, "{{topic}} {{reason}}"), q(`sum(increase(firstclick_decode_failures_total{T}[$__rate_interval]))`, "all")),
	}}
}

func instances() Row {
	return Row{"Instances", []Panel{
		graph("Shards owned", "Checkouts partitions by instance. An instance without any is a hot standby: yellow. Nobody's: the alert looks.", "short", 12,
			[]Step{{0, yellow}, {1, green}}, q(`firstclick_group_shards{S,owner="self"}`, "{{instance}}"), q(`max by (group) (firstclick_group_shards{S,owner="none"})`, "nobody's, {{group}}")),
		graph("Rebalances, fences, sessions", "What the group told, in the last minutes. Once now and then is a deployment; again and again is flapping.", "short", 12,
			low(3, 6), q(`sum by (instance, event) (increase(firstclick_rebalances_total{S}[$__rate_interval]))`, "{{instance}} {{event}}"), q(`increase(firstclick_fenced_total{S}[$__rate_interval])`, "{{instance}} fenced"),
			q(`increase(firstclick_sessions_total{S}[$__rate_interval])`, "{{instance}} begun again")),
		{Title: "Checks of /readyz", Description: "1 for each check that is as it should be; 0 is red.", Kind: "table", Unit: "short", Width: 12, Steps: high(1),
			Queries: []Query{q(`firstclick_healthy{S}`, "")}},
		{Title: "Versions", Description: "What each instance was built from. Two versions are a deployment under way: the value is always 1.", Kind: "table", Unit: "short", Width: 12, Steps: high(1),
			Queries: []Query{q(`firstclick_build_info{I}`, "")}},
	}}
}
