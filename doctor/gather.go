package doctor

import (
	"context"
	"slices"
	"sync"
	"time"

	"firstclick/internal/kafkagroup"
	"firstclick/migrations"
)

// gatherer gathers the facts of both sides.
type gatherer struct {
	kafka    *kafka
	postgres *postgres
}

// gather gathers all facts of the sides that were reached.
func (g *gatherer) gather(ctx context.Context, f *facts) {
	k, p, within := g.kafka, g.postgres, f.cfg.factsWithin
	var all sync.WaitGroup
	if f.sides&kafkaSide != 0 {
		all.Go(func() {
			f.runAll(ctx, within, map[string]query{
				"versions":        into(&f.versions, k.versions),
				"brokers":         into(&f.advertised, k.advertised),
				"topic settings":  into(&f.configs, k.configs),
				"log directories": into(&f.dirs, k.logDirs),
			})
		})
	}
	if f.sides&postgresSide != 0 {
		all.Go(func() {
			f.runAll(ctx, within, map[string]query{
				"server":                 into(&f.server, p.server),
				"prepared transactions":  into(&f.prepared, p.prepared),
				"replication setup":      into(&f.setup, p.setup),
				"replication connection": into(&f.replicator, p.replicator),
				"clock":                  into(&f.clock, withConn(p, p.clock)),
				"migrations":             into(&f.migrations, p.migrations),
				"tables":                 into(&f.dropped, withConn(p, migrations.Missing)),
				"table":                  into(&f.columns, p.columns),
				"sink":                   p.checkTable(&f.table),
				"permissions":            into(&f.grants, p.grants),
				"sessions":               into(&f.foreign, p.foreignSessions),
			})
		})
	}
	all.Go(func() {
		g.positions(ctx, f)
		oldest, newest, next := f.recordsToRead()
		if f.sides&kafkaSide != 0 {
			f.runAll(ctx, within, map[string]query{
				"oldest records": into(&f.oldest, k.timesAt(oldest)),
				"newest records": into(&f.newest, k.timesAt(newest)),
			})
		}
		if f.sides == bothSides {
			f.run(ctx, recordWithin, "next records", into(&f.next, k.timesAt(next)))
		}
	})
	all.Wait()
}

// positions gathers what instances change meanwhile. Starts and ends of logs only grow, and so do
// the stored positions. A partition gets its row before its first record is read, and keeps it.
// Hence
//
//	start of a log <= stored position <= end of the log
//	partitions of the group's members <= partitions with a row
//
// hold for what is seen here, whatever happens in between, because the smaller one is read first.
// Invariant: positions of both systems are read nowhere else.
func (g *gatherer) positions(ctx context.Context, f *facts) {
	k, within := g.kafka, f.cfg.factsWithin
	if f.sides&kafkaSide != 0 {
		f.run(ctx, within, "metadata", into(&f.metadata, k.metadata))
		f.run(ctx, within, "group", into(&f.group, k.group))
		f.run(ctx, within, "log starts", into(&f.starts, k.starts))
	}
	database := ""
	if f.sides&postgresSide != 0 {
		f.run(ctx, within, "stored group", into(&f.stored, g.postgres.stored))
		f.run(ctx, within, "database", into(&database, withConn(g.postgres, kafkagroup.DatabaseOf)))
	}
	if f.sides&kafkaSide != 0 {
		f.run(ctx, within, "log ends", into(&f.ends, k.ends))
		topic := f.cfg.CheckoutsTopic
		partitions := len(f.metadata.Topics[topic].Partitions)
		f.members = kafkagroup.Classify(f.group, database, topic, partitions)
	}
}

// secondLookAfter is how long after the first look the second one is taken.
const secondLookAfter = 300 * time.Millisecond

// lookAgain gathers the positions once more if a finding needs a second look; else it returns nil.
func (g *gatherer) lookAgain(ctx context.Context, f *facts) *facts {
	if f.sides != bothSides || !slices.ContainsFunc(checks(), func(c check) bool {
		return c.sides == bothSides && c.findings(f).any(needsSecondLook)
	}) {
		return nil
	}
	select {
	case <-ctx.Done():
	case <-time.After(secondLookAfter):
	}
	again := &facts{cfg: f.cfg, sides: f.sides}
	g.positions(ctx, again)
	return again
}

// confirmed drops findings that need a second look, unless it shows them too.
func confirmed(first findings, again *facts, c check) (found findings) {
	second := c.findings(again)
	for _, f := range first {
		seen := second.any(func(s Finding) bool { return s.subject == f.subject })
		switch {
		case needsSecondLook(f) && len(again.errs) > 0:
			f.Status, f.Text = Warn, f.Text+" (a second look was not possible)"
		case needsSecondLook(f) && !seen:
			continue
		}
		found = append(found, f)
	}
	if found == nil {
		return slices.DeleteFunc(second, needsSecondLook)
	}
	return found
}
