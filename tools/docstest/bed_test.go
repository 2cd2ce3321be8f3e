package docstest

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"firstclick/internal/cli"
	"firstclick/internal/kafkatest"
	"firstclick/internal/pgserver"
	"firstclick/internal/pgtest"
)

// bed is a Postgres and a Kafka where everybody has only the rights that SECURITY.md gives.
type bed struct {
	t     *testing.T
	owner *pgx.Conn // the superuser's session
	vars  map[string]string
	dsn   string // the superuser's
	kafka *kgo.Client
	at    time.Time
}

const adminUser, adminPassword = "admin", "the admin's"

// newBed is a database with the tables and some users, who have passwords.
func newBed(t *testing.T, server *pgserver.Server) *bed {
	t.Helper()
	b := &bed{t: t, dsn: server.DSN("postgres"), at: time.Now().Add(-10 * time.Minute).Truncate(time.Microsecond).UTC()}
	var err error
	if b.owner, err = pgx.Connect(t.Context(), b.dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.owner.Close(context.Background()) })
	if _, _, err := b.run(t.Context(), "migrate", "--database", b.dsn); err != nil {
		t.Fatal(err)
	}
	b.exec(`INSERT INTO commerce.users SELECT i, 'user ' || i, 'the password of ' || i FROM generate_series(1, 20) i`)
	return b
}

// leastBed migrates as the owner, and gives the role nothing so far; the events' user has what
// SECURITY.md says, and with retry also that.
func leastBed(t *testing.T, retry bool) *bed {
	t.Helper()
	b := newBed(t, pgtest.StartTemporary(t))
	// Nobody has anything but by a GRANT.
	b.exec(`REVOKE ALL ON DATABASE postgres FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC`)
	cluster := kafkatest.FakeCluster(t, kfake.SeedTopics(2, "clicks", "checkouts"), kfake.EnableSASL(),
		kfake.EnableACLs(),
		kfake.Superuser("PLAIN", adminUser, adminPassword), kfake.User("PLAIN", "firstclick", "kafka's",
			kafkaRights(t, retry)...))
	b.client(cluster.ListenAddrs(), kgo.SASL(plain.Auth{User: adminUser, Pass: adminPassword}.AsMechanism()))
	role, err := url.Parse(b.dsn)
	if err != nil {
		t.Fatal(err)
	}
	role.User = url.UserPassword("firstclick", "choose one")
	replicator := *role
	replicator.User = url.UserPassword("firstclick_replication", "choose another")
	b.vars = map[string]string{
		"DATABASE_URL": role.String(), "DATABASE_REPLICATION": replicator.String(),
		"KAFKA_BROKERS": strings.Join(cluster.ListenAddrs(), ","),
		"KAFKA_SASL":    "plain", "KAFKA_USER": "firstclick", "KAFKA_PASSWORD": "kafka's",
	}
	return b
}

func (b *bed) exec(sql string, args ...any) {
	b.t.Helper()
	if _, err := b.owner.Exec(b.t.Context(), sql, args...); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
}

func (b *bed) value(sql string) (text string) {
	b.t.Helper()
	if err := b.owner.QueryRow(b.t.Context(), sql).Scan(&text); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
	return text
}

// run is the command line with the role's and the user's access.
func (b *bed) run(ctx context.Context, args ...string) (out, log string, err error) {
	var stdout, stderr bytes.Buffer
	err = cli.Run(ctx, args, cli.Streams{In: strings.NewReader(""), Out: &stdout, Err: &stderr,
		Env: func(name string) (string, bool) {
			v, ok := b.vars[name]
			return v, ok
		}})
	return stdout.String(), stderr.String(), err
}

// must is run for what has to work.
func (b *bed) must(args ...string) string {
	b.t.Helper()
	out, log, err := b.run(b.t.Context(), args...)
	if err != nil {
		b.t.Fatalf("firstclick %s: %v\n%s\n%s", strings.Join(args, " "), err, out, log)
	}
	return out
}

func (b *bed) produce(topic string, partition int32, value string) {
	b.t.Helper()
	r := &kgo.Record{Topic: topic, Partition: partition, Value: []byte(value)}
	if err := b.kafka.ProduceSync(b.t.Context(), r).FirstErr(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) stamp(minutes float64) string {
	return b.at.Add(time.Duration(minutes * float64(time.Minute))).Format("2006-01-02 15:04:05.000000")
}

func (b *bed) click(id string, user int, minutes float64) {
	b.t.Helper()
	b.produce("clicks", int32(user%2),
		fmt.Sprintf(`{"click_id":%q,"user_id":%d,"product_id":"p","datetime_occured":%q}`, id, user, b.stamp(minutes)))
}

func (b *bed) checkout(id string, user int, minutes float64, amount string) {
	b.t.Helper()
	b.produce("checkouts", int32(user%2),
		fmt.Sprintf(`{"checkout_id":%q,"user_id":%d,"product_id":"p","total_amount":%s,"datetime_occured":%q}`, id,
			user, amount, b.stamp(minutes)))
}

// eventually asks the database until it says yes.
func (b *bed) eventually(what, sql string) {
	b.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(2 * time.Minute); ; {
		if b.value(sql) == "true" {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			b.t.Fatalf("waited for: %s", what)
		}
	}
}

// grants returns the SQL of SECURITY.md that has these words.
func grants(t *testing.T, words string) string {
	t.Helper()
	for _, block := range onePage(t, "SECURITY.md").blocks {
		if block.lang == "sql" && strings.Contains(block.text, words) {
			return block.text
		}
	}
	t.Fatalf("SECURITY.md has no %s", words)
	return ""
}

// kafkaRights reads the rights out of SECURITY.md's commands; those to write only with retry.
func kafkaRights(t *testing.T, retry bool) (acls []kfake.ACL) {
	t.Helper()
	operations := map[string]kmsg.ACLOperation{"Read": kmsg.ACLOperationRead, "Write": kmsg.ACLOperationWrite,
		"Describe": kmsg.ACLOperationDescribe, "DescribeConfigs": kmsg.ACLOperationDescribeConfigs}
	option := regexp.MustCompile(`--(operation|topic|group) (\S+)`)
	for _, block := range onePage(t, "SECURITY.md").blocks {
		for _, command := range strings.Split(strings.ReplaceAll(block.text, "\\\n", " "), "\n") {
			if !strings.HasPrefix(command, "kafka-acls.sh") || strings.Contains(command, "Write") && !retry {
				continue
			}
			var allowed []kmsg.ACLOperation
			for _, o := range option.FindAllStringSubmatch(command, -1) {
				switch kind, name := o[1], o[2]; kind {
				case "operation":
					if operations[name] == 0 {
						t.Fatalf("unknown operation %s", name)
					}
					allowed = append(allowed, operations[name])
				default:
					resource := map[string]kmsg.ACLResourceType{"topic": kmsg.ACLResourceTypeTopic,
						"group": kmsg.ACLResourceTypeGroup}[kind]
					for _, operation := range allowed {
						acls = append(acls, kfake.ACL{Resource: resource, Name: name,
							Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: operation, Allow: true})
					}
				}
			}
		}
	}
	if len(acls) < 7 {
		t.Fatalf("SECURITY.md gives only %d rights in Kafka", len(acls))
	}
	return acls
}
