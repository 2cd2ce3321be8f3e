package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// hostNames are the names of this server in Host headers, where there is no authentication. A
// website whose name resolves to our address (DNS rebinding) could otherwise read through its
// visitor's browser all that the visitor reaches: to the browser it and we are one origin. The Host
// header then has the website's name. An address cannot be rebound, so every address is accepted.
type hostNames struct {
	names map[string]bool
	log   *slog.Logger

	mu     sync.Mutex
	logged time.Time // the last refusal that was logged
}

// logEvery is the least time between two log lines about refused names: clients decide how many
// requests are refused.
const logEvery = time.Minute

func newHostNames(listen string, hosts []string, log *slog.Logger) *hostNames {
	n := &hostNames{names: map[string]bool{"": true, "localhost": true}, log: log} // a browser sends a Host
	if host, _, err := net.SplitHostPort(listen); err == nil {
		n.names[canonicalName(host)] = true
	}
	for _, host := range hosts {
		n.names[canonicalName(host)] = true
	}
	return n
}

// canonicalName returns a host name without what does not count: case, and a dot at the end.
func canonicalName(host string) string { return strings.TrimSuffix(strings.ToLower(host), ".") }

// has says whether a Host header names this server.
func (n *hostNames) has(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if n.names[canonicalName(host)] {
		return true
	}
	_, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil
}

// refuse answers a request for another name, and logs it now and then: a scrape may depend on it.
func (n *hostNames) refuse(w http.ResponseWriter, host string) {
	host = host[:min(len(host), 255)] // the longest name in DNS
	n.mu.Lock()
	logNow := time.Since(n.logged) >= logEvery
	if logNow {
		n.logged = time.Now()
	}
	n.mu.Unlock()
	if logNow {
		n.log.Warn("refused a request by a name that is not ours", "host", host)
	}
	secure(w.Header())
	text := fmt.Sprintf("%q is no name of this server: use its address, or add the name to --listen-hosts "+
		"(LISTEN_HOSTS)", host)
	http.Error(w, text, http.StatusMisdirectedRequest)
}

const (
	// pageHeader is a header that our page sends with costly requests. Another site's page cannot
	// set it: a browser would ask this server first, which allows nothing.
	pageHeader = "X-Firstclick"
	// tokenHeader has the token that this start gave to the page. It goes with every action.
	tokenHeader = "X-Firstclick-Token"
)

// refusedForeign is the answer to a request of another site's page.
const refusedForeign = "the request did not come from this page"

// foreign says whether another site's page sent a request. It could not read the answer, but would
// make us work. Browsers set both headers, and scripts cannot:
// https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site. They leave
// out Sec-Fetch-Site if the address is neither https nor this machine, and Origin if only a picture
// is requested: then a browser's request must have the header of our page. An event stream cannot.
func foreign(r *http.Request) bool {
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	if origin != "" {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || u.Host != r.Host {
			return true
		}
	}
	if site != "" {
		return site != "same-origin" && site != "none"
	}
	browser := strings.HasPrefix(r.Header.Get("User-Agent"), "Mozilla/")
	return browser && origin == "" && r.URL.Path != eventsPath && r.Header.Get(pageHeader) == ""
}

// Auth has the names with passwords, and the tokens, of those who may look: only their hashes.
type Auth struct {
	users, tokens [][sha256.Size]byte

	// Warnings say what makes the file unsafe, a line each. They quote none of it.
	Warnings []string
}

// leastSecret is the least length in bytes of a password or token that is hard to guess.
const leastSecret = 12

// ReadAuth reads a file with a line for each who may look: name:password (HTTP basic
// authentication), or a token (Authorization: Bearer; a browser takes it as the password of any
// name). Empty lines and lines that begin with # are ignored. The error does not quote the path: it
// may be the secret itself, given in place of its file.
func ReadAuth(path string) (*Auth, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		if cause := (*fs.PathError)(nil); errors.As(err, &cause) {
			err = cause.Err
		}
		return nil, fmt.Errorf("read the file of who may look: %w", err)
	}
	var a Auth
	warn := func(format string, args ...any) {
		a.Warnings = append(a.Warnings, path+": "+fmt.Sprintf(format, args...))
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o027 != 0 {
		warn("its mode is %#o, so that others may read it or write to it: "+
			"chmod 600, or 640 for a group that is only ours", info.Mode().Perm())
	}
	for n, line := range strings.Split(string(text), "\n") {
		line = strings.TrimRight(line, "\r")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		_, secret, isUser := strings.Cut(line, ":")
		switch {
		case isUser && secret == "": // such as a variable that was empty: everybody would know it
			return nil, fmt.Errorf("%s: line %d: a name without a password", path, n+1)
		case isUser:
			a.users = append(a.users, sha256.Sum256([]byte(line)))
		default:
			secret = strings.TrimSpace(line)
			a.tokens = append(a.tokens, sha256.Sum256([]byte(secret)))
		}
		if len(secret) < leastSecret {
			warn("line %d: its secret has fewer than %d characters and is soon guessed: "+
				"openssl rand -hex 24 makes one", n+1, leastSecret)
		}
	}
	if len(a.users)+len(a.tokens) == 0 {
		return nil, fmt.Errorf("%s: has neither name:password nor a token", path)
	}
	return &a, nil
}

// admits takes the same time for every request.
func (a *Auth) admits(r *http.Request) bool {
	ok := 0
	compare := func(list [][sha256.Size]byte, text string) {
		sum := sha256.Sum256([]byte(text))
		for i := range list {
			ok |= subtle.ConstantTimeCompare(list[i][:], sum[:])
		}
	}
	if name, password, basic := r.BasicAuth(); basic {
		compare(a.users, name+":"+password)
		compare(a.tokens, password)
	} else if scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		compare(a.tokens, strings.TrimSpace(token))
	}
	return ok == 1
}

// refuse asks a browser for name and password.
func (a *Auth) refuse(w http.ResponseWriter) {
	secure(w.Header())
	w.Header().Set("WWW-Authenticate", `Basic realm="firstclick", charset="UTF-8"`)
	http.Error(w, "who are you?", http.StatusUnauthorized)
}

// isProbe says whether a path is for monitoring, which has no password.
func isProbe(path string) bool { return path == "/livez" || path == "/readyz" || path == "/healthz" }
