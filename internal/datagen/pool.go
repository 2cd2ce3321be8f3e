package datagen

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"strings"

	"github.com/brianvoe/gofakeit/v7"
)

// source is a random source. It is no interface because an event takes a dozen numbers.
type source struct{ rand.PCG }

func newSource(seed, stream uint64) *source { return &source{*rand.NewPCG(seed, stream)} }

// The sources of randomness of one seed.
const (
	streamEvents uint64 = 1 + iota
	streamFaults
	streamPools
	streamUsers
	streamProducts
	streamRenames
	streamTransactions
	streamRanks
	streamKeys // and rankedKeys more
)

// below gives 0..n-1.
func (s *source) below(n uint64) uint64 {
	hi, _ := bits.Mul64(s.Uint64(), n)
	return hi
}

// share is true with probability p. It draws nothing when p is 0.
func (s *source) share(p float64) bool { return p > 0 && s.float() < p }

// float gives 0 <= f < 1.
func (s *source) float() float64 { return float64(s.Uint64()>>11) / (1 << 53) }

func (s *source) uuid() (u uuid) {
	hi, lo := s.Uint64(), s.Uint64()
	for i := range 8 {
		u[i], u[8+i] = byte(hi>>(56-8*i)), byte(lo>>(56-8*i))
	}
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}

// pools holds values that look real. They are made once: a call of the faker per member would cost
// more than the rest of the event.
type pools struct {
	words, urls, agents, ips, addresses, payments texts
}

// Sizes. 64 random bits pick all texts of a click (10+12+13+14), and of a checkout the two
// addresses.
const (
	wordBits    = 10
	urlBits     = 12
	agentBits   = 13
	ipBits      = 14
	addressBits = 13
	paymentBits = 8
)

func newPools(seed uint64) *pools {
	f := faker{gofakeit.NewFaker(rand.NewPCG(seed, streamPools), false)}
	return &pools{
		words:     newTexts(wordBits, func(int) string { return f.word() }),
		urls:      newTexts(urlBits, func(int) string { return f.url() }),
		agents:    newTexts(agentBits, func(int) string { return f.agent() }),
		ips:       newTexts(ipBits, func(int) string { return f.IPv4Address() }),
		addresses: newTexts(addressBits, f.address),
		payments:  newTexts(paymentBits, func(i int) string { return payments[i*len(payments)>>paymentBits] }),
	}
}

// faker makes values as the original's library does.
type faker struct{ *gofakeit.Faker }

// payments are the original's card names, each with its frequency.
var payments = [...]string{
	"VISA 16 digit", "VISA 16 digit", "JCB 16 digit", "JCB 16 digit", "American Express", "JCB 15 digit",
	"Diners Club / Carte Blanche", "Maestro", "VISA 13 digit", "VISA 19 digit", "Mastercard", "Discover",
}

func (f faker) one(of ...string) string { return of[f.IntN(len(of))] }

func (f faker) word() string {
	for {
		w := f.one(f.NounCommon(), f.Verb(), f.AdjectiveDescriptive())
		if strings.Trim(w, "abcdefghijklmnopqrstuvwxyz") == "" && w != "" {
			return w
		}
	}
}

// name returns a last name in lower case, for domains.
func (f faker) name() string { return strings.ToLower(f.LastName()) }

func (f faker) url() string {
	var b strings.Builder
	b.WriteString(f.one("http://", "https://", "http://www.", "https://www."))
	b.WriteString(f.name())
	if f.IntN(3) == 0 {
		b.WriteString("-" + f.name())
	}
	b.WriteString("." + f.one("com", "com", "com", "net", "org", "info", "biz") + "/")
	folders := []string{
		"app", "main", "wp-content", "search", "category", "tag", "categories", "tags", "blog", "posts", "list",
		"explore",
	}
	for range f.IntN(3) {
		b.WriteString(f.one(folders...) + "/")
	}
	b.WriteString(f.one(folders...))
	b.WriteString(f.one("index", "home", "search", "main", "post", "homepage", "category", "register", "login",
		"faq", "about", "terms", "privacy", "author"))
	b.WriteString(f.one(".html", ".html", ".html", ".htm", ".htm", ".php", ".php", ".jsp", ".asp"))
	return b.String()
}

