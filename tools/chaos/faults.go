package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"firstclick/tools/testbed"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// fault is one way in which things break.
type fault struct {
	name        string
	weight      int
	least, most time.Duration // between do and heal

	do     func(l *lane) error                      // breaks it
	during func(ctx context.Context, l *lane) error // goes on until ctx ends; nil: nothing happens meanwhile
	heal   func(l *lane) error                      // mends it; nil: it mends by itself
}

// lane breaks and mends one part of the world, one fault at a time.
type lane struct {
	world  *world
	name   string
	random *rand.Rand
	faults []fault
	slot   *slot // what the fault under way is at
}

func newLanes(w *world) []*lane {
	server := serverFaults()
	if w.opts.disk {
		server = append(server, fault{
			name: "disk full", weight: 3, least: 3 * second, most: 10 * second,
			do:   func(l *lane) error { return l.world.disk.fill() },
			heal: func(l *lane) error { return os.Remove(l.world.disk.ballast()) },
		})
	}
	type table struct {
		name   string
		stream uint64 // of the random source: a lane that is added leaves the others' draws as they are
		faults []fault
	}
	tables := []table{
		{"instances", 0, instanceFaults(&w.opts)},
		{"kafka", 1, append(brokerFaults(), networkFaults("network to Kafka",
			func(w *world) *link { return w.toKafka })...)},
		{"postgres", 2, append(server, networkFaults("network to Postgres",
			func(w *world) *link { return w.toServer })...)},
		{"shop", 4, shopFaults()},
	}
	if w.opts.expire {
		expire := func(l *lane) error { l.world.expire(l.name); return nil }
		tables = append(tables, table{"retention", 3,
			[]fault{{name: "records before the restore points deleted", weight: 1, do: expire}}})
	}
	var lanes []*lane
	for _, t := range tables {
		l := &lane{world: w, name: t.name, random: rand.New(rand.NewPCG(w.opts.seed, t.stream))}
		for _, f := range t.faults {
			if slices.ContainsFunc(strings.Split(w.opts.only, ","),
				func(part string) bool { return strings.Contains(f.name, part) }) {
				l.faults = append(l.faults, f)
			}
		}
		if len(l.faults) > 0 && !w.opts.quiet {
			lanes = append(lanes, l)
		}
	}
	return lanes
}

// run breaks and mends until ctx ends. An error is the suite's own.
func (l *lane) run(ctx context.Context) error {
	for testbed.Pause(ctx, between(l.random, 500*ms, l.world.opts.pause)) {
		if err := l.one(ctx, l.choose()); err != nil {
			return err
		}
	}
	return nil
}

func (l *lane) choose() fault {
	sum := 0
	for _, f := range l.faults {
		sum += f.weight
	}
	n := l.random.IntN(sum)
	for _, f := range l.faults {
		if n -= f.weight; n < 0 {
			return f
		}
	}
	panic("weights and their sum disagree")
}

func (l *lane) one(ctx context.Context, f fault) error {
	lasts := between(l.random, f.least, f.most)
	began := time.Now()
	l.world.count("fault: " + f.name)
	if f.do != nil {
		if err := f.do(l); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	at := ""
	if l.name == "instances" && l.slot != nil && f.during == nil {
		at = fmt.Sprintf(" (slot %d)", l.slot.number)
	}
	l.world.out.Say("%-9s | %s%s, for %v", l.name, f.name, at, lasts.Round(10*ms))
	ctx, cancel := context.WithTimeout(ctx, lasts)
	defer cancel()
	if f.during != nil {
		if err := f.during(ctx, l); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	<-ctx.Done()
	if f.heal == nil {
		return nil
	}
	if err := f.heal(l); err != nil {
		return fmt.Errorf("mend %s: %w", f.name, err)
	}
	l.world.out.Say("%-9s | %s: over after %v", l.name, f.name, time.Since(began).Round(10*ms))
	return nil
}

// between draws from [least, most].
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)+1))
}

