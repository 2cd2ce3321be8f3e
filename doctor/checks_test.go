package doctor

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"firstclick/cdc"
	"firstclick/internal/kafkagroup"
	"firstclick/migrations"
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// sound is a healthy system: two topics of two partitions, and a group at work.
func sound() *facts {
	config := configFor([]string{"k:9092"}, "")
	config.Now = func() time.Time { return noon }
	config.readFile = func(string) ([]byte, error) { return nil, errors.New("not here") }
	config.diskOf = func(string) (disk, error) { return disk{free: 50, total: 100}, nil }
	f := &facts{
		cfg: config, errs: map[string]error{},

		versions: map[int32]string{1: "v4.0"}, advertised: map[string]error{"k:9092": nil},
		metadata: kadm.Metadata{Brokers: make(kadm.BrokerDetails, 3), Topics: kadm.TopicDetails{}},
		starts:   map[topicPartition]int64{}, ends: map[topicPartition]int64{}, configs: map[string]map[string]string{},
		group:   kadm.DescribedGroup{State: "Stable", Members: make([]kadm.DescribedGroupMember, 1)},
		members: kafkagroup.Members{Stable: true, Ours: 1},
		dirs:    []kadm.DescribedLogDir{{Broker: 1, Dir: "d", TotalBytes: 1000, UsableBytes: 500}},
		newest:  map[topicPartition]time.Time{}, oldest: map[topicPartition]time.Time{},
		next: map[topicPartition]time.Time{},

		server: server{
			Version: "17.0", Encoding: "UTF8", Role: "app", Database: "shop", WALLevel: "logical", MaxSlots: 10,
			MaxSenders: 10, MaxSessions: 97, RoleLimit: -1, DBLimit: -1, Published: true, Identity: "d", Size: 5 << 20,
		},
		columns: []column{
			{"checkout_id", "varchar", "character varying", -1},
			{"total_amount", "numeric", "numeric(12,2)", 12<<16 + 2 + 4},
			{"click_time", "timestamp", "timestamp without time zone", -1},
		},
		migrations: []migrations.FileStatus{{Version: 1, File: "a.sql", Applied: noon}},
		stored: stored{
			progress: &progress{
				ClicksTopic: "clicks", CheckoutsTopic: "checkouts",
				ClicksTopicID: [16]byte{1}, CheckoutsTopicID: [16]byte{2}, Window: time.Hour,
				Lateness:   15 * time.Minute,
				OutOfOrder: 15 * time.Second, Zone: "UTC", ClicksStart: []int64{0, 0}, CheckoutsStart: []int64{0, 0},
			},
			shards: []shard{
				{Partition: 0, Next: 150, ClicksNext: []int64{150, 200}, Instance: "i"},
				{Partition: 1, Next: 200, ClicksNext: []int64{150, 200}, Instance: "i"},
			},
			instances: []instance{{Name: "i", Host: "h", PID: 7}},
		},
	}
	for i, name := range []string{"clicks", "checkouts"} {
		t := kadm.TopicDetail{Topic: name, ID: kadm.TopicID{byte(i + 1)}, Partitions: kadm.PartitionDetails{}}
		for p := range int32(2) {
			t.Partitions[p] = kadm.PartitionDetail{
				Topic: name, Partition: p, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3},
			}
			f.starts[topicPartition{name, p}], f.ends[topicPartition{name, p}] = 100, 200
			f.newest[topicPartition{name, p}] = noon.Add(-time.Second)
		}
		f.metadata.Topics[name] = t
		f.configs[name] = map[string]string{
			"retention.ms": "604800000", "retention.bytes": "-1", "cleanup.policy": "delete",
			"min.insync.replicas": "2",
		}
	}
	return f
}

// bounded makes clicks a topic of this age and size that has not met its bound in bytes yet.
func bounded(f *facts, age time.Duration, size int64) {
	f.configs["clicks"]["retention.ms"], f.configs["clicks"]["retention.bytes"] = "-1", "2097152"
	f.stored.progress.Window = 4 * time.Hour
	f.starts[topicPartition{"clicks", 0}], f.starts[topicPartition{"clicks", 1}] = 0, 0
	f.oldest[topicPartition{"clicks", 0}] = noon.Add(-age)
	f.dirs[0].Topics = kadm.DescribedLogDirTopics{"clicks": {0: {Size: size}}}
}