// agent returns a user agent of one of the original's families, in its proportions, but for the
// faker's Firefox: its date depends on the current year.
func (f faker) agent() string {
	webkit := fmt.Sprintf("%d.%d", 531+f.IntN(6), f.IntN(3))
	switch f.IntN(6) {
	case 0:
		return fmt.Sprintf("Mozilla/5.0 (compatible; MSIE %d.0; %s; Trident/%d.%d)",
			5+f.IntN(5), f.windows(), 3+f.IntN(3), f.IntN(2))
	case 1:
		return fmt.Sprintf("Mozilla/5.0 (%s) AppleWebKit/%s (KHTML, like Gecko) Chrome/%d.0.%d.0 Safari/%s",
			f.platform(), webkit, 13+f.IntN(51), 800+f.IntN(100), webkit)
	case 2:
		return fmt.Sprintf("Mozilla/5.0 (Android %d.%d; Mobile; rv:%d.0) Gecko/%d.0 Firefox/%d.0",
			1+f.IntN(14), f.IntN(5), 5+f.IntN(64), 5+f.IntN(64), 5+f.IntN(64))
	case 3:
		return f.SafariUserAgent()
	case 4:
		return fmt.Sprintf("Opera/%d.%d.(%s; %s) Presto/2.9.%d Version/%d.00",
			8+f.IntN(2), 10+f.IntN(90), f.platform(), f.LanguageBCP(), 160+f.IntN(31), 10+f.IntN(3))
	default:
		return f.ChromeUserAgent()
	}
}

func (f faker) windows() string {
	return "Windows " + f.one("NT 5.0", "NT 5.1", "NT 5.2", "NT 6.0", "NT 6.1", "NT 6.2", "NT 10.0", "NT 11.0",
		"95", "98", "CE")
}

func (f faker) platform() string {
	switch f.IntN(4) {
	case 0:
		return f.windows()
	case 1:
		return "X11; Linux " + f.one("x86_64", "i686")
	case 2:
		return fmt.Sprintf("Macintosh; %s Mac OS X 10_%d_%d", f.one("Intel", "PPC", "U; Intel"), 5+f.IntN(8),
			f.IntN(10))
	default:
		return fmt.Sprintf("Linux; Android %d.%d", 1+f.IntN(14), f.IntN(5))
	}
}

// abroad are places whose names are not ASCII: JSON escapes them.
var abroad = []string{
	"Cañon City, CO", "Peñasco, NM", "San José, CA", "Española, NM", "Piñon Hills, CA", "Coeur d’Alene, ID",
}

// address returns two lines, as the original does. One in a hundred is in one of abroad.
func (f faker) address(i int) string {
	for _, post := range []string{"PSC %04d, Box %04d\nAPO %s %05d", "Unit %04d Box %04d\nDPO %s %05d"} {
		if f.IntN(20) == 0 {
			return fmt.Sprintf(post, f.IntN(1e4), f.IntN(1e4), f.one("AA", "AE", "AP"), f.IntN(1e5))
		}
	}
	digits, number := 3+f.IntN(3), f.IntN(1000)*(1+f.IntN(90))
	name, suffix := f.one(f.FirstName(), f.LastName()), f.StreetSuffix()
	street := fmt.Sprintf("%0*d %s %s%s", digits, number, name, strings.ToUpper(suffix[:1]), suffix[1:])
	if f.IntN(2) == 0 {
		street += fmt.Sprintf(" %s %d", f.one("Apt.", "Suite"), 100+f.IntN(900))
	}
	if i%100 == 99 {
		return fmt.Sprintf("%s\n%s %05d", street, f.one(abroad...), f.IntN(1e5))
	}
	return fmt.Sprintf("%s\n%s, %s %05d", street, f.City(), f.StateAbr(), f.IntN(1e5))
}
