package main

import (
	"context"
	_ "embed" // witnesses.sql
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"firstclick/audit"
	"firstclick/internal/datagen"
	"firstclick/internal/kafkaconn"
	"firstclick/tools/testbed"
)

// witnesses are triggers that note what no final state shows.
//
//go:embed witnesses.sql
var witnesses string

// judge waits until everything that was fed is in Postgres, ends the instances, and holds what
// there is against what there should be. An error means that it could not.
func (w *world) judge(ctx context.Context, f *fed) error {
	if err := w.drain(ctx); err != nil {
		return err
	}
	for _, s := range w.lasting() {
		if err := s.stop(); err != nil {
			return err
		}
	}
	if err := w.lookForRemains(ctx); err != nil {
		return err
	}
	// One more instance has nothing to do: it has to end at once, and to change nothing.
	last := &slot{w: w, number: 9}
	if code, err := last.runAlone(ctx, "--until-caught-up"); err != nil {
		return err
	} else if code > 0 {
		w.blame("run --until-caught-up ended with exit code %d\n%s", code, last.said(5))
	}
	for _, look := range []func(context.Context, *fed) error{w.verify, w.compareCounts, w.hearWitnesses} {
		if err := look(ctx, f); err != nil {
			return err
		}
	}
	return w.repair(ctx)
}

// drain waits until the stored offsets are the ends.
func (w *world) drain(ctx context.Context) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, w.opts.drain)
	defer cancel()
	last, said := "nothing stored", began
	for {
		behind, err := w.behind(ctx)
		if err == nil && behind == "" {
			w.out.Say("everything is in Postgres, %v after the last event", time.Since(began).Round(10*ms))
			return nil
		}
		if err == nil {
			last = behind
		}
		if time.Since(said) > 20*second { // what takes long is worth a look, also where it comes to a good end
			said = time.Now()
			first, _, _ := strings.Cut(last, "; ")
			w.out.Say("still waiting: %s, and %d more", first, strings.Count(last, "; "))
		}
		if !testbed.Pause(ctx, 250*ms) {
			w.blame("not everything is in Postgres after %v: %s (%v)", w.opts.drain, last, err)
			for _, s := range w.lasting() {
				w.out.Say("instance %s\n%s", s.log, s.said(4))
			}
			return nil
		}
	}
}

// behind says what is not yet where it should be.
func (w *world) behind(ctx context.Context) (string, error) {
	ends, err := testbed.Ends(ctx, w.admin, clicksTopic, checkoutsTopic)
	if err != nil {
		return "", err
	}
	stable, err := w.admin.ListCommittedOffsets(ctx, clicksTopic, checkoutsTopic)
	if err == nil {
		err = stable.Error()
	}
	if err != nil {
		return "", err
	}
	var what []string
	for topic, partitions := range ends {
		for p, end := range partitions {
			if o, _ := stable.Lookup(topic, p); o.Offset != end.Offset {
				what = append(what, fmt.Sprintf("a transaction is open in %s[%d]", topic, p))
			}
		}
	}
	var partition int32
	var next, shards, names int64
	var clicks []int64
	err = w.db.Rows(ctx, `SELECT partition, next_offset, clicks_next FROM firstclick.offsets WHERE group_id = $1`,
		[]any{group}, []any{&partition, &next, &clicks}, func() error {
			shards++
			if end, _ := ends.Lookup(checkoutsTopic, partition); next != end.Offset {
				what = append(what, fmt.Sprintf("checkouts[%d] is at %d of %d", partition, next, end.Offset))
			}
			for p := range int32(clicksPartitions) {
				if end, _ := ends.Lookup(clicksTopic, p); int(p) >= len(clicks) || clicks[p] != end.Offset {
					what = append(what, fmt.Sprintf("shard %d has not all of clicks[%d], which ends at %d: %v",
						partition, p, end.Offset, clicks))
				}
			}
			return nil
		})
	if err == nil {
		const unnamed = `SELECT count(*) FROM firstclick.unknown_users JOIN commerce.users ON id = user_id`
		err = w.db.Row(ctx, unnamed, nil, &names)
	}
	if shards != checkoutsPartitions {
		what = append(what, fmt.Sprintf("%d shards are stored", shards))
	}
	if names > 0 {
		what = append(what, fmt.Sprintf("%d names of users that exist are not filled in", names))
	}
	slices.Sort(what)
	return strings.Join(what, "; "), err
}

