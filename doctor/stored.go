package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// stored is what firstclick's tables say about the group.
type stored struct {
	progress  *progress // nil: the group has not begun
	shards    []shard
	instances []instance
}

// The fields of progress, shard and instance are in the order of the SELECTs below.

type progress struct {
	ClicksTopic, CheckoutsTopic     string
	ClicksTopicID, CheckoutsTopicID [16]byte
	Window, Lateness, OutOfOrder    time.Duration
	MaxSkew                         time.Duration
	Zone                            string
	ClicksStart, CheckoutsStart     []int64
}

type shard struct {
	Partition  int32
	Instance   string // its owner; empty: none
	Next       int64
	ClicksNext []int64
	Silent     time.Duration // since its last commit
}

type instance struct {
	Name, Host string
	PID        int32
	Silent     time.Duration // since its last heartbeat
}

func (i instance) alive() bool { return i.Silent <= 30*time.Second }

// stored reads firstclick's tables. Missing tables mean that nothing is stored.
func (p *postgres) stored(ctx context.Context) (s stored, err error) {
	readOnly := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, p.pool, readOnly, func(tx pgx.Tx) error {
		// A progress table of an older version has no max_future_skew.
		rows, _ := tx.Query(ctx, `SELECT clicks_topic, checkouts_topic,
				coalesce(clicks_topic_id, $2), coalesce(checkouts_topic_id, $2), window_length, lateness, out_of_order,
				coalesce((to_jsonb(p)->>'max_future_skew')::interval, '5 minutes'), time_zone,
				clicks_start, checkouts_start
			FROM firstclick.progress p WHERE group_id = $1`, p.cfg.Group, [16]byte{})
		var err error
		s.progress, err = pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByPos[progress])
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("read the group's progress: %w", err)
		}
		rows, _ = tx.Query(ctx, `SELECT partition, coalesce(instance, ''), next_offset, clicks_next,
				clock_timestamp() - committed_at
			FROM firstclick.offsets WHERE group_id = $1 AND topic = $2 ORDER BY partition`,
			p.cfg.Group, p.cfg.CheckoutsTopic)
		if s.shards, err = pgx.CollectRows(rows, pgx.RowToStructByPos[shard]); err != nil {
			return fmt.Errorf("read the group's offsets: %w", err)
		}
		rows, _ = tx.Query(ctx, `SELECT instance, host, pid, clock_timestamp() - heartbeat_at
			FROM firstclick.instances WHERE group_id = $1 ORDER BY instance`, p.cfg.Group)
		if s.instances, err = pgx.CollectRows(rows, pgx.RowToStructByPos[instance]); err != nil {
			return fmt.Errorf("read the group's instances: %w", err)
		}
		return nil
	})
	if is(err, "42P01", "3F000") { // no table or schema
		return stored{}, nil
	}
	return s, err
}

// settings compares what the group was begun with with what a run would be given.
func settings(f *facts) (found findings) {
	p := f.stored.progress
	if p == nil {
		return found.ok("group %s has not begun: a first run stores what it is given", f.cfg.Group)
	}
	zone := "UTC"
	if f.cfg.Zone != nil {
		zone = f.cfg.Zone.String()
	}
	for _, s := range []struct {
		flag          string
		stored, given any
	}{
		{"--clicks-topic", p.ClicksTopic, f.cfg.ClicksTopic},
		{"--checkouts-topic", p.CheckoutsTopic, f.cfg.CheckoutsTopic},
		{"--window", p.Window, f.cfg.Window},
		{"--lateness", p.Lateness, f.cfg.Lateness},
		{"--out-of-order", p.OutOfOrder, f.cfg.OutOfOrder},
		{"--max-future-skew", p.MaxSkew, cmp.Or(f.cfg.MaxSkew, p.MaxSkew)},
		{"--time-zone", p.Zone, zone},
	} {
		if s.stored != s.given {
			found = found.fail(fmt.Sprintf("%s %v, or another --group", s.flag, s.stored),
				"group %s was begun with %s %v, not %v: run refuses that", f.cfg.Group, s.flag, s.stored, s.given)
		}
	}
	return found.orOK("as group %s was begun: window %s, lateness %s, out-of-order %s, %s",
		f.cfg.Group, shown(p.Window), shown(p.Lateness), shown(p.OutOfOrder), p.Zone)
}

func instances(f *facts) (found findings) {
	alive := 0
	for _, i := range f.stored.instances {
		if i.alive() {
			alive++
			continue
		}
		found = found.warn(
			fmt.Sprintf("look at process %d on %s; if it is gone: DELETE FROM firstclick.instances WHERE instance = %s",
				i.PID, i.Host, literal(i.Name)),
			"%s on %s has been silent for %s", i.Name, i.Host, shown(i.Silent))
	}
	for _, s := range f.stored.shards {
		if alive > 0 && s.Silent > time.Minute { // positions are committed at least every 10 s
			owner := cmp.Or(s.Instance, "nobody")
			found = found.warn("look at the log of "+owner,
				"checkouts partition %d has committed nothing for %s, its owner is %s",
				s.Partition, shown(s.Silent), owner)
		}
	}
	return found.orOK("%d running", alive)
}
