package pipeline

import (
	"strconv"
	"time"
)

// describePartitions defines how far things are. Clicks count as read, checkouts as committed.
func describePartitions(gauge define) {
	each := func(name, help string, clicks func(p *PartitionStats) int64, checkouts func(s *ShardStats) int64) {
		gauge(name, help, func(l *look, emit emit) {
			eachPartition(l, emit, func(i int) (float64, bool) { v := clicks(&l.Clicks[i]); return float64(v), v >= 0 },
				func(i int) (float64, bool) { v := checkouts(&l.Shards[i]); return float64(v), v >= 0 })
		}, "topic", "partition")
	}
	shard := func(name, help string, value func(s *ShardStats) float64) {
		gauge(name, help, func(l *look, emit emit) {
			eachPartition(l, emit, nil, func(i int) (float64, bool) { return value(&l.Shards[i]), true })
		}, "topic", "partition")
	}
	// Of a partition of which nothing was read yet, only the lag in records is known.
	lag := func(name, help string, value func(Lag) float64, always bool) {
		gauge(name, help, func(l *look, emit emit) {
			now := time.Now()
			eachPartition(l, emit, func(i int) (float64, bool) {
				lag, known := l.ClicksLag(i, now)
				return value(lag), known || always && l.Clicks[i].End >= 0
			}, func(i int) (float64, bool) {
				lag, known := l.ShardLag(i, now)
				return value(lag), known || always && l.Shards[i].End >= 0
			})
		}, "topic", "partition")
	}
	lag("lag_records", "Records up to the end of the partition that are not read (clicks) or not committed (checkouts); 0 while idle.",
		func(l Lag) float64 { return float64(l.Records) }, true)
	lag("lag_record_time_seconds", "Seconds since the timestamp of the record where a partition stands; 0 at its end.",
		func(l Lag) float64 { return l.Record.Seconds() }, false)
	lag("lag_event_time_seconds", "Seconds since the event time of the record where a partition stands; 0 at its end.",
		func(l Lag) float64 { return l.Event.Seconds() }, false)
	each("next_offset", "Offset of the next record to read (clicks) or to commit (checkouts).",
		func(p *PartitionStats) int64 { return p.Next }, func(s *ShardStats) int64 { return s.Committed })
	each("end_offset", "Offset at which the partition ends in Kafka, as asked for last.",
		func(p *PartitionStats) int64 { return p.End }, func(s *ShardStats) int64 { return s.End })
	each("paused", "1 while reading of the partition is paused: for the window's budget (clicks) or a full queue (checkouts).",
		func(p *PartitionStats) int64 { return int64(truth(p.Paused)) }, func(s *ShardStats) int64 { return int64(truth(s.Paused)) })
	gauge("clicks_max_timestamp_seconds", "Event time that a clicks partition has been read up to, as seconds since the epoch: of its newest clicks, but for those that are dated ahead of this machine's clock or far from the others.", func(l *look, emit emit) {
		for i, p := range l.Clicks {
			instant(p.MaxTime, emit, l.ClicksTopic, strconv.Itoa(i))
		}
	}, "topic", "partition")
	gauge("final_before_timestamp_seconds", "Event time before which the click columns of a shard's rows do not move, as seconds since the epoch.", func(l *look, emit emit) {
		for _, s := range l.Shards {
			instant(s.FinalBefore, emit, l.CheckoutsTopic, strconv.Itoa(int(s.Partition)))
		}
	}, "topic", "partition")
	shard("release_queue_records", "Records of checkouts of a shard that wait for clicks or for their transaction.",
		func(s *ShardStats) float64 { return float64(s.Queued) })
	shard("recent_checkouts", "Checkouts of a shard that are not final: an earlier click would still change them.",
		func(s *ShardStats) float64 { return float64(s.Recents) })
	shard("shard_owned", "1 for each checkouts partition that this instance owns.", func(*ShardStats) float64 { return 1 })
	shard("shard_restoring", "1 while recent checkouts of an earlier owner are still being read.",
		func(s *ShardStats) float64 { return truth(s.Restoring) })
}

// eachPartition emits what is known of each clicks partition and of each shard, by its index; clicks may be nil.
func eachPartition(l *look, emit emit, clicks, shards func(i int) (v float64, known bool)) {
	for i := range l.Clicks {
		if clicks == nil {
			break
		}
		if v, known := clicks(i); known {
			emit(v, l.ClicksTopic, strconv.Itoa(i))
		}
	}
	for i := range l.Shards {
		if v, known := shards(i); known {
			emit(v, l.CheckoutsTopic, strconv.Itoa(int(l.Shards[i].Partition)))
		}
	}
}
