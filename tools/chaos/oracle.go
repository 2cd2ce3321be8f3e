package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"firstclick/audit"
	"firstclick/internal/datagen"
	"firstclick/internal/kafkaconn"
)

// witnesses notes what no final state shows. A transaction that is rolled back takes its notes with it.
const witnesses = `
CREATE SCHEMA chaos;
CREATE TABLE chaos.witness (at timestamptz NOT NULL DEFAULT clock_timestamp(), what text NOT NULL, who text NOT NULL DEFAULT current_setting('application_name'), detail text NOT NULL);

CREATE FUNCTION chaos.see_offsets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.commits <> OLD.commits AND current_setting('application_name') IS DISTINCT FROM OLD.instance THEN
		INSERT INTO chaos.witness (what, detail) VALUES ('commit by another than the owner', format('partition %s, owner %s, commits %s', OLD.partition, OLD.instance, OLD.commits));
	END IF;
	IF NEW.commits NOT IN (OLD.commits, OLD.commits + 1) THEN
		INSERT INTO chaos.witness (what, detail) VALUES ('commits out of step', format('partition %s, %s to %s', OLD.partition, OLD.commits, NEW.commits));
	END IF;
	IF NEW.next_offset < OLD.next_offset OR NEW.watermark < OLD.watermark OR NEW.final_before < OLD.final_before THEN
		INSERT INTO chaos.witness (what, detail) VALUES ('a position went back', format('partition %s, offset %s to %s, watermark %s to %s, final before %s to %s', OLD.partition,
			OLD.next_offset, NEW.next_offset, OLD.watermark, NEW.watermark, OLD.final_before, NEW.final_before));
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER chaos AFTER UPDATE ON firstclick.offsets FOR EACH ROW EXECUTE FUNCTION chaos.see_offsets();

CREATE FUNCTION chaos.see_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP = 'DELETE' THEN
		INSERT INTO chaos.witness (what, detail) VALUES ('a row was deleted', OLD.checkout_id);
	ELSIF OLD.checkout_id LIKE 'sentinel-%' AND OLD.click_id IS DISTINCT FROM NEW.click_id THEN
		INSERT INTO chaos.witness (what, detail) VALUES ('a row was written without its click', format('%s: %s, then %s', OLD.checkout_id, OLD.click_id, NEW.click_id));
	ELSIF NEW.click_id IS NULL AND OLD.click_id IS NOT NULL OR (NEW.click_time, NEW.click_id COLLATE "C") > (OLD.click_time, OLD.click_id COLLATE "C") THEN
		INSERT INTO chaos.witness (what, detail) VALUES ('a row moved to a later click', format('%s: %s, then %s', OLD.checkout_id, OLD.click_id, NEW.click_id));
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER chaos AFTER UPDATE OR DELETE ON commerce.attributed_checkouts FOR EACH ROW EXECUTE FUNCTION chaos.see_rows();
`

// judge waits until everything that was fed is in Postgres, ends the instances, and holds what there is against what there should be.
// An error means that it could not.
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
	if err := w.runToTheEnd(ctx); err != nil {
		return err
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
			w.out.say("everything is in Postgres, %v after the last event", time.Since(began).Round(10*ms))
			return nil
		}
		if err == nil {
			last = behind
		}
		if time.Since(said) > 20*second { // what takes long is worth a look, also where it comes to a good end
			said = time.Now()
			first, _, _ := strings.Cut(last, "; ")
			w.out.say("still waiting: %s, and %d more", first, strings.Count(last, "; "))
		}
		if !pause(ctx, 250*ms) {
			w.blame("not everything is in Postgres after %v: %s (%v)", w.opts.drain, last, err)
			for _, s := range w.lasting() {
				w.out.say("instance %s\n%s", s.log, s.said(4))
			}
			return nil
		}
	}
}

// behind says what is not yet where it should be.
func (w *world) behind(ctx context.Context) (string, error) {
	ends, err := w.admin.ListEndOffsets(ctx, clicksTopic, checkoutsTopic)
	if err == nil {
		err = ends.Error()
	}
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
	err = w.withDatabase(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `SELECT partition, next_offset, clicks_next FROM firstclick.offsets WHERE group_id = $1`, group)
		if err != nil {
			return err
		}
		var partition int32
		var next int64
		var clicks []int64
		shards := 0
		_, err = pgx.ForEachRow(rows, []any{&partition, &next, &clicks}, func() error {
			shards++
			if end, _ := ends.Lookup(checkoutsTopic, partition); next != end.Offset {
				what = append(what, fmt.Sprintf("checkouts[%d] is at %d of %d", partition, next, end.Offset))
			}
			for p := range int32(clicksPartitions) {
				if end, _ := ends.Lookup(clicksTopic, p); int(p) >= len(clicks) || clicks[p] != end.Offset {
					what = append(what, fmt.Sprintf("shard %d has not all of clicks[%d], which ends at %d: %v", partition, p, end.Offset, clicks))
				}
			}
			return nil
		})
		if shards != checkoutsPartitions {
			what = append(what, fmt.Sprintf("%d shards are stored", shards))
		}
		if err != nil {
			return err
		}
		var names int64
		err = conn.QueryRow(ctx, `SELECT count(*) FROM firstclick.unknown_users JOIN commerce.users ON id = user_id`).Scan(&names)
		if names > 0 {
			what = append(what, fmt.Sprintf("%d names of users that exist are not filled in", names))
		}
		return err
	})
	slices.Sort(what)
	return strings.Join(what, "; "), err
}

