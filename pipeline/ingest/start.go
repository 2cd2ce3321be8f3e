package ingest

import (
	"context"
	"slices"
	"time"

	"firstclick/pipeline/ending"
	"firstclick/pipeline/rules"
)

// plausible is the time before which no record was written: Kafka is younger.
var plausible = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// timestamp is a time as a ListOffsets request takes it. Negative numbers have other meanings.
func timestamp(t time.Time) int64 { return max(t.UnixMilli(), 0) }

// StartOffsets turns --start into offsets of a new group. Checkouts begin there. Clicks begin
// earlier by the window, the lateness, the out-of-order allowance and the skew, for a record may be
// stamped that much before its event. The time of latest is that of the newest record where this
// machine's clock is ahead of it (invariant: a wrong clock of ours skips no click that a checkout
// needs).
func (k *Kafka) StartOffsets(ctx context.Context) (clicks, checkouts []int64, err error) {
	first, err := k.bothOffsets(ctx, atStart)
	if err != nil || k.cfg.Start == "earliest" {
		return first[0], first[1], err
	}
	last, err := k.bothOffsets(ctx, atEnd)
	if err != nil {
		return nil, nil, err
	}
	var begin time.Time
	checkouts = slices.Clone(last[1])
	if k.cfg.Start == "latest" {
		begin = rules.Wall()
		newest, err := newestTimestamp(ctx, k.admin(), k.Clicks, k.Checkouts)
		if err != nil {
			return nil, nil, err
		}
		if at := time.UnixMilli(newest); newest >= 0 && at.Before(begin) {
			begin = at
		}
	} else {
		if begin, err = time.Parse(time.RFC3339, k.cfg.Start); err != nil {
			return nil, nil, ending.Configf("start: %v", err)
		}
		if checkouts, err = k.offsets(ctx, k.Checkouts, timestamp(begin)); err != nil {
			return nil, nil, err
		}
	}
	r := &k.cfg.Rule
	earlier := begin.Add(-r.Window - r.Lateness - r.OutOfOrder - r.MaxFutureSkew)
	if clicks, err = k.offsets(ctx, k.Clicks, timestamp(earlier)); err != nil {
		return nil, nil, err
	}
	stamped, err := k.bothOffsets(ctx, plausible.UnixMilli())
	if err != nil {
		return nil, nil, err
	}
	for p, n := range stamped[1] {
		if n < 0 && first[1][p] < last[1][p] && k.cfg.Start != "latest" {
			return nil, nil, ending.Configf("--start %s: no record of %s[%d] has a timestamp that can be meant "+
				"(its producer gives none, or seconds for milliseconds), so Kafka cannot say where that time is: "+
				"begin with --start earliest or latest", k.cfg.Start, k.cfg.CheckoutsTopic, p)
		}
	}
	for p, n := range stamped[0] {
		if n != first[0][p] { // a record without a plausible timestamp may be needed: read all of them
			clicks[p] = first[0][p]
		}
	}
	replaceMissing(clicks, last[0])
	replaceMissing(checkouts, last[1])
	return clicks, checkouts, nil
}

// bothOffsets gives the offsets of clicks and of checkouts.
func (k *Kafka) bothOffsets(ctx context.Context, at int64) (offsets [2][]int64, err error) {
	if offsets[0], err = k.offsets(ctx, k.Clicks, at); err != nil {
		return offsets, err
	}
	offsets[1], err = k.offsets(ctx, k.Checkouts, at)
	return offsets, err
}

// replaceMissing puts the ends in the place of offsets of a time after which there is no record.
func replaceMissing(offsets, ends []int64) {
	for p := range offsets {
		if offsets[p] < 0 {
			offsets[p] = ends[p]
		}
	}
}

// ClicksStampedFrom gives, by clicks partition, the first offset whose record may have a timestamp
// at or after a time in microseconds: the first of all where records have no plausible timestamps.
func (k *Kafka) ClicksStampedFrom(ctx context.Context, micros int64) ([]int64, error) {
	return k.stampedFrom(ctx, k.Clicks, micros)
}

// CheckoutsStampedFrom is ClicksStampedFrom of the checkouts partitions.
func (k *Kafka) CheckoutsStampedFrom(ctx context.Context, micros int64) ([]int64, error) {
	return k.stampedFrom(ctx, k.Checkouts, micros)
}

func (k *Kafka) stampedFrom(ctx context.Context, t Topic, micros int64) ([]int64, error) {
	var at [4][]int64
	for i, question := range [...]int64{atStart, plausible.UnixMilli(), timestamp(time.UnixMicro(micros)), atEnd} {
		var err error
		if at[i], err = k.offsets(ctx, t, question); err != nil {
			return nil, err
		}
	}
	first, stamped, from, ends := at[0], at[1], at[2], at[3]
	replaceMissing(from, ends)
	for p := range from {
		if stamped[p] != first[p] {
			from[p] = first[p]
		}
	}
	return from, nil
}

// WatchStarts reads every 10 s where the partitions begin, until ctx ends, for the metrics.
func (k *Kafka) WatchStarts(ctx context.Context) error {
	return rules.Every(ctx, 10*time.Second, func() error {
		for _, topic := range []Topic{k.Clicks, k.Checkouts} {
			waiting, cancel := context.WithTimeout(ctx, watchTime)
			starts, err := k.offsets(waiting, topic, atStart)
			cancel()
			if err == nil {
				k.Metrics.Starts(topic.Name, starts)
			}
		}
		return nil
	})
}
