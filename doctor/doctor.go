package doctor

import (
	"context"
	"os"
	"slices"
	"sync"
	"time"

	"firstclick/cdc"
	"firstclick/internal/kafkaconn"
)

// Deadlines. In the worst case a report takes their sum.
const (
	reachWithin  = 4500 * time.Millisecond // all addresses of a side, in parallel
	factsWithin  = 3 * time.Second         // all facts of a side, in parallel
	recordWithin = 2 * time.Second         // the records at the stored offsets
)

// Config says what to examine. Window, Lateness, OutOfOrder, MaxSkew and Zone are those that a run
// would be given: they are compared with the stored ones.
type Config struct {
	Kafka          kafkaconn.Config
	Database       string // connection string as pgsession reads it
	Replication    string // that of the role that replicates; empty: Database
	ClicksTopic    string
	CheckoutsTopic string
	Group          string
	Window         time.Duration
	Lateness       time.Duration
	OutOfOrder     time.Duration
	MaxSkew        time.Duration
	Zone           *time.Location
	Now            func() time.Time // nil: time.Now

	// For tests.
	reachWithin, factsWithin time.Duration // 0: the constants
	diskOf                   func(path string) (disk, error)
	readFile                 func(path string) ([]byte, error)
}

func (c Config) topics() []string { return []string{c.ClicksTopic, c.CheckoutsTopic} }

// side is one of the two systems; a set of them is their sum.
type side int

const (
	kafkaSide side = 1 << iota
	postgresSide
	bothSides = kafkaSide | postgresSide
)

// check turns facts into findings: one or more, or none if there is nothing to say. It runs if its
// sides were reached. It fails if cdc.Check found one of its problems, and warns if one of its
// facts could not be gathered.
type check struct {
	name    string
	sides   side
	problem cdc.Problem
	facts   []string
	run     func(*facts) findings
}

func (c check) findings(f *facts) findings {
	if found := f.setupProblem(c.problem); found != nil {
		return found
	}
	if unknown := f.unknown(c.facts...); unknown != nil {
		return unknown
	}
	return c.run(f)
}

func checks() []check {
	return []check{
		{"kafka version", kafkaSide, "", []string{"versions"}, kafkaVersion},
		{"kafka brokers", kafkaSide, "", []string{"metadata", "brokers"}, advertisedAddresses},
		{"topics", kafkaSide, "", []string{"metadata"}, topics},
		{"replication", kafkaSide, "", []string{"metadata", "topic settings"}, replicas},
		{"retention", kafkaSide, "", []string{"topic settings"}, retention},
		{"record times", kafkaSide, "", nil, recordTimes},
		{"kafka disk", kafkaSide, "", nil, kafkaDisk},
		{"postgres version", postgresSide, cdc.ProblemVersion, []string{"server"}, postgresVersion},
		{"writable", postgresSide, cdc.ProblemStandby, []string{"server"}, writable},
		{"wal_level", postgresSide, cdc.ProblemWALLevel, []string{"server", "replication setup"}, walLevel},
		{"slots", postgresSide, "", []string{"server", "prepared transactions", "replication setup"}, slots},
		{"slot limit", postgresSide, "", []string{"server"}, slotLimit},
		{"senders", postgresSide, "", []string{"server", "replication setup"}, senders},
		{"replication right", postgresSide, cdc.ProblemReplication, []string{"replication setup", "server"},
			mayReplicate},
		{"users", postgresSide, "", []string{"replication setup"}, users},
		{"publication", postgresSide, cdc.ProblemPublication, []string{"replication setup", "server"}, publication},
		{"connections", postgresSide, "", []string{"server"}, connections},
		{"migrations", postgresSide, "", []string{"migrations", "tables"}, migrated},
		{"columns", postgresSide, "", []string{"table"}, columns},
		{"amounts", postgresSide, "", nil, amounts},
		{"permissions", postgresSide, "", []string{"permissions"}, permissions},
		{"takeover", postgresSide, "", []string{"sessions"}, takeover},
		{"postgres clock", postgresSide, "", []string{"clock"}, postgresClock},
		{"postgres disk", postgresSide, "", []string{"server"}, postgresDisk},
		{"settings", postgresSide, "", []string{"stored group"}, settings},
		{"instances", postgresSide, "", []string{"stored group"}, instances},
		{"group", bothSides, "", nil, group},
		{"offsets", bothSides, "", []string{"stored group", "metadata", "log starts", "log ends"}, offsets},
	}
}

// Run examines both sides. It returns within ten seconds, sooner when ctx ends. What was not
// answered by then is in the report as such.
func Run(ctx context.Context, cfg Config) *Report {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.reachWithin == 0 {
		cfg.reachWithin, cfg.factsWithin = reachWithin, factsWithin
	}
	if cfg.diskOf == nil {
		cfg.diskOf, cfg.readFile = diskOf, os.ReadFile
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.reachWithin+cfg.factsWithin+recordWithin)
	defer cancel()
	kafka, kafkaErr := newKafka(cfg)
	defer kafka.close()
	postgres, postgresErr := newPostgres(cfg)
	defer postgres.close()

	var brokers, servers findings
	var both sync.WaitGroup
	both.Go(func() { brokers = kafka.reach(ctx, kafkaErr) })
	both.Go(func() { servers = postgres.reach(ctx, postgresErr) })
	both.Wait()
	f := &facts{cfg: cfg}
	if brokers.any(isOK) {
		f.sides |= kafkaSide
	}
	if servers.any(isOK) {
		f.sides |= postgresSide
	}
	g := &gatherer{kafka: kafka, postgres: postgres}
	g.gather(ctx, f)
	again := g.lookAgain(ctx, f)

	report := &Report{}
	report.add("kafka", brokers)
	report.add("postgres", servers)
	unseen := 0
	for _, c := range checks() {
		if f.sides&c.sides != c.sides {
			unseen++
			continue
		}
		found := c.findings(f)
		if again != nil && c.sides == bothSides {
			found = confirmed(found, again, c)
		}
		report.add(c.name, found)
	}
	if unseen > 0 {
		report.add("unseen", findings{}.warn("", "%d checks need what was not reached: mend that first", unseen))
	}
	return report
}

// reachAll probes the addresses of a side in parallel. One that answers is enough to begin with:
// then the others' failures are warnings.
func reachAll[A any](addresses []A, probe func(A) findings) (found findings) {
	each := make([]findings, len(addresses))
	var group sync.WaitGroup
	for i, address := range addresses {
		group.Go(func() { each[i] = probe(address) })
	}
	group.Wait()
	found = slices.Concat(each...)
	for i := range found {
		if found[i].Status == Fail && found.any(isOK) {
			found[i].Status = Warn
		}
	}
	return found
}
