package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// stored reads what firstclick's tables say of the group. Tables that are not there are nothing stored.
func (p *postgres) stored(ctx context.Context, s *stored) error {
	err := pgx.BeginTxFunc(ctx, p.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		progress, err := readProgress(ctx, tx, p.cfg.Group)
		if err != nil {
			return fmt.Errorf("read the group's progress: %w", err)
		}
		shards, err := readShards(ctx, tx, p.cfg.Group, p.cfg.CheckoutsTopic)
		if err != nil {
			return fmt.Errorf("read the group's offsets: %w", err)
		}
		instances, err := readInstances(ctx, tx, p.cfg.Group)
		if err != nil {
			return fmt.Errorf("read the group's instances: %w", err)
		}
		*s = stored{tables: true, progress: progress, shards: shards, instances: instances}
		return nil
	})
	var answer *pgconn.PgError
	if errors.As(err, &answer) && (answer.Code == "42P01" || answer.Code == "3F000") { // undefined_table, invalid_schema_name
		return nil
	}
	return err
}

func readProgress(ctx context.Context, tx pgx.Tx, group string) (*progress, error) {
	var p progress
	var clicks, checkouts pgtype.UUID
	var window, lateness, outOfOrder, skew int64
	err := tx.QueryRow(ctx, `SELECT clicks_topic, checkouts_topic, clicks_topic_id, checkouts_topic_id,
		(extract(epoch FROM window_length) * 1000000)::bigint, (extract(epoch FROM lateness) * 1000000)::bigint,
		(extract(epoch FROM out_of_order) * 1000000)::bigint,
		(extract(epoch FROM coalesce((to_jsonb(p)->>'max_future_skew')::interval, '5 minutes')) * 1000000)::bigint, -- a table from before has none
		time_zone, clicks_start, checkouts_start
		FROM firstclick.progress p WHERE group_id = $1`, group).Scan(&p.ClicksTopic, &p.CheckoutsTopic, &clicks, &checkouts,
		&window, &lateness, &outOfOrder, &skew, &p.Zone, &p.ClicksStart, &p.CheckoutsStart)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	p.ClicksTopicID, p.CheckoutsTopicID = clicks.Bytes, checkouts.Bytes
	p.Window, p.Lateness, p.OutOfOrder, p.MaxSkew = micros(window), micros(lateness), micros(outOfOrder), micros(skew)
	return &p, err
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

func readShards(ctx context.Context, tx pgx.Tx, group, topic string) ([]shard, error) {
	rows, err := tx.Query(ctx, `SELECT partition, topic_id, coalesce(instance, ''), next_offset, clicks_next,
		(extract(epoch FROM clock_timestamp() - committed_at) * 1000000)::bigint
		FROM firstclick.offsets WHERE group_id = $1 AND topic = $2 ORDER BY partition`, group, topic)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s shard, err error) {
		var id pgtype.UUID
		var silent int64
		err = row.Scan(&s.Partition, &id, &s.Instance, &s.Next, &s.ClicksNext, &silent)
		s.TopicID, s.Silent = id.Bytes, micros(silent)
		return s, err
	})
}

func readInstances(ctx context.Context, tx pgx.Tx, group string) ([]instance, error) {
	rows, err := tx.Query(ctx, `SELECT instance, host, pid, version, shards, (extract(epoch FROM clock_timestamp() - heartbeat_at) * 1000000)::bigint
		FROM firstclick.instances WHERE group_id = $1 ORDER BY instance`, group)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (i instance, err error) {
		var silent int64
		err = row.Scan(&i.Name, &i.Host, &i.PID, &i.Version, &i.Shards, &silent)
		i.Silent = micros(silent)
		return i, err
	})
}
