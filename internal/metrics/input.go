package metrics

import (
	"strconv"
	"time"

	"firstclick/join"
	"firstclick/pipeline"
)

func number(p int32) string { return strconv.Itoa(int(p)) }

// input is what comes in.
func input() []metric {
	return []metric{
		counter("records_read", "Kafka records read, clicks that were read again after a start or a rebalance included.",
			perRead(func(r pipeline.Read) float64 { return float64(r.Records) }), "topic", "partition"),
		counter("read_bytes", "Bytes of the values of Kafka records read.",
			perRead(func(r pipeline.Read) float64 { return float64(r.Bytes) }), "topic", "partition"),
		counter("decode_failures", "Records read that could not be decoded, or lay too far ahead of their record's time, by reason.", func(l *look, emit emit) {
			perCause(l, l.Undecodable, emit)
		}, "topic", "reason"),
		counter("late_clicks", "Late clicks by effect: corrected counts the corrections they gave rise to, noted those that came after a row they could change was final, or are dated far ahead.",
			func(l *look, emit emit) {
				emit(float64(l.LateCorrected), "corrected")
				emit(float64(l.LateClicks), "noted")
			}, "effect"),
		counter("late_checkouts", "Checkouts that came after their event time was final, or are dated far ahead: joined where possible, and noted in firstclick.late.",
			plain(func(l *look) int64 { return l.LateCheckouts })),
		counter("far_ahead", "Events dated further ahead of this machine's clock than --max-future-skew and --window together: joined with what is there, and noted in firstclick.late; clicks that are read again after a start included.",
			func(l *look, emit emit) {
				emit(float64(l.FarClicks), l.ClicksTopic)
				emit(float64(l.FarCheckouts), l.CheckoutsTopic)
			}, "topic"),
		counter("open_transaction_releases", "Checkouts released although a clicks partition was held by a producer's open transaction for over 15 seconds.",
			plain(func(l *look) int64 { return l.OpenTxnReleases })),
		gauge("record_time_ahead_seconds", "Timestamp of the newest record read minus our clock when it was read, in seconds: above zero, the clocks disagree.",
			func(l *look, emit emit) {
				for place, r := range l.Read {
					if r.RecordTime != join.NoTime {
						emit(time.UnixMicro(r.RecordTime).Sub(r.At).Seconds(), place.Topic, number(place.Partition))
					}
				}
			}, "topic", "partition"),
	}
}

func perRead(value func(r pipeline.Read) float64) func(l *look, emit emit) {
	return func(l *look, emit emit) {
		for place, r := range l.Read {
			emit(value(r), place.Topic, number(place.Partition))
		}
	}
}

func perCause(l *look, counts map[pipeline.Cause]int64, emit emit) {
	for _, topic := range []string{l.ClicksTopic, l.CheckoutsTopic} {
		for _, reason := range join.Reasons() {
			emit(float64(counts[pipeline.Cause{Topic: topic, Reason: reason}]), topic, string(reason))
		}
	}
}