func brokerFaults() []fault {
	return []fault{
		{
			name: "broker SIGKILL", weight: 3, least: 0, most: 3 * second,
			do:   func(l *lane) error { return l.world.kafka.Kill() },
			heal: func(l *lane) error { return l.world.kafka.Restart(context.Background()) },
		},
		{
			name: "broker SIGSTOP", weight: 2, least: 1 * second, most: 6 * second,
			do:   func(l *lane) error { return l.world.kafka.Pause() },
			heal: func(l *lane) error { return l.world.kafka.Resume() },
		},
	}
}

func serverFaults() []fault {
	run := func(statement string) func(*lane) error {
		return func(l *lane) error { return l.sql(statement, "done") }
	}
	end := func(what, where string) func(*lane) error {
		return func(l *lane) error {
			return l.sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE `+
				`'chaos-%' AND `+where, what)
		}
	}
	return []fault{
		{
			name: "Postgres immediate restart", weight: 2, least: 0, most: 2 * second,
			do:   func(l *lane) error { return l.world.postgres.Kill() },
			heal: func(l *lane) error { return l.world.postgres.Restart(context.Background()) },
		},
		{name: "sink sessions terminated", weight: 3, do: end("sink sessions", `application_name NOT LIKE '% %'`)},
		{name: "name readers terminated", weight: 1, do: end("name readers", `application_name LIKE '% names'`)},
		{name: "walsenders terminated", weight: 2, do: end("walsenders", `backend_type = 'walsender'`)},
		{name: "publication dropped", weight: 1, do: run(`DROP PUBLICATION IF EXISTS firstclick_users`)},
		{name: "publication altered", weight: 1, do: run(`DO $$ BEGIN
			IF EXISTS (SELECT FROM pg_publication_tables WHERE pubname = 'firstclick_users') THEN ALTER PUBLICATION
				firstclick_users DROP TABLE commerce.users; END IF; END $$`)},
		{name: "users table rewritten", weight: 1, do: run(`VACUUM FULL commerce.users`)},
		// Postgres refuses while the column is published
		{name: "users table altered", weight: 1, do: run(`DROP PUBLICATION IF EXISTS firstclick_users; ` +
			`ALTER TABLE commerce.users ALTER username TYPE text; ALTER TABLE commerce.users ALTER username TYPE ` +
			`varchar(255)`)},
		{name: "target table locked", weight: 3, do: lock("commerce.attributed_checkouts")},
		{name: "offsets locked", weight: 1, do: lock("firstclick.offsets")},
	}
}

// sql runs one statement. That the shop has dropped its users just now is no fault of the suite.
func (l *lane) sql(statement, what string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*second)
	defer cancel()
	return l.world.db.With(ctx, func(conn *pgx.Conn) error {
		tag, err := conn.Exec(ctx, statement)
		if err == nil {
			l.world.out.Say("%-9s | %s: %d", l.name, what, tag.RowsAffected())
		}
		var refused *pgconn.PgError
		if errors.As(err, &refused) && refused.Code == "42P01" && strings.Contains(refused.Message, "commerce.users") {
			l.world.out.Say("%-9s | not done: %s", l.name, refused.Message)
			return nil
		}
		return err
	})
}

// lock holds a table for 10 s.
func lock(table string) func(*lane) error {
	return func(l *lane) error {
		ctx, cancel := context.WithTimeout(context.Background(), 60*second)
		defer cancel()
		return l.world.db.With(ctx, func(conn *pgx.Conn) error {
			tx, err := conn.Begin(ctx)
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "LOCK TABLE "+table+" IN ACCESS EXCLUSIVE MODE"); err != nil {
				return err
			}
			l.world.out.Say("%-9s | %s is locked", l.name, table)
			testbed.Pause(ctx, 10*second)
			return tx.Rollback(ctx)
		})
	}
}