func TestChecks(t *testing.T) {
	for _, c := range []struct {
		name   string
		check  string
		change func(*facts)
		status Status
		says   []string
	}{
		{"old Kafka", "kafka version", func(f *facts) { f.versions[1] = "v2.7" }, Warn,
			[]string{"no ids", "2.8"}},
		{"advertised in vain", "kafka brokers",
			func(f *facts) { f.advertised["kafka:9092"] = errors.New("no address") }, Fail,
			[]string{"kafka:9092", "advertised.listeners"}},
		{"more instances than partitions", "topics", func(f *facts) { f.members.Ours = 3 }, Warn,
			[]string{"checkouts: 2 partitions for 3", "--alter --topic checkouts --partitions 3"}},
		{"no leader", "topics", func(f *facts) {
			f.metadata.Topics["clicks"].Partitions[1] = kadm.PartitionDetail{Partition: 1, Leader: -1}
		}, Fail, []string{"clicks: no leader for partitions 1"}},
		{"may not see", "topics", func(f *facts) {
			f.cfg.Kafka.User = "shop"
			f.metadata.Topics["clicks"] = kadm.TopicDetail{Err: kerr.TopicAuthorizationFailed}
		}, Fail, []string{"User:shop", "--topic clicks"}},
		{"one replica", "replication", func(f *facts) {
			f.metadata.Topics["clicks"].Partitions[1] = kadm.PartitionDetail{Replicas: []int32{1},
				ISR: []int32{1}}
		}, Warn, []string{"one replica"}},
		{"all must be in sync", "replication",
			func(f *facts) { f.configs["clicks"]["min.insync.replicas"] = "3" }, Warn,
			[]string{"min.insync.replicas=2"}},
		{"acknowledged by one", "replication",
			func(f *facts) { f.configs["clicks"]["min.insync.replicas"] = "1" }, Warn, []string{"can be lost"}},
		{"behind", "replication", func(f *facts) {
			f.metadata.Topics["clicks"].Partitions[1] = kadm.PartitionDetail{Replicas: []int32{1, 2, 3},
				ISR: []int32{1}}
		}, Warn, []string{"1 of 2 partitions"}},
		{"retention well", "retention", nil, OK, []string{"clicks keeps records for 7d0h", "1h15m15s"}},
		{"retention for ever", "retention", func(f *facts) { f.configs["clicks"]["retention.ms"] = "-1" }, OK,
			[]string{"for ever"}},
		{"retention below the window", "retention",
			func(f *facts) { f.configs["clicks"]["retention.ms"] = "3600000" }, Fail,
			[]string{"clicks keeps records for 1h", "retention.ms="}},
		{"retention just above", "retention", func(f *facts) { f.configs["clicks"]["retention.ms"] = "7200000" },
			Warn, []string{"after a stop of 44m45s"}},
		// Two hours are enough, but not if the oldest checkout has been waiting for one.
		{"retention against lag", "retention", func(f *facts) {
			f.configs["clicks"]["retention.ms"] = "7200000"
			f.next[topicPartition{"checkouts", 0}] = noon.Add(-time.Hour)
		}, Fail, []string{"the lag 1h"}},
		// The stored window counts.
		{"retention against the stored window", "retention",
			func(f *facts) { f.stored.progress.Window = 200 * time.Hour }, Fail, []string{"take 8d8h"}},
		{"retention by bytes", "retention", func(f *facts) {
			f.configs["clicks"]["retention.bytes"] = "1000"
			f.oldest[topicPartition{"clicks", 0}] = noon.Add(-time.Minute)
		}, Warn, []string{"reaches back only 1m"}},
		{"young, bounded by bytes", "retention", func(f *facts) { bounded(f, time.Hour, 1<<20) }, Warn,
			[]string{"lost nothing yet", "retention.bytes=2097152", "at the pace so far reach back 2h",
				"--add-config retention.bytes=-1"}},
		{"young, and well", "retention", func(f *facts) { bounded(f, 100*time.Hour, 1<<20) }, OK,
			[]string{"keeps 2097152 bytes a partition", "reach back 8d8h"}},
		{"young, sizes not seen", "retention", func(f *facts) { bounded(f, time.Hour, 0) }, Warn,
			[]string{"cannot be told yet"}},
		{"compacted", "retention", func(f *facts) { f.configs["clicks"]["cleanup.policy"] = "compact" }, Fail,
			[]string{"cleanup.policy=delete"}},
		{"records from soon", "record times",
			func(f *facts) { f.newest[topicPartition{"clicks", 1}] = noon.Add(time.Minute) }, Warn,
			[]string{"1m in the future"}},
		{"records from later", "record times",
			func(f *facts) { f.newest[topicPartition{"clicks", 1}] = noon.Add(time.Hour) }, Fail,
			[]string{"1h in the future"}},
		{"may not read", "record times", func(f *facts) {
			f.newest = nil
			f.errs["newest records"] = fmt.Errorf("read: %w", kerr.TopicAuthorizationFailed)
		}, Fail, []string{"--operation Read --topic clicks"}},
		{"Kafka's disk full", "kafka disk", func(f *facts) { f.dirs[0].UsableBytes = 20 }, Warn,
			[]string{"broker 1 has 20 B of 1000 B"}},
		{"Kafka's disk before the topics", "kafka disk", func(f *facts) {
			f.dirs = nil
			f.errs["log directories"] = &kadm.ShardErrors{Name: "DescribeLogDirs",
				Errs: []kadm.ShardError{{Err: kerr.UnknownTopicOrPartition}}}
		}, Warn, []string{"not visible before both topics"}},
		{"Kafka's disk unseen", "kafka disk",
			func(f *facts) { f.dirs = nil; f.errs["log directories"] = kerr.ClusterAuthorizationFailed }, Warn,
			[]string{"not visible"}},
		{"read-only", "writable", func(f *facts) { f.server.ReadOnly = true }, Fail,
			[]string{"read-only", `ALTER ROLE "app"`}},
		{"encoding", "postgres version", func(f *facts) { f.server.Encoding = "LATIN1" }, Warn,
			[]string{"LATIN1", "dead letters", "pg_dump"}},
		{"wal_level", "wal_level", func(f *facts) { f.setup = setupErrors(cdc.ProblemWALLevel) }, Fail,
			[]string{"mend-wal_level"}},
		{"no slot left", "slots",
			func(f *facts) { f.stored.instances = nil; f.setup = setupErrors(cdc.ProblemSlots) },
			Fail, []string{"mend-slots"}},
		{"no slot left beside those that run", "slots",
			func(f *facts) { f.setup = setupErrors(cdc.ProblemSlots) }, Warn, []string{"one more could not start"}},
		{"one sender left", "senders", func(f *facts) { f.server.Senders = 9 }, Warn,
			[]string{"9 of 10", "max_wal_senders = 14"}},
		{"may not replicate", "replication right",
			func(f *facts) { f.setup = setupErrors(cdc.ProblemReplication) }, Fail,
			[]string{"mend-replication"}},
		{"pooler", "replication right",
			func(f *facts) { f.replicator.err = errors.New("unsupported startup parameter: replication") },
			Fail, []string{"pooler"}},
		{"no identity", "users", func(f *facts) { f.setup = setupErrors(cdc.ProblemIdentity) }, Fail,
			[]string{"mend-identity"}},
		{"full identity", "users", func(f *facts) { f.server.Identity = "f" }, OK,
			[]string{"dropped while decoding"}},
		{"publication", "publication", func(f *facts) {
			f.setup = setupErrors(cdc.ProblemSlots, cdc.ProblemPublication)
		}, Fail, []string{"mend-publication"}},
		{"few connections left to the role", "connections",
			func(f *facts) { f.server.RoleSessions, f.server.RoleLimit = 3, 5 }, Warn,
			[]string{"3 of 5 of role app", `ALTER ROLE "app" CONNECTION LIMIT 55`}},
		{"no connections left to the database", "connections",
			func(f *facts) { f.server.DBSessions, f.server.DBLimit = 2, 2 }, Warn,
			[]string{"2 of 2 of database", "CONNECTION LIMIT 52"}},
		{"few connections left", "connections", func(f *facts) { f.server.Sessions = 90 }, Warn,
			[]string{"90 of 97", "max_connections"}},
		{"pending", "migrations", func(f *facts) { f.migrations[0].Applied = time.Time{} }, Warn,
			[]string{"a.sql", "firstclick migrate"}},
		{"narrow text", "columns", func(f *facts) {
			f.columns[0] = column{"checkout_id", "varchar",
				"character varying(20)", 24}
		}, Warn, []string{"(20)", `"checkout_id" TYPE varchar`}},
		{"rounded time", "columns", func(f *facts) {
			f.table = errors.New("click_time is timestamp(3), which rounds times; " +
				"to widen it rewrites no row; run: SET lock_timeout = '2s'; ALTER TABLE x")
		}, Fail, []string{"which rounds times", "SET lock_timeout = '2s'; ALTER TABLE x"}},
		{"another type", "columns", func(f *facts) { f.table = errors.New("x is int; run: ALTER TABLE x") },
			Fail, []string{"x is int\nALTER TABLE x"}},
		{"decimal(5,2)", "amounts", func(f *facts) {
			f.columns[1] = column{"total_amount", "numeric", "numeric(5,2)", 5<<16 + 2 + 4}
		}, Warn, []string{"checkouts of 1000 or more are refused", "TYPE numeric(12,2)"}},
		{"whole amounts", "amounts", func(f *facts) { f.columns[1].Modifier = 12<<16 + 4 }, Warn,
			[]string{"rounded to 0 places"}},
		{"negative scale", "amounts", func(f *facts) { f.columns[1].Modifier = 12<<16 | (-2&0x7ff + 4) }, Warn,
			[]string{"-2 places"}},
		{"rights", "permissions", func(f *facts) { f.grants = []string{"GRANT A", "GRANT B"} }, Fail,
			[]string{"GRANT A; GRANT B"}},
		{"other role", "takeover", func(f *facts) { f.foreign = []string{"boss"} }, Fail,
			[]string{"instances run as boss", "pg_terminate_backend"}},
		{"clock a little wrong", "postgres clock", func(f *facts) { f.clock.skew = -3 * time.Second }, Warn,
			[]string{"3s from ours"}},
		{"clock wrong", "postgres clock", func(f *facts) { f.clock.skew = 10 * time.Minute }, Fail,
			[]string{"10m from ours"}},
		// The clock may differ by half of the round trip.
		{"clock unsure", "postgres clock", func(f *facts) {
			f.clock.skew, f.clock.rtt = 2*time.Second,
				3*time.Second
		}, OK, []string{"(to 1.5s)"}},
		{"disk unseen", "postgres disk", nil, Warn, []string{"not visible", "5.0 MiB"}},
		{"disk", "postgres disk", func(f *facts) { visible(f, noon) }, OK, []string{"50 B of 100 B free"}},
		{"disk full", "postgres disk", func(f *facts) {
			visible(f, noon)
			f.cfg.diskOf = func(string) (disk, error) { return disk{free: 1, total: 1000}, nil }
		}, Warn, []string{"1 B of 1000 B"}},
		// A server in a container has a directory of the same name as one here.
		{"disk of another server", "postgres disk", func(f *facts) { visible(f, noon.Add(time.Hour)) }, Warn,
			[]string{"another server's"}},
		{"other window", "settings", func(f *facts) { f.cfg.Window = 2 * time.Hour }, Fail,
			[]string{"--window 1h0m0s, not 2h0m0s", "another --group"}},
		{"other topic", "settings", func(f *facts) { f.cfg.ClicksTopic = "x" }, Fail,
			[]string{"--clicks-topic clicks"}},
		{"silent instance", "instances", func(f *facts) { f.stored.instances[0].Silent = time.Minute }, Warn,
			[]string{"i on h has been silent", "process 7"}},
		{"stalled shard", "instances", func(f *facts) { f.stored.shards[1].Silent = 2 * time.Minute }, Warn,
			[]string{"partition 1 has committed nothing for 2m"}},
		{"no instance runs", "group", func(f *facts) { f.group.Members = nil }, Warn,
			[]string{"no instance runs; 50 checkouts behind", "firstclick run"}},
		{"rebalancing", "group", func(f *facts) { f.group.State = "PreparingRebalance" }, Warn,
			[]string{"rebalancing"}},
		{"at work", "group", nil, OK, []string{"1 instances, stable; 50 checkouts behind"}},
		{"strangers", "group", func(f *facts) {
			f.members.Foreign = []string{"reports at h is no firstclick, and has checkouts[1]"}
		}, Fail, []string{"not ours alone: reports at h is no firstclick, and has checkouts[1]", "--group of its own"}},
		{"a partition that nobody has", "group", func(f *facts) { f.members.Unassigned = []int32{1} }, Fail,
			[]string{"no member of group firstclick has checkouts[1]"}},
		{"a partition without a row", "group",
			func(f *facts) { f.stored.shards = f.stored.shards[:1] }, Fail,
			[]string{"checkouts[1] has a member of the group, and no position"}},
		{"may not join", "group", func(f *facts) { f.errs["group"] = kerr.GroupAuthorizationFailed }, Fail,
			[]string{"--group firstclick"}},
		{"within", "offsets", nil, OK, []string{"2 shards"}},
		{"checkouts gone", "offsets", func(f *facts) { f.stored.shards[0].Next = 50 }, Fail,
			[]string{"checkouts[0]: offsets 50 to 99 were never read"}},
		{"clicks gone for one shard", "offsets", func(f *facts) { f.stored.shards[1].ClicksNext[0] = 99 },
			Fail, []string{"clicks[0]: offsets 99 to 99"}},
		{"truncated", "offsets", func(f *facts) { f.stored.shards[1].ClicksNext[1] = 201 }, Fail,
			[]string{"clicks[1] ends at 200", "truncated"}},
		{"recreated", "offsets", func(f *facts) { f.stored.progress.CheckoutsTopicID = [16]byte{9} }, Fail,
			[]string{"checkouts was deleted and made again"}},
		{"topic gone", "offsets", func(f *facts) { delete(f.metadata.Topics, "clicks") }, Fail,
			[]string{"clicks is gone"}},
		{"partition gone", "offsets", func(f *facts) { delete(f.ends, topicPartition{"checkouts", 1}) }, Fail,
			[]string{"checkouts[1] is gone"}},
		{"shards to come", "offsets", func(f *facts) { f.stored.shards = nil }, Fail,
			[]string{"clicks[0]: offsets 0 to 99"}},
		{"partition added", "offsets", func(f *facts) {
			f.starts[topicPartition{"clicks", 2}], f.ends[topicPartition{"clicks", 2}] = 0, 10
		}, OK, nil},
		{"not answered", "offsets", func(f *facts) { f.errs["stored group"] = errors.New("permission denied") }, Warn,
			[]string{"not visible: permission denied"}},
	} {
		t.Run(c.check+"/"+c.name, func(t *testing.T) {
			f := sound()
			if c.change != nil {
				c.change(f)
			}
			r := &Report{}
			for _, ch := range checks() {
				if ch.name == c.check {
					r.add(ch.name, ch.findings(f))
				}
			}
			want(t, r, c.check, c.status, c.says...)
		})
	}
}

// Each test above fails by its own change alone.
func TestSoundIsSound(t *testing.T) {
	r := &Report{}
	for _, c := range checks() {
		r.add(c.name, c.findings(sound()))
	}
	for _, f := range r.Findings {
		if f.Status != OK && f.Check != "postgres disk" {
			t.Errorf("%+v", f)
		}
	}
}

func setupErrors(problems ...cdc.Problem) (errs []*cdc.SetupError) {
	for _, p := range problems {
		errs = append(errs, &cdc.SetupError{Problem: p, What: "what-" + string(p), Mend: "mend-" + string(p)})
	}
	return errs
}

// visible shows the lock file of a server that was started at that time.
func visible(f *facts, started time.Time) {
	f.server.Local, f.server.Directory, f.server.Started = true, "/data", noon
	f.cfg.readFile = func(string) ([]byte, error) {
		return fmt.Appendf(nil, "77\n/data\n%d\n5432\n", started.Unix()),
			nil
	}
}
