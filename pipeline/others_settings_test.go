package pipeline_test

import (
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"firstclick/cdc"
	"firstclick/internal/kafkatest"
	"firstclick/pipeline"
)

// asRole is cfg for a role that may do what a run needs and is no superuser.
func asRole(t *testing.T, conn *pgx.Conn, cfg pipeline.Config) (pipeline.Config, string) {
	t.Helper()
	u, err := url.Parse(cfg.Database)
	if err != nil {
		t.Fatal(err)
	}
	role := "role_of_" + strings.TrimPrefix(u.Path, "/")
	exec(t, conn, fmt.Sprintf(`CREATE ROLE %[1]s LOGIN REPLICATION PASSWORD 'x'; GRANT USAGE ON SCHEMA commerce,
		firstclick TO %[1]s;
		GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA commerce, firstclick TO %[1]s`, role))
	u.User = url.UserPassword(role, "x")
	cfg.Database = u.String()
	return cfg, role
}

// Row-level security hides users, or the rows that are to be compared, from our role. Then no run
// begins, and the error names the cause.
func TestRowLevelSecurity(t *testing.T) {
	for table, start := range map[string]func(t *testing.T, cfg pipeline.Config) error{
		"attributed_checkouts": func(t *testing.T, cfg pipeline.Config) error { return begin(t, cfg).fails() },
		"users": func(t *testing.T, cfg pipeline.Config) error { // what the command looks at before
			return cdc.CheckStart(t.Context(), connect(t, cfg.Database), "")
		},
	} {
		t.Run(table, func(t *testing.T) {
			brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
			dsn, conn := prepare(t, 10)
			cfg, role := asRole(t, conn, testConfig(t, brokers, dsn))
			exec(t, conn, fmt.Sprintf(`ALTER TABLE commerce.%[1]s ENABLE ROW LEVEL SECURITY;
				CREATE POLICY nobody ON commerce.%[1]s USING (false)`, table))
			send(t, brokers, "1")
			err := start(t, cfg)
			if err == nil || !strings.Contains(err.Error(),
				"row-level security of commerce."+table+" applies to role "+role) ||
				!strings.Contains(err.Error(), "BYPASSRLS") {
				t.Errorf("ended with %v", err)
			}
			exec(t, conn, "ALTER ROLE "+role+" BYPASSRLS")
			if err := cdc.CheckStart(t.Context(), connect(t, cfg.Database), ""); err != nil {
				t.Error(err)
			}
			drain(t, cfg)
			if n := countRows(t, conn, `user_name = 'user-7' AND click_id = 'c1'`); n != 1 {
				t.Errorf("%d rows have their name", n)
			}
		})
	}
}

// A policy on users that appears during a run is named. Rows get no name while it holds, and their
// names when it is gone.
func TestRowLevelSecurityAppears(t *testing.T) {
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	dsn, conn := prepare(t, 10)
	cfg, role := asRole(t, conn, testConfig(t, brokers, dsn))
	log := &heard{}
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	p := begin(t, cfg)
	named := func(n int64) func() bool {
		return func() bool {
			return countRows(t, conn, `user_name = 'user-7'`) == n
		}
	}
	send(t, brokers, "1")
	eventually(t, "a row with its name", named(1))
	exec(t, conn, `ALTER TABLE commerce.users ENABLE ROW LEVEL SECURITY;
		CREATE POLICY nobody ON commerce.users USING (false)`)
	send(t, brokers, "2")
	eventually(t, "a row without a name", func() bool {
		return countRows(t, conn, `click_id = 'c2' AND user_name IS NULL`) == 1
	})
	eventually(t, "the cause", func() bool {
		return log.has("row-level security of commerce.users applies to role "+role) && log.has("BYPASSRLS")
	})
	exec(t, conn, "ALTER ROLE "+role+" BYPASSRLS")
	eventually(t, "both names", named(2))
	p.end()
}

// send sends a click of user 7 and its checkout.
func send(t *testing.T, brokers []string, n string) {
	t.Helper()
	at := time.Now().Add(-time.Minute)
	kafkatest.Produce(t, brokers, "clicks", 0, values(click("c"+n, 7, "p"+n, stamp(at, 1)))...)
	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("k"+n, 7, "p"+n, "1", stamp(at, 2)))...)
}

// The connection string does not decide how the driver runs statements: the first start works, and
// so does the second, which reads what the first has stored.
func TestSecondStartWhateverTheExecMode(t *testing.T) {
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
			dsn, conn := prepare(t, 10)
			u, err := url.Parse(dsn)
			if err != nil {
				t.Fatal(err)
			}
			query := u.Query()
			query.Set("default_query_exec_mode", mode)
			u.RawQuery = query.Encode()
			cfg := testConfig(t, brokers, u.String())
			for start := range int64(3) {
				send(t, brokers, fmt.Sprint(start))
				drain(t, cfg)
				if n := countRows(t, conn, `click_id = 'c' || substr(checkout_id, 2)
					AND user_name = 'user-7'`); n != start+1 {
					t.Errorf("start %d: %d rows", start, n)
				}
			}
		})
	}
}
