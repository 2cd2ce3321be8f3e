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

// ClientID is what members of ours call themselves.
const ClientID = "firstclick-checkouts"

// Member is what a member tells the others. Database is empty where it cannot tell which one it writes to.
type Member struct {
	Database string `json:"database"` // a hash of what it is: see DatabaseOf
	Name     string `json:"name"`     // of the database, for people
	Instance string `json:"instance"`
}

const begins = `{"firstclick":`

type told struct {
	Firstclick Member `json:"firstclick"`
}

// DatabaseOf is what tells the database of a connection from all others: the system identifier of its cluster, which a standby shares, and
// its own oid. A copy by dump and restore is another database; a physical copy
// (a restored base backup) has both, and everything else that is stored, so that it is taken for its original: docs/operations.md says so. Empty: the role may not know.
// https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-CONTROL-SYSTEM
func DatabaseOf(ctx context.Context, conn *pgx.Conn) (string, error) {
	var cluster, database string
	err := conn.QueryRow(ctx, `SELECT (SELECT system_identifier::text FROM pg_control_system()), (SELECT oid::text FROM pg_database WHERE datname = current_database())`).
		Scan(&cluster, &database)
	var answer *pgconn.PgError
	if errors.As(err, &answer) && answer.Code == "42501" { // insufficient_privilege
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("ask which database this is: %w", err)
	}
	sum := sha256.Sum256([]byte(cluster + "/" + database))
	return hex.EncodeToString(sum[:8]), nil
}

// Balancer is the cooperative sticky one, with m told to the others.
func Balancer(m Member) (kgo.GroupBalancer, error) {
	text, err := json.Marshal(told{m})
	if err != nil {
		return nil, fmt.Errorf("encode what members tell: %w", err)
	}
	return &balancer{kgo.CooperativeStickyBalancer(), text}, nil
}

type balancer struct {
	kgo.GroupBalancer
	text []byte
}

// JoinGroupMetadata implements kgo.GroupBalancer.
func (b *balancer) JoinGroupMetadata(interests []string, current map[string][]int32, generation int32) []byte {
	plain := b.GroupBalancer.JoinGroupMetadata(interests, current, generation)
	var meta kmsg.ConsumerMemberMetadata
	if err := meta.ReadFrom(plain); err != nil {
		return plain // what the balancer wrote itself
	}
	meta.UserData = append(meta.UserData, b.text...)
	return meta.AppendTo(nil)
}

// tells is what a member says of itself; false: nothing.
func tells(m *kadm.DescribedGroupMember) (Member, bool) {
	meta, is := m.Join.AsConsumer()
	if !is {
		return Member{}, false
	}
	at := bytes.LastIndex(meta.UserData, []byte(begins))
	var t told
	if at < 0 || json.Unmarshal(meta.UserData[at:], &t) != nil {
		return Member{}, false
	}
	return t.Firstclick, true
}

// Judged is what a group's members are.
type Judged struct {
	Settled   bool     // else nobody was judged
	Ours      int      // members that write to the database, and those of older versions, which do not tell
	Strangers []string // a line each: who it is, what is wrong with it, and which partitions it has
	Left      []int32  // partitions that no member has
}

// Judge looks at the members of a group that is to write to one database. topic has so many partitions.
func Judge(g kadm.DescribedGroup, database, topic string, partitions int) Judged {
	j := Judged{Settled: g.State == "Stable"}
	if !j.Settled {
		return j
	}
	taken := map[int32]bool{}
	for i := range g.Members {
		m := &g.Members[i]
		var has []int32
		if assigned, is := m.Assigned.AsConsumer(); is {
			for _, t := range assigned.Topics {
				if t.Topic == topic {
					has = append(has, t.Partitions...)
				}
			}
		}
		for _, p := range has {
			taken[p] = true
		}
		who, said := tells(m)
		where := fmt.Sprintf("%s at %s", m.ClientID, strings.TrimPrefix(m.ClientHost, "/"))
		switch {
		case said && who.Database != "" && database != "" && who.Database != database:
			j.Strangers = append(j.Strangers, fmt.Sprintf("%s at %s writes to another database, %s%s", who.Instance, strings.TrimPrefix(m.ClientHost, "/"), who.Name, having(topic, has)))
		case !said && m.ClientID != ClientID:
			j.Strangers = append(j.Strangers, fmt.Sprintf("%s is no firstclick%s", where, having(topic, has)))
		default:
			j.Ours++
		}
	}
	slices.Sort(j.Strangers)
	for p := range int32(partitions) {
		if !taken[p] {
			j.Left = append(j.Left, p)
		}
	}
	return j
}

func having(topic string, partitions []int32) string {
	if len(partitions) == 0 {
		return ""
	}
	slices.Sort(partitions)
	return fmt.Sprintf(", and has %s%v", topic, partitions)
}
