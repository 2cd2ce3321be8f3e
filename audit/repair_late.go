package audit

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// markRepaired marks the late events of the snapshot, except checkouts that Kafka no longer holds
// and clicks that some shard had not read: that shard may yet find the click too late for a row of
// its own, and that row was not judged here.
//
// Invariant: an entry is closed when no row that it concerns can be wrong without another entry. So
// that of an event that was not late stays open until all that the event concerns is final. Such an
// event was dated far ahead of a clock: no restart reads such a click again, nothing corrects such
// a checkout.
func (v *verifyRun) markRepaired(ctx context.Context, tx pgx.Tx, out *RepairReport) error {
	var topics, ids []string
	var partitions []int32
	var offsets []int64
	flush := func() error {
		if len(topics) == 0 {
			return nil
		}
		tag, err := tx.Exec(ctx, `
			UPDATE firstclick.late AS l SET repaired_at = now()
			FROM unnest($2::text[], $3::text[], $4::int[], $5::bigint[]) AS n (topic, topic_id, partition, "offset")
			WHERE l.group_id = $1 AND l.topic = n.topic
			  AND l.topic_id = coalesce(nullif(n.topic_id, ''), repeat('0', 32))::uuid
			  AND l.partition = n.partition AND l."offset" = n."offset" AND l.repaired_at IS NULL`,
			v.cfg.Group, topics, ids, partitions, offsets)
		if err != nil {
			return fmt.Errorf("mark late events as repaired: %w", err)
		}
		out.Repaired += tag.RowsAffected()
		topics, ids, partitions, offsets = topics[:0], ids[:0], partitions[:0], offsets[:0]
		return nil
	}
	for n, err := range v.entries.items() {
		if err != nil {
			return err
		}
		log := v.logs[n.topic]
		switch {
		case n.kind != kindLate:
			continue
		case n.flags&(flagEarly|flagAhead) != 0 && !v.snap.finalAt(n.time+v.snap.window.Microseconds()):
			out.Ahead++ // not late: its rows may still come, and move
			continue
		case n.topic == topicCheckouts && !log.holds(n):
			out.Left++
			continue
		case n.topic == topicClicks && !v.snap.readByAll(n.partition, n.offset):
			out.Unread++
			continue
		}
		topics, ids = append(topics, log.name), append(ids, n.values[2].text)
		partitions, offsets = append(partitions, n.partition), append(offsets, n.offset)
		if len(topics) == repairBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// holds says whether Kafka may still hold the record of an entry.
func (t topicLog) holds(n *item) bool {
	if id := n.values[2].text; id != "" && id != t.id {
		return false
	}
	for _, p := range t.partitions {
		if p.partition == n.partition {
			return n.offset >= p.logStart
		}
	}
	return false
}
