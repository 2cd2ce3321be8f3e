package pgtest

import (
	"maps"
	"net/url"
	"os"
	"slices"

	"firstclick/internal/pgserver"
)

// hostile says whether the shared server has the hostile settings.
func hostile() bool { return os.Getenv("FIRSTCLICK_PGTEST") == "hostile" }

// usual are defaults of sessions by the version that brought them, with the usual value and a
// hostile one. With FIRSTCLICK_PGTEST=hostile the shared server has the hostile ones for every
// session, and its databases the collation of a language. The addresses for tests carry the usual
// ones, for the tests' own sessions: firstclick's set their own.
var usual = map[string]struct {
	since          int
	usual, hostile string
}{
	"TimeZone":                            {0, "UTC", "America/St_Johns"},
	"DateStyle":                           {0, "ISO, MDY", "SQL, DMY"},
	"IntervalStyle":                       {0, "postgres", "sql_standard"},
	"bytea_output":                        {0, "hex", "escape"},
	"extra_float_digits":                  {0, "1", "-15"},
	"array_nulls":                         {0, "on", "off"},
	"standard_conforming_strings":         {0, "on", "off"},
	"default_transaction_isolation":       {0, "read committed", "serializable"},
	"default_transaction_read_only":       {0, "off", "on"},
	"default_transaction_deferrable":      {0, "off", "on"},
	"row_security":                        {0, "on", "off"},
	"statement_timeout":                   {0, "0", "200ms"},
	"lock_timeout":                        {0, "0", "50ms"},
	"idle_in_transaction_session_timeout": {0, "0", "50ms"},
	"idle_session_timeout":                {14, "0", "300ms"},
	"transaction_timeout":                 {17, "0", "5s"}, // it counts while a session begins, too
}

// hostileSettings are those of a major version.
func hostileSettings(major int) map[string]string {
	settings := map[string]string{}
	for name, s := range usual {
		if major >= s.since {
			settings[name] = s.hostile
		}
	}
	return settings
}

// address is the URL of a database, with the usual settings where the server's are hostile.
func address(server *pgserver.Server, database string) string {
	dsn := server.DSN(database)
	for _, name := range slices.Sorted(maps.Keys(usual)) {
		if hostile() && server.Major() >= usual[name].since {
			dsn += "&" + name + "=" + url.PathEscape(usual[name].usual)
		}
	}
	return dsn
}

// locale is the end of CREATE DATABASE. Collations of a language come with the server since version
// 15; those of the system may be missing.
func locale(server *pgserver.Server) string {
	if !hostile() || server.Major() < 15 {
		return ""
	}
	return " TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-AT' LOCALE 'C'"
}
