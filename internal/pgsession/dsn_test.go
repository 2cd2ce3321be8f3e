package pgsession_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"firstclick/internal/pgsession"
)

// A string that can be read in two ways, or is for another driver, is refused and not quoted.
func TestStringsThatAreRefused(t *testing.T) {
	const secret = "s3cr3t"
	for _, dsn := range []string{
		"", "  ",
		"postgresql+psycopg://u:" + secret + "@h/db", "postgresql+psycopg://u:" + secret + "@h/db?sslmode=disable",
		"jdbc:postgresql://h/db?user=u&password=" + secret,
		"mysql://u:" + secret + "@h/db", "Postgres://u:" + secret + "@h/db", "postgres:/u:" + secret + "@h/db",
		"postgres:u:" + secret + "@h/db?x=y",
		`"postgres://u:` + secret + `@h/db"`, "'postgres://u:" + secret + "@h/db'", "`postgres://u:" + secret +
			"@h/db`", "“postgres://u:" + secret + "@h/db”",
		`"host=h password=` + secret + `"`, "'host=h' password=" + secret, `host="h" "password"=` + secret,
		"\ufeffpostgres://u:" + secret + "@h/db", "\ufeffhost=h password=" + secret, "\xff\xfepassword=" + secret,
		"postgres://u:" + secret + "#1@h/db", "postgres://u:" + secret + "/1@h/db", "postgres://u:5/" + secret +
			"@h/db", "postgres://u:" + secret + "?1@h/db",
		"postgres://u:5?" + secret + "@h/db", "postgres://u:p@" + secret + "@h/db", "postgres://u:" + secret + "%@h/db",
		"postgres://u:" + secret + "@h:port/db",
		"postgres://u:" + secret + " @h/db", "postgres://u:" + secret + "@h:70000/db", "postgres://u@h/db?password=" +
			secret + "&x" + secret + "=1",
		"postgres://u@h/db?password=a@" + secret + "&pg" + secret, "postgres://h?password=" + secret + "@b",
		"postgres://u@h/db?sslmode=disable&password=a=" + secret,
		"postgres://u@h/db?schema=" + secret, "postgres://u@h/db?ssl=" + secret, "postgres://u@h/db?HOST=" + secret,
		"host=h password=a " + secret + "=b", "host=h password=" + secret + " x", "password=" + secret + " hots=h",
		"HOST=h password=" + secret,
		"host=h password='" + secret, "host=h password='a'" + secret + "=1", `host=h password=` + secret + `\`, "=" +
			secret, "host=h\x00password=" + secret,
		"ssl=true password=" + secret, "Server=h;Password=" + secret + ";", secret,
	} {
		_, err := pgsession.Check(dsn)
		if err == nil {
			t.Errorf("%q is accepted", dsn)
			continue
		}
		_, other := pgsession.Config(dsn, "x")
		for _, err := range []error{err, other} {
			if err == nil || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: %v", dsn, err)
			}
		}
	}
}

// A connection string in the place of a name would be shown as that name.
func TestStringsInPlaceOfNames(t *testing.T) {
	clearEnvironment(t)
	const secret = "s3cr3t"
	for _, dsn := range []string{
		"host=postgres://u:" + secret + "@h", "host=h dbname=postgres://u:" + secret + "@h/db", "host=u:" + secret +
			"@h", "host=h,u:" + secret + "@h2",
		"host=h user='postgres://u:" + secret + "@h'", "host=h dbname='host=h Password = " + secret + "'",
		"postgres://h/db?host=u:" + secret + "@h",
	} {
		if _, err := pgsession.Config(dsn, ""); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", dsn, err)
		}
	}
	for _, dsn := range []string{"host=h user=u@realm dbname=d", "host=@socket user=u dbname=d",
		"host=/var/run user=u=x dbname=d"} {
		if _, err := pgsession.Config(dsn, ""); err != nil {
			t.Errorf("%s: %v", dsn, err)
		}
	}
}

func TestStringsThatAreTaken(t *testing.T) {
	clearEnvironment(t)
	for dsn, want := range map[string]string{
		"postgres://u:p@h:5433/db":                                                "u p h 5433 db",
		" postgresql://u:p@h:5433/db\n":                                           "u p h 5433 db",
		"postgres://u%40x:p%23%2F%3F%3A@h/d%2Fb?sslmode=disable":                  "u@x p#/?: h 5432 d/b",
		"postgres://u:p:q@h/db":                                                   "u p:q h 5432 db",
		"postgres://u@h/db?password=a%3D%40+b":                                    "u a=@+b h 5432 db",
		"postgres://u:p@[::1]:5433/db":                                            "u p ::1 5433 db",
		"postgres://u:p@h1:1,h2:2/db?target_session_attrs=read-write":             "u p h1 1 db",
		"postgres://u:p@/db?host=/var/run/postgresql":                             "u p /var/run/postgresql 5432 db",
		"postgres://u:p@%2Fvar%2Frun/db":                                          "u p /var/run 5432 db",
		"host=h port=5433 user=u password=p dbname=db":                            "u p h 5433 db",
		`host = h user = 'u x' password = 'it\'s \\ # @' dbname=db`:               `u x it's \ # @ h 5432 db`,
		`host=h user=u password=a\ b dbname=db`:                                   "u a b h 5432 db",
		"host=h user=u password=p=q dbname=db application.name=x":                 "u p=q h 5432 db",
		"postgres://u:p@h/db?pool_max_conns=x&default_query_exec_mode=nonsense":   "u p h 5432 db",
		"host=h user=u password=p dbname=db statement_cache_capacity=0":           "u p h 5432 db",
		"postgres://u:p@h/db?TimeZone=Asia/Tokyo&statement_timeout=1&ssl=true":    "u p h 5432 db",
		"postgres://u:p@h/db?options=-c%20statement_timeout%3D1&replication=true": "u p h 5432 db",
	} {
		if _, err := pgsession.Check(dsn); err != nil {
			t.Errorf("%s: %v", dsn, err)
			continue
		}
		config, err := pgsession.Config(dsn, "app")
		if err != nil {
			t.Errorf("%s: %v", dsn, err)
			continue
		}
		if got := strings.Join([]string{config.User, config.Password, config.Host, itoa(config.Port), config.Database},
			" "); got != want {
			t.Errorf("%s: %s, not %s", dsn, got, want)
		}
		if config.DefaultQueryExecMode != pgx.QueryExecModeCacheStatement || config.StatementCacheCapacity == 0 {
			t.Errorf("%s: statements are run by %v", dsn, config.DefaultQueryExecMode)
		}
		seen := map[string]string{}
		for name, value := range config.RuntimeParams {
			if other, twice := seen[strings.ToLower(name)]; twice {
				t.Errorf("%s: %s is given as %s and %s", dsn, name, value, other)
			}
			seen[strings.ToLower(name)] = value
		}
		if seen["timezone"] != "UTC" || seen["statement_timeout"] != "0" || seen["application_name"] != "app" ||
			seen["replication"] != "" {
			t.Errorf("%s: %v", dsn, seen)
		}
	}
}

