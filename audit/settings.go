package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// readSettings takes over what the group was begun with. Verify refuses a configuration that says
// otherwise; Compare and WhatIf, and a group that never ran, go by the configuration.
func (r *run) readSettings(ctx context.Context, tx pgx.Tx) error {
	s, cfg := &r.snap, r.cfg
	clicks, checkouts := &s.topics[topicClicks], &s.topics[topicCheckouts]
	var window, lateness, outOfOrder, skew pgtype.Interval
	var clicksID, checkoutsID pgtype.UUID
	var zone, start string
	var created time.Time
	there := true
	var err error
	if r.fromKafka { // there need not be any table of firstclick's
		err = tx.QueryRow(ctx, `SELECT to_regclass('firstclick.progress') IS NOT NULL`).Scan(&there)
	}
	if err == nil && there { // a table from before max_future_skew was stored has no such column
		err = tx.QueryRow(ctx, `
			SELECT clicks_topic, checkouts_topic, clicks_topic_id, checkouts_topic_id, window_length, lateness,
			       out_of_order, coalesce((to_jsonb(p)->>'max_future_skew')::interval, '5 minutes'), time_zone,
			       clicks_start, checkouts_start, start, created_at, watermark, final_before
			FROM firstclick.progress p WHERE group_id = $1`, cfg.Group).
			Scan(&clicks.name, &checkouts.name, &clicksID, &checkoutsID, &window, &lateness, &outOfOrder,
				&skew, &zone, &clicks.starts, &checkouts.starts, &start, &created, &s.watermark, &s.finalBefore)
		if s.known = err == nil; errors.Is(err, pgx.ErrNoRows) {
			err = nil
		}
	}
	if err == nil {
		err = tx.QueryRow(ctx, `SELECT now()`).Scan(&s.taken)
	}
	if err != nil {
		return fmt.Errorf("read progress of group %s: %w", cfg.Group, err)
	}
	s.zone = time.UTC
	if s.known {
		if s.zone, err = time.LoadLocation(zone); err != nil {
			return fmt.Errorf("load time zone of group %s: %w", cfg.Group, err)
		}
		s.window, s.lateness, s.outOfOrder = duration(window), duration(lateness), duration(outOfOrder)
		s.skew = duration(skew).Microseconds()
	}
	if !s.known || r.fromKafka {
		clicks.name = cmp.Or(cfg.ClicksTopic, clicks.name, "clicks")
		checkouts.name = cmp.Or(cfg.CheckoutsTopic, checkouts.name, "checkouts")
		clicks.starts, checkouts.starts = nil, nil
		s.window = cmp.Or(cfg.Window, s.window, time.Hour)
		s.lateness, s.outOfOrder = cmp.Or(cfg.Lateness, 15*time.Minute), cmp.Or(cfg.OutOfOrder, 15*time.Second)
		s.skew = cmp.Or(cfg.MaxSkew.Microseconds(), s.skew, (5 * time.Minute).Microseconds())
		s.zone = cmp.Or(cfg.Zone, s.zone)
		if !r.fromKafka {
			r.note("group %s has not begun yet: all of Kafka is pending", cfg.Group)
		}
		return nil
	}
	clicks.id, checkouts.id = topicID(clicksID.Bytes), topicID(checkoutsID.Bytes)
	inUTC(s.watermark, s.finalBefore)
	s.startTime, s.begun = noTime, created.UnixMicro()
	if at, err := time.Parse(time.RFC3339, start); err == nil {
		s.startTime, s.begun = at.UnixMicro(), at.UnixMicro()
	}
	given := func(d time.Duration) string { return map[bool]string{true: d.String()}[d != 0] }
	givenZone := ""
	if cfg.Zone != nil {
		givenZone = cfg.Zone.String()
	}
	for _, x := range []struct{ what, given, stored string }{
		{"time zone", givenZone, zone},
		{"window", given(cfg.Window), s.window.String()},
		{"lateness", given(cfg.Lateness), s.lateness.String()},
		{"out-of-order allowance", given(cfg.OutOfOrder), s.outOfOrder.String()},
		{"max future skew", given(cfg.MaxSkew), duration(skew).String()},
		{"clicks topic", cfg.ClicksTopic, clicks.name},
		{"checkouts topic", cfg.CheckoutsTopic, checkouts.name},
	} {
		if x.given != "" && x.given != x.stored {
			return &SettingsError{Group: cfg.Group, What: x.what, Given: x.given, Stored: x.stored}
		}
	}
	return nil
}

// SettingsError says that the configuration is not what the group was begun with.
type SettingsError struct {
	Group, What, Given, Stored string
}

func (e *SettingsError) Error() string {
	return fmt.Sprintf("group %s runs with %s %s, not %s: leave the flag out, or name the group that runs with it",
		e.Group, e.What, e.Stored, e.Given)
}

// duration of an interval as firstclick writes it: days of 24 hours, no months.
func duration(i pgtype.Interval) time.Duration {
	return time.Duration(i.Microseconds)*time.Microsecond + time.Duration(i.Days)*24*time.Hour
}

func inUTC(times ...*time.Time) {
	for _, t := range times {
		if t != nil {
			*t = t.UTC()
		}
	}
}
