package pgsession

import (
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

const example = "write postgres://user:password@host:5432/database, or host=db user=app dbname=shop"

// The errors of a connection string continue a sentence and quote nothing.
var (
	errEmpty  = errors.New("must not be empty")
	errMark   = errors.New("begins with a byte order mark: take it off")
	errQuoted = errors.New("stands in quotes: take them off")
	errNUL    = errors.New("holds a NUL byte")
	errScheme = errors.New("has another scheme than postgres:// or postgresql://; " + example)
	// PGDATABASE and dbname may be a connection string for libpq. The driver would take it for a
	// name, which is shown.
	errMisplaced = errors.New("the name of the database's host, its user or itself (PGHOST, PGUSER, PGDATABASE, " +
		"or host, user, dbname of the connection string) is a connection string, or part of one: " +
		"give the whole of it by --database")
	errForm = errors.New("is not a Postgres connection string; " + example)
	errPart = errors.New("is not a Postgres connection string: in a URL, user, password and database have " +
		"%40 %3A %2F %3F %23 %25 for @ : / ? # %; " + example)
	errKeyword = errors.New("holds a keyword that is none of host, port, user, password, dbname, sslmode, " +
		"sslrootcert, " +
		"sslcert, sslkey, connect_timeout, target_session_attrs, options and the others that the manual of the " +
		"driver " +
		"(pgx) names; any setting of Postgres can be given as options='-c name=value'")
)

// keywords are those of the driver.
// https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
var keywords = []string{
	"host", "port", "dbname", "database", "user", "password", "passfile", "connect_timeout", "application_name",
	"client_encoding", "options", "sslmode", "sslkey", "sslcert", "sslcertmode", "sslrootcert", "sslnegotiation",
	"sslpassword", "sslsni", "krbspn", "krbsrvname", "target_session_attrs", "service", "servicefile",
	"min_protocol_version", "max_protocol_version", "channel_binding", "require_auth", "replication",
}

// postgresSettings are settings that people put beside them, in lower case: Postgres takes any
// case.
var postgresSettings = []string{
	"array_nulls", "bytea_output", "datestyle", "default_transaction_deferrable", "default_transaction_isolation",
	"default_transaction_read_only", "extra_float_digits", "idle_in_transaction_session_timeout",
	"idle_session_timeout", "intervalstyle", "jit", "lock_timeout", "maintenance_work_mem", "role", "row_security",
	"search_path", "standard_conforming_strings", "statement_timeout", "synchronous_commit", "tcp_keepalives_count",
	"tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_user_timeout", "timezone", "transaction_timeout",
	"wal_sender_timeout", "work_mem",
}

// dropped are the driver's own settings. The connection string does not decide how statements are
// run and how many sessions there are.
var dropped = []string{
	"default_query_exec_mode", "statement_cache_capacity", "description_cache_capacity", "pool_max_conns",
	"pool_min_conns", "pool_min_idle_conns", "pool_max_conn_lifetime", "pool_max_conn_idle_time",
	"pool_health_check_period", "pool_max_conn_lifetime_jitter", "pool_ping_timeout",
}

var (
	anyScheme     = regexp.MustCompile(`^[^\s=']*://`)
	anotherString = regexp.MustCompile(`://|(?i:password)\s*=`)
	// customSetting is the name of an extension's setting, or of the customer's own.
	customSetting = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*\.[A-Za-z_][A-Za-z0-9_]*$`)
	// passwordPair finds a password among canonical pairs.
	passwordPair = regexp.MustCompile(`^(\w+='([^'\\]|\\.)*' )*password='`)
)

// misplaced says whether a name is a connection string, or part of one.
func misplaced(config *pgx.ConnConfig) bool {
	hosts := []string{config.Host}
	for _, f := range config.Fallbacks {
		hosts = append(hosts, f.Host)
	}
	return slices.ContainsFunc(append(hosts, config.Database), anotherString.MatchString) ||
		strings.Contains(config.User, "://") ||
		// An abstract socket begins with an @.
		slices.ContainsFunc(hosts, func(host string) bool { return strings.LastIndexByte(host, '@') > 0 })
}

func known(keyword string) bool {
	return slices.Contains(keywords, keyword) || slices.Contains(dropped, keyword) ||
		slices.Contains(postgresSettings, strings.ToLower(keyword)) || customSetting.MatchString(keyword)
}

// Check says whether every part of a connection string is understood, and returns it without the
// space around it. It does not check whether the files that it names exist: Config does. Its errors
// continue a sentence, and quote nothing.
func Check(text string) (string, error) {
	text = strings.TrimSpace(text)
	_, err := canonical(text)
	return text, err
}

// IsURL distinguishes a URL from keywords.
func IsURL(text string) bool {
	return strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://")
}

// canonical is the connection string for the driver, in a form that cannot be read in two ways.
func canonical(text string) (string, error) {
	switch {
	case text == "":
		return "", errEmpty
	case strings.HasPrefix(text, "\ufeff"), strings.HasPrefix(text, "\xff\xfe"), strings.HasPrefix(text, "\xfe\xff"):
		return "", errMark
	case strings.ContainsRune(text, 0):
		return "", errNUL
	case strings.ContainsAny(text[:1], "\"'`") || strings.HasPrefix(text, "“") || strings.HasPrefix(text, "‘"):
		return "", errQuoted
	case IsURL(text):
		return canonicalURL(text)
	case anyScheme.MatchString(text), strings.HasPrefix(strings.ToLower(text), "jdbc:"):
		return "", errScheme
	}
	return canonicalPairs(text)
}