// lookForRemains looks for what ended instances should have taken with them. Postgres may take a moment to notice.
func (w *world) lookForRemains(ctx context.Context) error {
	const look = `SELECT coalesce(string_agg(what, '; '), '') FROM (
		SELECT format('replication slot %s', slot_name) AS what FROM pg_replication_slots
		UNION ALL SELECT format('session of %s (%s, %s)', application_name, state, left(query, 60)) FROM pg_stat_activity WHERE application_name LIKE 'chaos-%'
		UNION ALL SELECT format('instance %s', instance) FROM firstclick.instances WHERE heartbeat_at > now() - interval '5 seconds'
		UNION ALL SELECT format('shard %s is still owned by %s', partition, instance) FROM firstclick.offsets WHERE owner IS NOT NULL) t`
	remains := ""
	for deadline := time.Now().Add(20 * second); time.Now().Before(deadline) && pause(ctx, 200*ms); {
		err := w.withDatabase(ctx, func(conn *pgx.Conn) error { return conn.QueryRow(ctx, look).Scan(&remains) })
		if err != nil {
			return fmt.Errorf("look for what is left: %w", err)
		}
		if remains == "" {
			return nil
		}
	}
	w.blame("left behind by instances that have ended: %s", remains)
	return ctx.Err()
}

// runToTheEnd lets one more instance run: with nothing to do it has to end at once, and to change nothing.
func (w *world) runToTheEnd(ctx context.Context) error {
	s := &slot{w: w, number: 9}
	p, err := s.run("--until-caught-up")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, w.opts.drain)
	defer cancel()
	if p.Wait(ctx) != nil {
		w.blame("run --until-caught-up does not end\n%s", s.said(5))
		return errors.Join(p.Signal(syscall.SIGKILL), p.Wait(context.Background()))
	}
	if err := p.Result(); err != nil {
		w.blame("run --until-caught-up ended with %v\n%s", err, s.said(5))
	}
	return nil
}

func (w *world) auditConfig() audit.Config {
	return audit.Config{
		Kafka: kafkaconn.Config{Brokers: []string{w.kafka.Addr}}, Database: w.database, ClicksTopic: clicksTopic, CheckoutsTopic: checkoutsTopic,
		Group: group, TempDir: w.dir, Logger: w.log,
	}
}

// verify recomputes everything.
func (w *world) verify(ctx context.Context, _ *fed) error {
	r, err := audit.Verify(ctx, w.auditConfig())
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if err := w.keepReport("verify.txt", r); err != nil {
		return err
	}
	w.out.say("verify: %d clicks, %d checkouts (%d duplicates), %d rows, %d with a click; missing %d, extra %d, different %d; %d came too late and are noted as such",
		r.Clicks, r.Checkouts, r.Duplicates, r.Rows, r.Attributed, r.Missing, r.Extra, r.Different, r.Explained)
	if !r.OK() || r.Pending() != 0 || r.Unverifiable != 0 && !w.opts.expire {
		var text strings.Builder
		_, _ = r.WriteTo(&text)
		w.blame("verify:\n%s", text.String())
	}
	return nil
}

func (w *world) keepReport(name string, r *audit.Report) error {
	file, err := os.Create(w.dir + "/logs/" + name)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = r.WriteTo(file)
	return err
}

// repair mends what came too late, and then nothing may differ any more.
func (w *world) repair(ctx context.Context) error {
	done, err := audit.Repair(ctx, w.auditConfig())
	if err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	w.out.say("repair: %d late events, %d rows moved", done.Late, done.Moved)
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
	var rows, ids, bare int64
	err := w.withDatabase(ctx, func(conn *pgx.Conn) error {
		found, err := conn.Query(ctx, `SELECT topic, reason, count(*) FROM firstclick.dead_letters WHERE group_id = $1 GROUP BY 1, 2`, group)
		if err != nil {
			return err
		}
		var l datagen.Letter
		var n int64
		if _, err := pgx.ForEachRow(found, []any{&l.Topic, &l.Reason, &n}, func() error { there[l] = n; return nil }); err != nil {
			return err
		}
		return conn.QueryRow(ctx, `SELECT count(*), count(DISTINCT checkout_id),
			count(*) FILTER (WHERE checkout_id LIKE $1 || '%' AND click_id IS DISTINCT FROM 'click-' || substr(checkout_id, length($1) + 1))
			FROM commerce.attributed_checkouts`, sentinelPrefix).Scan(&rows, &ids, &bare)
	})
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
	return w.withDatabase(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `SELECT what, count(*), (array_agg(format('%s by %s: %s', at, who, detail) ORDER BY at))[1:3]::text FROM chaos.witness GROUP BY what`)
		if err != nil {
			return fmt.Errorf("hear the witnesses: %w", err)
		}
		var what, examples string
		var n int64
		_, err = pgx.ForEachRow(rows, []any{&what, &n, &examples}, func() error {
			w.blame("%s: %d times: %s", what, n, examples)
			return nil
		})
		return err
	})
}
