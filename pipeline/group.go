package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkagroup"
)

// sessionTimeout is how long the group waits for a member that was killed before its shards go to others, where brokers allow it.
const sessionTimeout = 10 * time.Second

// otherTimeouts are tried one after the other where brokers do not tell what they allow and refuse sessionTimeout: what Java's clients have, so
// that it is allowed nearly everywhere, and the least and the most by default.
// https://kafka.apache.org/documentation/#brokerconfigs_group.min.session.timeout.ms
var otherTimeouts = [...]time.Duration{45 * time.Second, 6 * time.Second, 30 * time.Minute}

// standing is how a pipeline stands in its group, over its sessions.
type standing struct {
	mu       sync.Mutex
	refused  int    // session timeouts that the group refused
	join     string // why the group does not let us in
	trouble  string // what is wrong with its members
	database string // as told to the others
}

func (g *standing) change(f func(*standing)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(g)
}

// groupHealth is nil while all members of the group write to this database.
func (p *Pipeline) groupHealth() error {
	p.group.mu.Lock()
	defer p.group.mu.Unlock()
	if wrong := strings.Join(slices.DeleteFunc([]string{p.group.join, p.group.trouble}, func(s string) bool { return s == "" }), "; "); wrong != "" {
		return errors.New(wrong)
	}
	return nil
}

// databaseOf asks which database we write to; empty: it does not tell.
func (p *Pipeline) databaseOf(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	var database string
	err := p.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) (err error) {
		database, err = kafkagroup.DatabaseOf(ctx, conn.Conn())
		return err
	})
	return database, err
}

// member is what this instance tells the others.
func (s *session) member(ctx context.Context) kafkagroup.Member {
	database, err := s.p.databaseOf(ctx)
	if err != nil {
		s.log.Debug("which database this is, is not told", "cause", err)
	}
	s.p.group.change(func(g *standing) { g.database = database })
	conn := s.p.pool.Config().ConnConfig
	return kafkagroup.Member{Database: database, Name: fmt.Sprintf("%s on %s:%d", conn.Database, conn.Host, conn.Port), Instance: s.cfg.Instance}
}

// timeout is the session timeout within what the brokers allow.
func (s *session) timeout(ctx context.Context) time.Duration {
	s.p.group.mu.Lock()
	refused := s.p.group.refused
	s.p.group.mu.Unlock()
	if refused > 0 {
		return otherTimeouts[refused-1]
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	least, most := time.Duration(0), time.Duration(1<<63-1)
	admin := kadm.NewClient(s.clicksClient)
	brokers, err := admin.ListBrokers(ctx)
	if err != nil {
		return sessionTimeout
	}
	configs, err := admin.DescribeBrokerConfigs(ctx, brokers.NodeIDs()...)
	if err != nil {
		return sessionTimeout
	}
	for _, broker := range configs { // any of them may lead the group
		for _, c := range broker.Configs {
			ms, err := strconv.ParseInt(c.MaybeValue(), 10, 64)
			if err != nil || ms <= 0 {
				continue
			}
			switch c.Key {
			case "group.min.session.timeout.ms":
				least = max(least, time.Duration(ms)*time.Millisecond)
			case "group.max.session.timeout.ms":
				most = min(most, time.Duration(ms)*time.Millisecond)
			}
		}
	}
	use := max(min(sessionTimeout, most), least)
	if use != sessionTimeout {
		s.log.Info("the brokers bound the session timeout", "session_timeout_seconds", use.Seconds(), "wanted_seconds", sessionTimeout.Seconds())
	}
	return use
}

// groupError is what it means that the group does not let us in; nil: the client tries again by itself.
func (s *session) groupError(err error) error {
	switch {
	case errors.Is(err, kerr.InvalidSessionTimeout):
		failed := false
		s.p.group.change(func(g *standing) {
			if failed = g.refused == len(otherTimeouts); !failed {
				g.refused++
			}
		})
		if failed {
			return &ConfigError{fmt.Sprintf("the brokers refuse every session timeout that was tried (%v, %v): set group.min.session.timeout.ms to 10000 or less",
				sessionTimeout, otherTimeouts)}
		}
		return &againError{cause: err}
	case isRefusal(err):
		s.p.refused.note(inGroup, err, time.Now())
	case errors.Is(err, kerr.InconsistentGroupProtocol):
		text := fmt.Sprintf("group %s has members that are no firstclick, and they balance in another way: stop them, or run with another --group", s.cfg.Group)
		s.p.group.change(func(g *standing) { g.join = text })
	}
	if s.disturbed.news(Place{}, err.Error(), time.Now()) {
		s.log.Warn("the group does not let this instance in", "cause", err)
	}
	return nil
}

// watchGroupEvery is how often the group's members are looked at.
const watchGroupEvery = 5 * time.Second

// watchGroup looks until ctx ends whether all members of the group write to the same database.
func (s *session) watchGroup(ctx context.Context) error {
	t := time.NewTicker(watchGroupEvery)
	defer t.Stop()
	var left []int32 // partitions that nobody had at the last look
	for {
		database, err := s.p.databaseOf(ctx)
		s.p.group.mu.Lock()
		told := s.p.group.database
		s.p.group.mu.Unlock()
		if err == nil && database != told {
			return &againError{cause: errors.New("the database is another one than at the beginning")}
		}
		if j, err := s.lookAtGroup(ctx, told); err == nil && j.Stable {
			trouble := strings.Join(j.Foreign, "; ")
			if len(j.Foreign) > 0 {
				trouble = fmt.Sprintf("group %s is not ours alone: %s: give each database and each application a --group of its own", s.cfg.Group, trouble)
			} else if len(j.Unassigned) > 0 && slices.Equal(j.Unassigned, left) {
				trouble = fmt.Sprintf("no member of group %s has %s%v", s.cfg.Group, s.cfg.CheckoutsTopic, j.Unassigned)
			}
			left = j.Unassigned
			s.p.group.change(func(g *standing) { g.trouble = trouble })
			if trouble != "" && s.disturbed.news(Place{Topic: "group"}, trouble, time.Now()) {
				s.log.Warn("checkouts go where this database does not get them", "cause", trouble)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

func (s *session) lookAtGroup(ctx context.Context, database string) (kafkagroup.Members, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	groups, err := kadm.NewClient(s.clicksClient).DescribeGroups(ctx, s.cfg.Group)
	if err == nil {
		err = groups[s.cfg.Group].Err
	}
	if err != nil {
		return kafkagroup.Members{}, err
	}
	return kafkagroup.Classify(groups[s.cfg.Group], database, s.cfg.CheckoutsTopic, int(s.infos[s.cfg.CheckoutsTopic].partitions)), nil
}

// joined says that the group let us in.
func (s *session) joined(_ context.Context, _ *kgo.Client, _ map[string][]int32) {
	s.p.ingest.assigned.Inc()
	s.p.refused.note(inGroup, nil, time.Now())
	s.p.group.change(func(g *standing) { g.join = "" })
}
