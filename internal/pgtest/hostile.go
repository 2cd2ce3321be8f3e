package pgtest

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
)

// wantedVersion is the major version that FIRSTCLICK_PGTEST_VERSION asks tests to run on; 0: any.
func wantedVersion() (int, error) {
	text := os.Getenv("FIRSTCLICK_PGTEST_VERSION")
	if text == "" {
		return 0, nil
	}
	major, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("FIRSTCLICK_PGTEST_VERSION=%s is no major version", text)
	}
	return major, nil
}

// usual are defaults of sessions by the version that brought them, with the usual value and a
// hostile one. With FIRSTCLICK_PGTEST=hostile the shared server has the hostile ones for every session, and its databases a collation of a
// language. The addresses that tests get carry the usual ones for the tests' own sessions: firstclick's set their own.
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

func (s *Server) hostileArgs() (args []string) {
	for _, name := range slices.Sorted(maps.Keys(usual)) {
		if s.programs.major >= usual[name].since {
			args = append(args, "-c", name+"="+usual[name].hostile)
		}
	}
	return args
}

// tame are parameters of an address.
func (s *Server) tame() (query string) {
	for _, name := range slices.Sorted(maps.Keys(usual)) {
		if s.programs.major >= usual[name].since {
			query += "&" + name + "=" + url.PathEscape(usual[name].usual)
		}
	}
	return query
}

// locale is the end of CREATE DATABASE. Collations of a language come with the server since version 15; those of the system may be missing.
func (s *Server) locale() string {
	if !s.options.hostile || s.programs.major < 15 {
		return ""
	}
	return " TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-AT' LOCALE 'C'"
}