func TestPasswords(t *testing.T) {
	clearEnvironment(t)
	const secret = `a&b=c+d %'\/`
	for _, dsn := range []string{"postgres://u@h/db", "postgres://u:@h/db?sslmode=disable", "postgres://h/db",
		"host=h user=u dbname=db", `user='x password=\'' host=h`} {
		if config, err := pgsession.Config(pgsession.AddPassword(dsn, secret, false), ""); err != nil ||
			config.Password != secret || config.Host != "h" {
			t.Errorf("%s: %v", dsn, err)
		}
	}
	for _, dsn := range []string{"postgres://u:own@h/db", "postgres://u@h/db?password=own",
		"host=h user=u password=own", `user='a b' password = 'own'`} {
		if config, err := pgsession.Config(pgsession.AddPassword(dsn, secret, false), ""); err != nil ||
			config.Password != "own" {
			t.Errorf("%s: %v", dsn, err)
		}
		if config, err := pgsession.Config(pgsession.AddPassword(dsn, secret, true), ""); err != nil ||
			config.Password != secret {
			t.Errorf("%s, replaced: %v", dsn, err)
		}
	}
}

// A variable that cannot be used is named and not quoted.
func TestWrongEnvironment(t *testing.T) {
	const nonsense = "/nowhere/n0nsense"
	certificate := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(certificate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"PGPORT": "", "PGSSLMODE": "", "PGSSLROOTCERT": "", "PGSSLCERT": "", "PGSSLKEY": "", "PGSSLCERTMODE": "",
		"PGSSLNEGOTIATION": "", "PGSSLSNI": "", "PGCONNECT_TIMEOUT": "",
		"PGTARGETSESSIONATTRS": "", "PGMINPROTOCOLVERSION": "", "PGMAXPROTOCOLVERSION": "", "PGCHANNELBINDING": "",
		"PGREQUIREAUTH": "", "PGSERVICE": "",
		"PGSSLROOTCERT ": certificate,
	} {
		name = strings.TrimSpace(name)
		for _, dsn := range []string{"postgres://u:p@localhost/db", "host=h user=u"} {
			t.Run(name, func(t *testing.T) {
				clearEnvironment(t)
				if value == "" {
					value = nonsense
				}
				t.Setenv(name, value)
				if strings.HasPrefix(dsn, "postgres") && name == "PGPORT" {
					dsn = "postgres://u:p@localhost/db"
				}
				_, err := pgsession.Config(dsn, "")
				if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "n0nsense") ||
					strings.Contains(err.Error(), "\n") {
					t.Errorf("%s: %v", dsn, err)
				}
			})
		}
	}
	clearEnvironment(t)
	for keyword, dsn := range map[string]string{
		"sslrootcert": "postgres://u:p@h/db?sslrootcert=" + nonsense, "sslmode": "host=h sslmode=n0nsense",
		"connect_timeout":      "host=h connect_timeout=n0nsense",
		"target_session_attrs": "postgres://h/db?target_session_attrs=n0nsense", "service": "host=h service=n0nsense",
	} {
		if _, err := pgsession.Config(dsn, ""); err == nil || !strings.Contains(err.Error(), keyword) ||
			strings.Contains(err.Error(), "n0nsense") {
			t.Errorf("%s: %v", dsn, err)
		}
	}
	t.Setenv("PGSSLMODE", nonsense)
	t.Setenv("PGCONNECT_TIMEOUT", nonsense)
	if _, err := pgsession.Config("host=h", ""); err == nil || !strings.Contains(err.Error(), "PGSSLMODE") {
		t.Errorf("two that are wrong: %v", err)
	}
}
