package pipeline

import (
	"context"
	"fmt"
	"maps"
	"time"

	"firstclick/pipeline/sink"
)

// ensureProgress reads where the group began, or, for a new group, decides it by --start and stores it once. Another window,
// lateness, zone or topic than the stored one is refused: rows written under two rules would stand side by side.
func (s *session) ensureProgress(ctx context.Context) error {
	clicks, checkouts := s.infos[s.cfg.ClicksTopic], s.infos[s.cfg.CheckoutsTopic]
	want := sink.Progress{
		Group: s.cfg.Group, ClicksTopic: s.cfg.ClicksTopic, CheckoutsTopic: s.cfg.CheckoutsTopic,
		ClicksTopicID: clicks.id, CheckoutsTopicID: checkouts.id,
		Window: s.cfg.Window, Lateness: s.cfg.Lateness, OutOfOrder: s.cfg.OutOfOrder, MaxSkew: s.cfg.MaxSkew, Zone: s.cfg.Zone.String(),
		Start: s.cfg.Start,
	}
	stored, ok, err := s.p.sink.Progress(ctx, s.cfg.Group)
	switch {
	case err != nil:
		return fmt.Errorf("read the group's progress: %w", err)
	case ok: // Kafka is not asked where a group begins that has begun: some partition may have no leader
		s.progress = stored
		return s.compareProgress(want)
	}
	if want.ClicksStart, want.CheckoutsStart, err = s.startOffsets(ctx); err != nil {
		return err
	}
	if s.progress, err = s.p.sink.EnsureProgress(ctx, want); err != nil {
		return fmt.Errorf("read the group's progress: %w", err)
	}
	return s.compareProgress(want)
}

func (s *session) compareProgress(want sink.Progress) error {
	got := s.progress
	for _, d := range []struct {
		flag      string
		got, want any
	}{
		{"--clicks-topic", got.ClicksTopic, want.ClicksTopic}, {"--checkouts-topic", got.CheckoutsTopic, want.CheckoutsTopic},
		{"--window", got.Window, want.Window}, {"--lateness", got.Lateness, want.Lateness}, {"--out-of-order", got.OutOfOrder, want.OutOfOrder},
		{"--max-future-skew", got.MaxSkew, want.MaxSkew}, {"--time-zone", got.Zone, want.Zone},
	} {
		if d.got != d.want {
			return &ConfigError{fmt.Sprintf("group %q was begun with %s %v, not %v: run with the stored value, or begin anew under another --group",
				s.cfg.Group, d.flag, d.got, d.want)}
		}
	}
	for _, d := range []struct {
		topic     string
		got, want [16]byte
	}{{got.ClicksTopic, got.ClicksTopicID, want.ClicksTopicID}, {got.CheckoutsTopic, got.CheckoutsTopicID, want.CheckoutsTopicID}} {
		if d.got != d.want && d.got != [16]byte{} && d.want != [16]byte{} {
			return &GapError{d.topic, 0, fmt.Sprintf("the topic was deleted and made again (topic id %x, stored %x): its offsets mean other records now", d.want, d.got), s.cureForGap()}
		}
	}
	return nil
}

// askedTime is a time as Kafka is asked for it. Below 0 numbers are questions of another kind, such as where the log begins, or none at all.
func askedTime(t time.Time) int64 { return max(t.UnixMilli(), 0) }

// startOffsets turns --start into offsets: checkouts begin there, clicks a window, the lateness,
// the out-of-order allowance and the guard earlier, for a record may be stamped that much before
// its event. The time of the latest is that of the newest record, where our own clock is ahead of
// it (invariant: a wrong clock of ours skips no click that a checkout needs).
func (s *session) startOffsets(ctx context.Context) (clicks, checkouts []int64, err error) {
	sizes := s.sizes()
	ask := func(at int64) (map[string][]int64, error) { return listOffsets(ctx, s.clicksClient, sizes, at, false) }
	first, err := ask(atStart)
	if err != nil {
		return nil, nil, err
	}
	if s.cfg.Start == "earliest" {
		return first[s.cfg.ClicksTopic], first[s.cfg.CheckoutsTopic], nil
	}
	last, err := ask(atEnd)
	if err != nil {
		return nil, nil, err
	}
	begin := wall()
	places := maps.Clone(last)
	if s.cfg.Start != "latest" {
		if begin, err = time.Parse(time.RFC3339, s.cfg.Start); err != nil {
			return nil, nil, &ConfigError{"start: " + err.Error()}
		}
		if places, err = ask(askedTime(begin)); err != nil {
			return nil, nil, err
		}
	} else if newest, ok, err := newestStamp(ctx, s.clicksClient, sizes); err != nil {
		return nil, nil, err
	} else if at := time.UnixMilli(newest); ok && at.Before(begin) {
		begin = at
	}
	earlier, err := ask(askedTime(begin.Add(-s.cfg.Window - s.cfg.Lateness - s.cfg.OutOfOrder - s.cfg.MaxSkew)))
	if err != nil {
		return nil, nil, err
	}
	sound, err := ask(nonsense.UnixMilli())
	if err != nil {
		return nil, nil, err
	}
	for p, n := range sound[s.cfg.CheckoutsTopic] {
		if n < 0 && first[s.cfg.CheckoutsTopic][p] < last[s.cfg.CheckoutsTopic][p] && s.cfg.Start != "latest" {
			return nil, nil, &ConfigError{fmt.Sprintf("--start %s: no record of %s[%d] has a timestamp that can be meant (its producer gives none, or seconds for milliseconds), so Kafka cannot say where that time is: "+
				"begin with --start earliest or latest", s.cfg.Start, s.cfg.CheckoutsTopic, p)}
		}
	}
	for p, n := range sound[s.cfg.ClicksTopic] {
		if n != first[s.cfg.ClicksTopic][p] { // which clicks the first checkouts need cannot be asked for: all there are may be
			earlier[s.cfg.ClicksTopic][p] = first[s.cfg.ClicksTopic][p]
		}
	}
	fill := func(offsets, ends []int64) []int64 {
		for p := range offsets {
			if offsets[p] < 0 { // no record at or after that time
				offsets[p] = ends[p]
			}
		}
		return offsets
	}
	return fill(earlier[s.cfg.ClicksTopic], last[s.cfg.ClicksTopic]), fill(places[s.cfg.CheckoutsTopic], last[s.cfg.CheckoutsTopic]), nil
}