// lookForRemains looks for what ended instances should have taken with them. Postgres may take a
// moment to notice.
func (w *world) lookForRemains(ctx context.Context) error {
	const look = `SELECT coalesce(string_agg(what, '; '), '') FROM (
		SELECT format('replication slot %s', slot_name) AS what FROM pg_replication_slots
		UNION ALL SELECT format('session of %s (%s, %s)', application_name, state, left(query, 60)) FROM
			pg_stat_activity WHERE application_name LIKE 'chaos-%'
		UNION ALL SELECT format('instance %s', instance) FROM firstclick.instances WHERE heartbeat_at > now() -
			interval '5 seconds'
		UNION ALL SELECT format('shard %s is still owned by %s', partition, instance) FROM firstclick.offsets WHERE
			owner IS NOT NULL) t`
	remains := ""
	for deadline := time.Now().Add(20 * second); time.Now().Before(deadline) && testbed.Pause(ctx, 200*ms); {
		if err := w.db.Row(ctx, look, nil, &remains); err != nil {
			return fmt.Errorf("look for what is left: %w", err)
		}
		if remains == "" {
			return nil
		}
	}
	w.blame("left behind by instances that have ended: %s", remains)
	return ctx.Err()
}

func (w *world) auditConfig() audit.Config {
	return audit.Config{
		Kafka: kafkaconn.Config{Brokers: []string{w.kafka.Addr}}, Database: w.db.DSN, ClicksTopic: clicksTopic,
		CheckoutsTopic: checkoutsTopic,
		Group:          group, TempDir: w.dir, Logger: w.log,
	}
}

// verify recomputes everything.
func (w *world) verify(ctx context.Context, _ *fed) error {
	r, err := audit.Verify(ctx, w.auditConfig())
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	var text strings.Builder
	_, _ = r.WriteTo(&text)
	if err := os.WriteFile(w.dir+"/logs/verify.txt", []byte(text.String()), 0o600); err != nil {
		return err
	}
	w.out.Say("verify: %d clicks, %d checkouts (%d duplicates), %d rows, %d with a click; missing %d, extra %d, "+
		"different %d; %d came too late and are noted as such",
		r.Clicks, r.Checkouts, r.Duplicates, r.Rows, r.Attributed, r.Missing, r.Extra, r.Different, r.Explained)
	if !r.OK() || r.Pending() != 0 || r.Unverifiable != 0 && !w.opts.expire {
		w.blame("verify:\n%s", text.String())
	}
	return nil
}

// repair mends what came too late, and then nothing may differ any more.
func (w *world) repair(ctx context.Context) error {
	done, err := audit.Repair(ctx, w.auditConfig())
	if err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	w.out.Say("repair: %d late events, %d rows moved", done.Late, done.Moved)
	r, err := audit.Verify(ctx, w.auditConfig())
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if !r.OK() || r.Explained != 0 || r.ExpectedDigest != r.ActualDigest {
		var text strings.Builder
		_, _ = r.WriteTo(&text)
		w.blame("verify after repair:\n%s", text.String())
	}
	return nil
}

// compareCounts holds rows and dead letters against what was sent.
func (w *world) compareCounts(ctx context.Context, f *fed) error {
	there := map[datagen.Letter]int64{}
	var letter datagen.Letter
	var letters, rows, ids, bare int64
	err := w.db.Rows(ctx,
		`SELECT topic, reason, count(*) FROM firstclick.dead_letters WHERE group_id = $1 GROUP BY 1, 2`,
		[]any{group}, []any{&letter.Topic, &letter.Reason,
			&letters}, func() error { there[letter] = letters; return nil })
	if err == nil {
		err = w.db.Row(ctx, `SELECT count(*), count(DISTINCT checkout_id), count(*) FILTER (WHERE checkout_id LIKE $1
			|| '%'
				AND click_id IS DISTINCT FROM 'click-' || substr(checkout_id, length($1) + 1))
			FROM commerce.attributed_checkouts`, []any{sentinelPrefix}, &rows, &ids, &bare)
	}
	if err != nil {
		return fmt.Errorf("count rows and dead letters: %w", err)
	}
	for l, n := range f.dead {
		if there[l] != n {
			w.blame("%d dead letters of %s for %q, %d were sent", there[l], l.Topic, l.Reason, n)
		}
	}
	for l, n := range there {
		if f.dead[l] == 0 {
			w.blame("%d dead letters of %s for %q, none was sent", n, l.Topic, l.Reason)
		}
	}
	if bare > 0 {
		w.blame("%d rows of sentinels have not their click", bare)
	}
	if rows != ids {
		w.blame("%d rows for %d checkout_ids", rows, ids)
	}
	if most := f.rows + 4*f.unsure; rows < f.rows || rows > most {
		w.blame("%d rows for %d checkouts (to %d: transactions in doubt)", rows, f.rows, most)
	}
	return nil
}

func (w *world) hearWitnesses(ctx context.Context, _ *fed) error {
	var what, examples string
	var n int64
	return w.db.Rows(ctx, `SELECT what, count(*), (array_agg(format('%s by %s: %s', at, who, detail) ORDER BY
		at))[1:3]::text
			FROM chaos.witness GROUP BY what`,
		nil, []any{&what, &n, &examples}, func() error { w.blame("%s: %d times: %s", what, n, examples); return nil })
}
