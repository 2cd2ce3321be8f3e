package pgsession

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
)

// concern is something that a connection string or a variable of the environment can say, and what is wrong where it cannot be used.
type concern struct {
	keywords  []string // of the connection string
	variables []string // of the environment, in the same order
	harmless  []string // values that always do
	wrong     string
}

func concerns() []concern {
	return []concern{
		{[]string{"host", "port"}, []string{"PGHOST", "PGPORT"}, []string{"localhost", "5432"}, "wants as many ports as hosts, or one, each from 1 to 65535"},
		{[]string{"sslmode"}, []string{"PGSSLMODE"}, []string{"require"}, "is none of disable, allow, prefer, require, verify-ca, verify-full, or does not go with the other TLS settings"},
		{[]string{"sslrootcert"}, []string{"PGSSLROOTCERT"}, []string{""}, "names no file with certificates (PEM) that can be read"},
		{[]string{"sslcert", "sslkey", "sslpassword"}, []string{"PGSSLCERT", "PGSSLKEY", "PGSSLPASSWORD"}, []string{"", "", ""}, "want a certificate and its key (PEM) in files that can be read"},
		{[]string{"sslcertmode"}, []string{"PGSSLCERTMODE"}, []string{"allow"}, "is none of disable, allow, require"},
		{[]string{"connect_timeout"}, []string{"PGCONNECT_TIMEOUT"}, []string{"10"}, "is not a number of seconds"},
		{[]string{"target_session_attrs"}, []string{"PGTARGETSESSIONATTRS"}, []string{"any"}, "is none of any, read-write, read-only, primary, standby, prefer-standby"},
		{[]string{"min_protocol_version", "max_protocol_version"}, []string{"PGMINPROTOCOLVERSION", "PGMAXPROTOCOLVERSION"}, []string{"3.0", "3.0"}, "is none of 3.0, 3.2, latest"},
		{[]string{"channel_binding"}, []string{"PGCHANNELBINDING"}, []string{"prefer"}, "is none of disable, prefer, require"},
		{[]string{"require_auth"}, []string{"PGREQUIREAUTH"}, []string{""}, "is not a list of ways to authenticate"},
	}
}

// blame says what of the connection string or the environment the driver cannot use. Its own error would quote it.
func blame(dsn string, refused error) error {
	if strings.Contains(refused.Error(), "failed to read service") {
		return errors.New("PGSERVICE and PGSERVICEFILE, or service and servicefile of the connection string, name no service that can be read")
	}
	all := concerns()
	for i, c := range all {
		try := dsn
		for j, other := range all {
			if i == j {
				continue
			}
			for k, keyword := range other.keywords {
				try = with(try, keyword, other.harmless[k])
			}
		}
		if _, err := pgx.ParseConfig(try); err != nil {
			return fmt.Errorf("%s %s", c.from(), c.wrong)
		}
	}
	return errors.New("the connection string, the environment (PG...) and the service file do not go together")
}

// from names the variables that are set, else the keywords.
func (c concern) from() string {
	var set []string
	for _, name := range c.variables {
		if os.Getenv(name) != "" {
			set = append(set, name)
		}
	}
	if set != nil {
		return strings.Join(set, " and ")
	}
	return strings.Join(c.keywords, " and ") + " of the connection string"
}

// with sets a keyword of a canonical connection string: of several the last one counts.
func with(dsn, keyword, value string) string {
	switch {
	case !IsURL(dsn):
		return dsn + " " + keyword + "='" + value + "'"
	case strings.Contains(dsn, "?"):
		return dsn + "&" + keyword + "=" + value
	}
	return dsn + "?" + keyword + "=" + value
}
