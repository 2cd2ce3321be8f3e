package pgsession

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// part is keywords of the connection string that belong together, and what is wrong if they or
// their variables cannot be used.
type part struct {
	harmless []string // keyword=value pairs that are always accepted
	wrong    string
}

func parts() []part {
	return []part{
		{[]string{"host=localhost", "port=5432"}, "wants as many ports as hosts, or one, each from 1 to 65535"},
		{[]string{"sslmode=require"}, "is none of disable, allow, prefer, require, verify-ca, verify-full, " +
			"or does not go with the other TLS settings"},
		{[]string{"sslrootcert="}, "names no file with certificates (PEM) that can be read"},
		{[]string{"sslcert=", "sslkey=", "sslpassword="},
			"want a certificate and its key (PEM) in files that can be read"},
		{[]string{"sslcertmode=allow"}, "is none of disable, allow, require"},
		{[]string{"connect_timeout=10"}, "is not a number of seconds"},
		{[]string{"target_session_attrs=any"},
			"is none of any, read-write, read-only, primary, standby, prefer-standby"},
		{[]string{"min_protocol_version=3.0", "max_protocol_version=3.0"}, "is none of 3.0, 3.2, latest"},
		{[]string{"channel_binding=prefer"}, "is none of disable, prefer, require"},
		{[]string{"require_auth="}, "is not a list of ways to authenticate"},
	}
}

// explainRefusal says what of the connection string or the environment the driver cannot use: the
// part without which it can. The driver's own error would quote it.
func explainRefusal(dsn string, refused error) error {
	if strings.Contains(refused.Error(), "failed to read service") {
		return errors.New("PGSERVICE and PGSERVICEFILE, or service and servicefile of the connection string, " +
			"name no service that can be read")
	}
	all := parts()
	for i, p := range all {
		try := dsn
		for _, other := range slices.Delete(slices.Clone(all), i, i+1) {
			for _, pair := range other.harmless {
				keyword, value, _ := strings.Cut(pair, "=")
				try = with(try, keyword, value)
			}
		}
		if _, err := pgx.ParseConfig(try); err != nil {
			return fmt.Errorf("%s %s", p.source(), p.wrong)
		}
	}
	return errors.New("the connection string, the environment (PG...) and the service file do not go together")
}

// source names the variables that are set, else the keywords.
func (p part) source() string {
	var keywords, set []string
	for _, pair := range p.harmless {
		keyword, _, _ := strings.Cut(pair, "=")
		keywords = append(keywords, keyword)
		variable := "PGCONNECT_TIMEOUT"
		if keyword != "connect_timeout" {
			variable = "PG" + strings.ToUpper(strings.ReplaceAll(keyword, "_", ""))
		}
		if os.Getenv(variable) != "" {
			set = append(set, variable)
		}
	}
	if set != nil {
		return strings.Join(set, " and ")
	}
	return strings.Join(keywords, " and ") + " of the connection string"
}

// with sets a keyword of a canonical connection string, in which the last of several counts.
func with(dsn, keyword, value string) string {
	switch {
	case !IsURL(dsn):
		return dsn + " " + keyword + "='" + value + "'"
	case strings.Contains(dsn, "?"):
		return dsn + "&" + keyword + "=" + value
	}
	return dsn + "?" + keyword + "=" + value
}
