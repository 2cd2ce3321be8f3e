package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"firstclick/internal/kafkaconn"
	"firstclick/internal/pgsession"

	// Zones are part of the binary: images made from scratch have no zone files.
	_ "time/tzdata"
)

func parseText(text string) (string, error) { return text, nil }

func parseNonEmpty(text string) (string, error) {
	if strings.TrimSpace(text) == "" {
		return "", errors.New("must not be empty")
	}
	return text, nil
}

func parseSwitch(text string) (bool, error) {
	v, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("%q is neither true nor false", text)
	}
	return v, nil
}

// parseBrokers takes host:port pairs, separated by commas; without a port it is Kafka's own, 9092.
func parseBrokers(text string) ([]string, error) {
	var brokers []string
	for _, broker := range strings.Split(text, ",") {
		broker = strings.TrimSpace(broker)
		if broker == "" {
			continue
		}
		if !strings.Contains(broker, ":") {
			broker += ":9092"
		}
		brokers = append(brokers, broker)
	}
	return brokers, kafkaconn.CheckBrokers(brokers)
}

func checkAddress(address string, leastPort int) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not host:port", address)
	}
	if n, err := strconv.Atoi(port); err != nil || n < leastPort || n > math.MaxUint16 {
		return fmt.Errorf("%q: port %q is not a number from %d to 65535", address, port, leastPort)
	}
	if leastPort > 0 && host == "" {
		return fmt.Errorf("%q has no host", address)
	}
	return nil
}

// parseListen takes host:port, where the host may be empty (all interfaces) and the port 0 (a free one).
func parseListen(text string) (string, error) {
	if err := checkAddress(text, 0); err != nil {
		return "", fmt.Errorf("%w; write :8081, 127.0.0.1:8081, or port 0 for a free one", err)
	}
	return text, nil
}

// parseHosts takes names of hosts, separated by commas. A port would never match: the name is compared without it.
func parseHosts(text string) ([]string, error) {
	var hosts []string
	for host := range strings.SplitSeq(text, ",") {
		switch host = strings.TrimSpace(host); {
		case host == "":
		case strings.ContainsAny(host, ":/* \t"):
			return nil, fmt.Errorf("%q is not the name of a host; write names without scheme and port, separated by commas", host)
		default:
			hosts = append(hosts, host)
		}
	}
	return hosts, nil
}

// parseDatabase takes a URL or keyword=value pairs. It looks at nothing but the text.
func parseDatabase(text string) (string, error) { return pgsession.Check(text) }

// parseReplication takes a connection string, or nothing.
func parseReplication(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	return parseDatabase(text)
}

// topicName is Kafka's rule: org.apache.kafka.common.internals.Topic.
var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

func parseTopic(text string) (string, error) {
	if !topicName.MatchString(text) || text == "." || text == ".." {
		return "", fmt.Errorf("%q is not a topic's name; allowed are 1 to 249 of a-z A-Z 0-9 . _ -", text)
	}
	return text, nil
}

func parseStart(text string) (string, error) {
	if text == "earliest" || text == "latest" {
		return text, nil
	}
	if _, err := time.Parse(time.RFC3339, text); err != nil {
		return "", fmt.Errorf("%q is neither earliest nor latest nor a time as RFC 3339 writes it, such as 2026-01-31T15:04:05Z", text)
	}
	return text, nil
}

// parseMoment takes an RFC 3339 time; empty is the zero time.
func parseMoment(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a time as RFC 3339 writes it, such as 2026-01-31T15:04:05Z", text)
	}
	return t, nil
}

// moment is a time, or one that lies so long before now; the zero value is none.
type moment struct {
	time time.Time
	ago  time.Duration
}

func (m moment) at(now time.Time) time.Time {
	if m.ago > 0 {
		return now.Add(-m.ago)
	}
	return m.time
}

// parseAgo takes an RFC 3339 time, or a duration: so long ago. Empty is none.
func parseAgo(text string) (moment, error) {
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return moment{ago: d}, nil
	}
	t, err := parseMoment(text)
	if err != nil {
		return moment{}, fmt.Errorf("%q is neither a time as RFC 3339 writes it, such as 2026-01-31T15:04:05Z, nor how long ago, such as 2h", text)
	}
	return moment{time: t}, nil
}

// parseDuration takes Go's durations from least on.
func parseDuration(least time.Duration) func(string) (time.Duration, error) {
	return func(text string) (time.Duration, error) {
		d, err := time.ParseDuration(text)
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration; write 90m, 1h30m or 15s", text)
		}
		if d < least {
			return 0, fmt.Errorf("%q is too short; the least is %s", text, least)
		}
		if d%time.Microsecond != 0 {
			return 0, fmt.Errorf("%q is finer than a microsecond, which event times are not", text)
		}
		return d, nil
	}
}

// parseRetention takes durations from an hour on, and "never", which is 0.
func parseRetention(text string) (time.Duration, error) {
	if text == "never" {
		return 0, nil
	}
	d, err := parseDuration(time.Hour)(text)
	if err != nil {
		return 0, fmt.Errorf("%w; or never", err)
	}
	return d, nil
}

// parseWhole takes whole numbers from least on.
func parseWhole[T int | int32 | int64 | uint64](least, most T) func(string) (T, error) {
	return func(text string) (T, error) {
		// Underscores group digits, as in Go: 1_000_000.
		n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64)
		if err != nil || n < 0 && least >= 0 || T(n) < least || n >= 0 && uint64(n) > uint64(most) {
			return 0, fmt.Errorf("%q is not a whole number from %d to %d", text, least, most)
		}
		return T(n), nil
	}
}

// parseShare takes a share of all events, 0 to 1.
func parseShare(text string) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= 0 && v <= 1) {
		return 0, fmt.Errorf("%q is not a share from 0 to 1, such as 0.05 for 5 %%", text)
	}
	return v, nil
}

// parseRate takes a number a second, from 0 on.
func parseRate(text string) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= 0) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%q is not a number a second, 0 or more", text)
	}
	return v, nil
}

// parsePositive takes a number a second above 0.
func parsePositive(text string) (float64, error) {
	v, err := parseRate(text)
	if err != nil || v == 0 {
		return 0, fmt.Errorf("%q is not a number a second above 0", text)
	}
	return v, nil
}

// parseSeed takes a whole number, or "random", which is nil. Seeds are not random by accident alone: the same events sent twice,
// at different times, are conflicts.
func parseSeed(text string) (*uint64, error) {
	if text == "random" {
		return nil, nil
	}
	n, err := parseWhole[uint64](0, math.MaxInt64)(text)
	if err != nil {
		return nil, fmt.Errorf("%w, or random", err)
	}
	return &n, nil
}

func parseZone(text string) (*time.Location, error) {
	// LoadLocation takes "" for UTC and "Local" for whatever the machine has: neither says what the events mean.
	if text == "" || text == "Local" {
		return nil, errors.New("needs a zone's name, such as UTC or Europe/Berlin")
	}
	zone, err := time.LoadLocation(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not a zone of the IANA database, such as UTC or Europe/Berlin", text)
	}
	return zone, nil
}

// oneOf takes one of the given words; empty stands for "not given" where it is among them.
func oneOf(words ...string) func(string) (string, error) {
	return func(text string) (string, error) {
		if !slices.Contains(words, text) {
			shown := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "" })
			return "", fmt.Errorf("%q is not one of %s", text, strings.Join(shown, ", "))
		}
		return text, nil
	}
}

func parseLevel(text string) (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(text)); err != nil {
		return 0, fmt.Errorf("%q is not one of debug, info, warn, error", text)
	}
	return level, nil
}