// canonicalPairs reads keyword=value pairs by libpq's rules: a value may be in single quotes,
// and a backslash takes the next byte as it is.
func canonicalPairs(text string) (string, error) {
	var out []string
	for rest := text; rest != ""; {
		keyword, after, found := strings.Cut(rest, "=")
		keyword = strings.TrimFunc(keyword, isSpace)
		if !found || keyword == "" {
			return "", errForm
		}
		if !known(keyword) {
			return "", errKeyword
		}
		value, left, ok := pairValue(strings.TrimLeftFunc(after, isSpace))
		if !ok {
			return "", errForm
		}
		if !slices.Contains(dropped, keyword) {
			out = append(out, keyword+"='"+escapePair(value)+"'")
		}
		rest = strings.TrimLeftFunc(left, isSpace)
	}
	return strings.Join(out, " "), nil
}

func isSpace(r rune) bool { return r == ' ' || '\t' <= r && r <= '\r' }

func pairValue(text string) (value, rest string, ok bool) {
	quoted := strings.HasPrefix(text, "'")
	i := 0
	if quoted {
		i = 1
	}
	var b strings.Builder
	for ; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			if i++; i == len(text) {
				return "", "", false
			}
			b.WriteByte(text[i])
		case quoted && c == '\'': // the next pair must not follow at once
			rest = text[i+1:]
			return b.String(), rest, rest == "" || isSpace(rune(rest[0]))
		case !quoted && isSpace(rune(c)):
			return b.String(), text[i:], true
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), "", !quoted
}

// canonicalURL is stricter than the driver: what one takes for a port, a database or a parameter
// may be the second half of a password with a character that should have been escaped.
func canonicalURL(text string) (string, error) {
	scheme, rest, _ := strings.Cut(text, "://")
	address, query, _ := strings.Cut(rest, "?")
	hosts, database, _ := strings.Cut(address, "/")
	credentials, after, found := strings.Cut(hosts, "@")
	if found {
		hosts = after
	}
	// Like libpq, the driver looks for the end of the password also in what others take for
	// parameters.
	at := strings.IndexAny(rest, "@/")
	if strings.ContainsAny(rest, "# \t\r\n") || at >= 0 && rest[at] == '@' && strings.Contains(rest[:at], "?") ||
		found && !validEscapes(credentials) || strings.ContainsAny(database, "/@:") || !validEscapes(database) {
		return "", errPart
	}
	for host := range strings.SplitSeq(hosts, ",") {
		if !validHost(host) {
			return "", errPart
		}
	}
	parameters, err := canonicalParameters(query)
	if err != nil {
		return "", err
	}
	out := scheme + "://" + address
	if parameters != "" {
		out += "?" + parameters
	}
	return out, nil
}

func canonicalParameters(query string) (string, error) {
	var out []string
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		rawKeyword, value, found := strings.Cut(pair, "=")
		keyword, err := url.PathUnescape(rawKeyword)
		if !found || err != nil || strings.Contains(value, "=") || !validEscapes(value) {
			return "", errPart
		}
		switch {
		case keyword == "ssl" && value == "true": // as JDBC writes sslmode=require
		case !known(keyword):
			return "", errKeyword
		case slices.Contains(dropped, keyword):
			continue
		}
		out = append(out, keyword+"="+value)
	}
	return strings.Join(out, "&"), nil
}

// validEscapes says whether every percent sign begins an escape, and none of a NUL.
func validEscapes(text string) bool {
	plain, err := url.PathUnescape(text)
	return err == nil && !strings.ContainsRune(plain, 0)
}

// validHost accepts host, host:port, [address]:port.
func validHost(host string) bool {
	name := host
	if colon := strings.LastIndexByte(host, ':'); colon > strings.LastIndexByte(host, ']') {
		port := host[colon+1:]
		name = host[:colon]
		if n, err := strconv.Atoi(port); port != "" && (err != nil || n < 1 || n > 65535) {
			return false
		}
	}
	if strings.HasPrefix(name, "[") {
		return strings.HasSuffix(name, "]")
	}
	return validEscapes(name) && !strings.ContainsAny(name, ":@[]")
}

// AddPassword gives a connection string a password if it has none, or, with replace, in any case.
func AddPassword(text, password string, replace bool) string {
	text = strings.TrimSpace(text)
	if hasPassword(text) && !replace {
		return text
	}
	if !IsURL(text) {
		return text + " password='" + escapePair(password) + "'"
	}
	// A parameter wins over the password before the host.
	return with(text, "password", strings.ReplaceAll(url.QueryEscape(password), "+", "%20"))
}

func hasPassword(text string) bool {
	clean, err := canonical(text)
	if err != nil {
		return false
	}
	if !IsURL(clean) {
		return passwordPair.MatchString(clean)
	}
	address, query, _ := strings.Cut(clean, "?")
	credentials, _, found := strings.Cut(address, "@")
	_, password, _ := strings.Cut(strings.SplitN(credentials, "://", 2)[1], ":")
	return found && password != "" || strings.HasPrefix(query, "password=") || strings.Contains(query, "&password=")
}

func escapePair(value string) string { return strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) }