// lag is how far things are. Clicks count as read, checkouts as committed.
func lag() []metric {
	return []metric{
		gauge("lag_records", "Records up to the end of the partition that are not read (clicks) or not committed (checkouts); 0 while idle.",
			perLag(func(l pipeline.Lag) float64 { return float64(l.Records) }, true), "topic", "partition"),
		gauge("lag_record_time_seconds", "Seconds since the timestamp of the record where a partition stands; 0 at its end.",
			perLag(func(l pipeline.Lag) float64 { return l.Record.Seconds() }, false), "topic", "partition"),
		gauge("lag_event_time_seconds", "Seconds since the event time of the record where a partition stands; 0 at its end.",
			perLag(func(l pipeline.Lag) float64 { return l.Event.Seconds() }, false), "topic", "partition"),
		gauge("next_offset", "Offset of the next record to read (clicks) or to commit (checkouts).", offsets(
			func(p pipeline.PartitionStats) int64 { return p.Next }, func(s pipeline.ShardStats) int64 { return s.Committed }), "topic", "partition"),
		gauge("end_offset", "Offset at which the partition ends in Kafka, as asked for last.", offsets(
			func(p pipeline.PartitionStats) int64 { return p.End }, func(s pipeline.ShardStats) int64 { return s.End }), "topic", "partition"),
		gauge("log_start_offset", "First offset that Kafka still has, as asked for every 10 seconds.", func(l *look, emit emit) {
			for topic, starts := range l.Starts {
				for p, o := range starts {
					emit(float64(o), topic, strconv.Itoa(p))
				}
			}
		}, "topic", "partition"),
		gauge("ends_age_seconds", "Seconds since Kafka last said where the topics end.", func(l *look, emit emit) {
			if !l.EndsAt.IsZero() {
				emit(time.Since(l.EndsAt).Seconds())
			}
		}),
		gauge("paused", "1 while reading of the partition is paused: for the window's budget (clicks) or a full queue (checkouts).", func(l *look, emit emit) {
			for i, p := range l.Clicks {
				emit(truth(p.Paused), l.ClicksTopic, strconv.Itoa(i))
			}
			for _, s := range l.Shards {
				emit(truth(s.Paused), l.CheckoutsTopic, number(s.Partition))
			}
		}, "topic", "partition"),
		gauge("watermark_timestamp_seconds", "Event time that all clicks are read up to, out-of-order ones aside, as seconds since the epoch.",
			func(l *look, emit emit) { instant(l.Watermark, emit) }),
		gauge("clicks_max_timestamp_seconds", "Event time that a clicks partition has been read up to, as seconds since the epoch: of its newest clicks, but for those that are dated ahead of this machine's clock or far from the others.", func(l *look, emit emit) {
			for i, p := range l.Clicks {
				instant(p.MaxTime, emit, l.ClicksTopic, strconv.Itoa(i))
			}
		}, "topic", "partition"),
		gauge("final_before_timestamp_seconds", "Event time before which the click columns of a shard's rows do not move, as seconds since the epoch.",
			func(l *look, emit emit) {
				for _, s := range l.Shards {
					instant(s.FinalBefore, emit, l.CheckoutsTopic, number(s.Partition))
				}
			}, "topic", "partition"),
		gauge("release_queue_records", "Records of checkouts of a shard that wait for clicks or for their transaction.", func(l *look, emit emit) {
			for _, s := range l.Shards {
				emit(float64(s.Queued), l.CheckoutsTopic, number(s.Partition))
			}
		}, "topic", "partition"),
		gauge("recent_checkouts", "Checkouts of a shard that are not final: an earlier click would still change them.", func(l *look, emit emit) {
			for _, s := range l.Shards {
				emit(float64(s.Recents), l.CheckoutsTopic, number(s.Partition))
			}
		}, "topic", "partition"),
		gauge("window_clicks", "Clicks held in memory.", plain(func(l *look) int64 { return l.Window.Clicks })),
		gauge("window_bytes", "Bytes that the click window has allocated.", plain(func(l *look) int64 { return l.Window.Bytes })),
		gauge("window_budget_bytes", "Bytes above which reading of clicks pauses: half of --memory-limit.", func(l *look, emit emit) {
			if l.WindowBudget > 0 {
				emit(float64(l.WindowBudget))
			}
		}),
		gauge("window_buckets", "Buckets of event time that hold clicks.", plain(func(l *look) int64 { return l.Window.Buckets })),
		gauge("window_oldest_timestamp_seconds", "No click held is older than this, as seconds since the epoch.",
			func(l *look, emit emit) { instant(l.Window.Oldest, emit) }),
	}
}

// perLag emits what is known: of a partition of which nothing was read yet, only the records are.
func perLag(value func(pipeline.Lag) float64, always bool) func(l *look, emit emit) {
	return func(l *look, emit emit) {
		now := time.Now()
		for i := range l.Clicks {
			if lag, known := l.ClicksLag(i, now); known || always && l.Clicks[i].End >= 0 {
				emit(value(lag), l.ClicksTopic, strconv.Itoa(i))
			}
		}
		for i := range l.Shards {
			if lag, known := l.ShardLag(i, now); known || always && l.Shards[i].End >= 0 {
				emit(value(lag), l.CheckoutsTopic, number(l.Shards[i].Partition))
			}
		}
	}
}

func offsets(clicks func(pipeline.PartitionStats) int64, checkouts func(pipeline.ShardStats) int64) func(l *look, emit emit) {
	return func(l *look, emit emit) {
		for i := range l.Clicks {
			if o := clicks(l.Clicks[i]); o >= 0 {
				emit(float64(o), l.ClicksTopic, strconv.Itoa(i))
			}
		}
		for i := range l.Shards {
			if o := checkouts(l.Shards[i]); o >= 0 {
				emit(float64(o), l.CheckoutsTopic, number(l.Shards[i].Partition))
			}
		}
	}
}
