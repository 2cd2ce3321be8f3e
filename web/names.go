package web

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// names are the names by which we may be asked for where nobody has to say who they are. A website whose name resolves to our address (DNS
// rebinding) would otherwise read through its visitor's browser whatever that reaches: to the browser, we and the website are one origin. The name
// in the Host header is then the website's. An address cannot be rebound, so every address is ours.
type names struct {
	ourNames map[string]bool
	log      *slog.Logger

	mu   sync.Mutex
	told time.Time // when a refusal was last logged
}

// tellEvery is how often a refusal is logged at most: whoever asks decides how often it happens.
const tellEvery = time.Minute

func newNames(listen string, hosts []string, log *slog.Logger) *names {
	n := &names{ourNames: map[string]bool{"": true, "localhost": true}, log: log} // without a Host header it is no browser
	if host, _, err := net.SplitHostPort(listen); err == nil {
		hosts = append(hosts[:len(hosts):len(hosts)], host)
	}
	for _, host := range hosts {
		n.ourNames[plainName(host)] = true
	}
	return n
}

// plainName is a host's name as it is compared: names know no case, and one dot at the end says nothing.
func plainName(host string) string { return strings.TrimSuffix(strings.ToLower(host), ".") }

// ours says whether the Host header of a request names us.
func (n *names) ours(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if n.ourNames[plainName(host)] {
		return true
	}
	_, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil
}

// refusal is what is answered to a request for another name, and logs it now and then: a scrape may hang on it.
func (n *names) refusal(host string) string {
	const most = 255 // of a name in DNS
	host = host[:min(len(host), most)]
	n.mu.Lock()
	tell := time.Since(n.told) >= tellEvery
	if tell {
		n.told = time.Now()
	}
	n.mu.Unlock()
	if tell {
		n.log.Warn("refused a request by a name that is not ours", "host", host)
	}
	return fmt.Sprintf("%q is no name of this server: ask by its address, or let --listen-hosts (LISTEN_HOSTS) name it", host)
}
