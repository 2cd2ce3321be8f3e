package kafkagroup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ClientID is the client id of our members.
const ClientID = "firstclick-checkouts"

// Member is what a member says about itself. Database is empty if it cannot tell which one it
// writes to.
type Member struct {
	Database string `json:"database"` // a hash: see DatabaseOf
	Name     string `json:"name"`     // of the database, for people
	Instance string `json:"instance"`
}

// userData is a Member as it is sent.
type userData struct {
	Firstclick Member `json:"firstclick"`
}

const userDataBegins = `{"firstclick":`

// DatabaseOf returns what distinguishes the database of a connection from all others: a hash of the
// system identifier of its cluster, which a standby shares, and of its own oid. It is empty if the
// role may not read them. A copy by dump and restore is another database. A physical copy (a
// restored base backup) counts as the original: docs/operations.md says so.
// https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-CONTROL-SYSTEM
func DatabaseOf(ctx context.Context, conn *pgx.Conn) (string, error) {
	var cluster, database string
	err := conn.QueryRow(ctx, `SELECT (SELECT system_identifier::text FROM pg_control_system()),
		(SELECT oid::text FROM pg_database WHERE datname = current_database())`).Scan(&cluster, &database)
	var answer *pgconn.PgError
	if errors.As(err, &answer) && answer.Code == "42501" { // insufficient_privilege
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read which database this is: %w", err)
	}
	sum := sha256.Sum256([]byte(cluster + "/" + database))
	return hex.EncodeToString(sum[:8]), nil
}

// Balancer is the cooperative sticky balancer, whose members also send m to the others.
func Balancer(m Member) (kgo.GroupBalancer, error) {
	text, err := json.Marshal(userData{m})
	if err != nil {
		return nil, fmt.Errorf("encode a group member: %w", err)
	}
	return &balancer{kgo.CooperativeStickyBalancer(), text}, nil
}

type balancer struct {
	kgo.GroupBalancer
	text []byte
}

// JoinGroupMetadata implements kgo.GroupBalancer.
func (b *balancer) JoinGroupMetadata(interests []string, current map[string][]int32, generation int32) []byte {
	inner := b.GroupBalancer.JoinGroupMetadata(interests, current, generation)
	var meta kmsg.ConsumerMemberMetadata
	if err := meta.ReadFrom(inner); err != nil {
		return inner // what the inner balancer wrote itself
	}
	meta.UserData = append(meta.UserData, b.text...)
	return meta.AppendTo(nil)
}

// memberOf returns what a member said about itself; false: nothing.
func memberOf(m *kadm.DescribedGroupMember) (Member, bool) {
	meta, is := m.Join.AsConsumer()
	if !is {
		return Member{}, false
	}
	at := bytes.LastIndex(meta.UserData, []byte(userDataBegins))
	var data userData
	if at < 0 || json.Unmarshal(meta.UserData[at:], &data) != nil {
		return Member{}, false
	}
	return data.Firstclick, true
}

// Members says who the members of a group are.
type Members struct {
	Stable     bool     // false: the group rebalances, and nothing else is known
	Ours       int      // members that write to the database, and older versions, which do not say
	Foreign    []string // the others, a line each: who it is, what is wrong with it, its partitions
	Unassigned []int32  // partitions that no member has
}

// Classify finds the members of a group that do not write to this database. topic has so many
// partitions.
func Classify(g kadm.DescribedGroup, database, topic string, partitions int) Members {
	if g.State != "Stable" {
		return Members{}
	}
	members := Members{Stable: true}
	assigned := map[int32]bool{}
	for i := range g.Members {
		m := &g.Members[i]
		var has []int32
		if a, is := m.Assigned.AsConsumer(); is {
			for _, t := range a.Topics {
				if t.Topic == topic {
					has = append(has, t.Partitions...)
				}
			}
		}
		having := ""
		if len(has) > 0 {
			slices.Sort(has)
			having = fmt.Sprintf(", and has %s%v", topic, has)
		}
		for _, p := range has {
			assigned[p] = true
		}
		about, known := memberOf(m)
		host := strings.TrimPrefix(m.ClientHost, "/")
		switch {
		case known && about.Database != "" && database != "" && about.Database != database:
			members.Foreign = append(members.Foreign,
				fmt.Sprintf("%s at %s writes to another database, %s%s", about.Instance, host, about.Name, having))
		case !known && m.ClientID != ClientID:
			members.Foreign = append(members.Foreign,
				fmt.Sprintf("%s at %s is no firstclick%s", m.ClientID, host, having))
		default:
			members.Ours++
		}
	}
	slices.Sort(members.Foreign)
	for p := range int32(partitions) {
		if !assigned[p] {
			members.Unassigned = append(members.Unassigned, p)
		}
	}
	return members
}
