package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"firstclick/internal/kafkagroup"
	"firstclick/pipeline/ending"
	"firstclick/pipeline/rules"
)

// identity says which database this instance writes to; empty: the server does not say.
type identity interface {
	Database(ctx context.Context) (id string, err error)
	Name() string // of the database, for people
}

// Membership is what is known of this instance's place in the group, over attempts. Safe for
// concurrent use.
type Membership struct {
	identity identity
	instance string

	mu       sync.Mutex
	refused  int    // how many session timeouts the group refused
	join     string // why the group does not let this instance in
	trouble  string // what is wrong with its members
	database string // as the other members were told
}

// Err is nil while all members of the group write to this database.
func (m *Membership) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	wrong := slices.DeleteFunc([]string{m.join, m.trouble}, func(s string) bool { return s == "" })
	if len(wrong) == 0 {
		return nil
	}
	return errors.New(strings.Join(wrong, "; "))
}

func (m *Membership) set(field *string, value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*field = value
}

// member is what this instance tells the other members when it joins.
func (m *Membership) member(ctx context.Context) (member kafkagroup.Member, err error) {
	ctx, cancel := context.WithTimeout(ctx, watchTime)
	defer cancel()
	database, err := m.identity.Database(ctx)
	m.set(&m.database, database)
	return kafkagroup.Member{Database: database, Name: m.identity.Name(), Instance: m.instance}, err
}

const watchTime = 5 * time.Second // for an answer of those that watch

// WatchGroup checks until ctx ends whether all members of the group write to the same database.
func (k *Kafka) WatchGroup(ctx context.Context) error {
	m := k.Membership
	var unowned []int32 // partitions that nobody owned at the last check
	return rules.Every(ctx, 5*time.Second, func() error {
		told, err := m.unchanged(ctx)
		if err != nil {
			return err
		}
		found, err := k.classifyGroup(ctx, told)
		if err != nil || !found.Stable {
			return nil
		}
		trouble := ""
		if len(found.Foreign) > 0 {
			trouble = fmt.Sprintf("group %s is not ours alone: %s: "+
				"give each database and each application a --group of its own",
				k.cfg.Group, strings.Join(found.Foreign, "; "))
		} else if len(found.Unassigned) > 0 && slices.Equal(found.Unassigned, unowned) {
			trouble = fmt.Sprintf("no member of group %s has %s%v", k.cfg.Group, k.cfg.CheckoutsTopic, found.Unassigned)
		}
		unowned = found.Unassigned
		m.set(&m.trouble, trouble)
		if trouble != "" && k.noticed.due(Place{Topic: "group"}, trouble, time.Now()) {
			k.log.Warn("checkouts go where this database does not get them", "cause", trouble)
		}
		return nil
	})
}

// unchanged returns the database that the other members were told, and an error where this instance
// writes to another one by now.
func (m *Membership) unchanged(ctx context.Context) (told string, err error) {
	ctx, cancel := context.WithTimeout(ctx, watchTime)
	defer cancel()
	database, err := m.identity.Database(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil && database != m.database {
		return "", ending.Restartf("the database is another one than at the beginning")
	}
	return m.database, nil
}

func (k *Kafka) classifyGroup(ctx context.Context, database string) (kafkagroup.Members, error) {
	ctx, cancel := context.WithTimeout(ctx, watchTime)
	defer cancel()
	groups, err := kadm.NewClient(k.admin()).DescribeGroups(ctx, k.cfg.Group)
	if err == nil {
		err = groups[k.cfg.Group].Err
	}
	if err != nil {
		return kafkagroup.Members{}, err
	}
	return kafkagroup.Classify(groups[k.cfg.Group], database, k.cfg.CheckoutsTopic, int(k.Checkouts.Partitions)), nil
}
