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

	// The binary carries the zones: images made from scratch have no zone files.
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

// oneOf takes one of the words.
func oneOf(words ...string) func(string) (string, error) {
	return func(text string) (string, error) {
		if !slices.Contains(words, text) {
			return "", fmt.Errorf("%q is not one of %s", text, strings.Join(words, ", "))
		}
		return text, nil
	}
}

// commaList splits a text at commas and drops empty items.
func commaList(text string) []string {
	var items []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// parseBrokers takes host:port pairs, separated by commas. The default port is Kafka's own, 9092.
func parseBrokers(text string) ([]string, error) {
	brokers := commaList(text)
	for i, broker := range brokers {
		if !strings.Contains(broker, ":") {
			brokers[i] += ":9092"
		}
	}
	return brokers, kafkaconn.CheckBrokers(brokers)
}

// parseListen takes host:port. No host means all interfaces, and port 0 a free one.
func parseListen(text string) (string, error) {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		err = fmt.Errorf("%q is not host:port", text)
	} else if n, bad := strconv.Atoi(port); bad != nil || n < 0 || n > math.MaxUint16 {
		err = fmt.Errorf("%q: port %q is not a number from 0 to 65535", text, port)
	}
	if err != nil {
		return "", fmt.Errorf("%w; write :8081, 127.0.0.1:8081, or port 0 for a free one", err)
	}
	return text, nil
}

// parseHosts takes host names, separated by commas. It refuses a port: names are compared without.
func parseHosts(text string) ([]string, error) {
	hosts := commaList(text)
	for _, host := range hosts {
		if strings.ContainsAny(host, ":/* \t") {
			return nil, fmt.Errorf("%q is not the name of a host; "+
				"write names without scheme and port, separated by commas", host)
		}
	}
	return hosts, nil
}

// parseDatabase takes a URL or keyword=value pairs. It looks at nothing but the text.
func parseDatabase(text string) (string, error) { return pgsession.Check(text) }

// topicName is Kafka's rule: org.apache.kafka.common.internals.Topic.
var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

func parseTopic(text string) (string, error) {
	if !topicName.MatchString(text) || text == "." || text == ".." {
		return "", fmt.Errorf("%q is not a topic's name; allowed are 1 to 249 of a-z A-Z 0-9 . _ -", text)
	}
	return text, nil
}

// exampleTime shows the format of RFC 3339 in messages.
const exampleTime = "2026-01-31T15:04:05Z"

func parseStart(text string) (string, error) {
	if text == "earliest" || text == "latest" {
		return text, nil
	}
	if _, err := time.Parse(time.RFC3339, text); err != nil {
		return "", fmt.Errorf("%q is neither earliest nor latest nor an RFC 3339 time such as %s", text, exampleTime)
	}
	return text, nil
}

// parseTime takes an RFC 3339 time; empty is the zero time.
func parseTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not an RFC 3339 time such as %s", text, exampleTime)
	}
	return t, nil
}

// parseMoment takes an RFC 3339 time, or a duration before now. Empty is the zero time.
func parseMoment(text string) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return time.Now().Add(-d), nil
	}
	t, err := parseTime(text)
	if err != nil {
		err = fmt.Errorf("%q is neither an RFC 3339 time such as %s, nor how long ago, such as 2h", text, exampleTime)
	}
	return t, err
}

// parseDuration takes Go's durations from least on.
func parseDuration(least time.Duration) func(string) (time.Duration, error) {
	return func(text string) (time.Duration, error) {
		d, err := time.ParseDuration(text)
		switch {
		case err != nil:
			return 0, fmt.Errorf("%q is not a duration; write 90m, 1h30m or 15s", text)
		case d < least:
			return 0, fmt.Errorf("%q is too short; the least is %s", text, least)
		case d%time.Microsecond != 0:
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

// parseWhole takes whole numbers from least to most.
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

// parseFloat takes the numbers for which ok holds; what describes them. Infinity is refused.
func parseFloat(what string, ok func(float64) bool) func(string) (float64, error) {
	return func(text string) (float64, error) {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || !ok(v) || math.IsInf(v, 0) {
			return 0, fmt.Errorf("%q is not %s", text, what)
		}
		return v, nil
	}
}

var (
	parseShare = parseFloat("a share from 0 to 1, such as 0.05 for 5 %",
		func(v float64) bool { return v >= 0 && v <= 1 })
	parseRate     = parseFloat("a number per second, 0 or more", func(v float64) bool { return v >= 0 })
	parsePositive = parseFloat("a number per second above 0", func(v float64) bool { return v > 0 })
)

// parseSeed takes a whole number, or "random", which is nil. A random seed is the default because
// the same events, sent again at another time, are conflicts.
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
	// LoadLocation takes "" for UTC and "Local" for the machine's zone: neither says what events
	// mean.
	if text == "" || text == "Local" {
		return nil, errors.New("needs a zone's name, such as UTC or Europe/Berlin")
	}
	zone, err := time.LoadLocation(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not a zone of the IANA database, such as UTC or Europe/Berlin", text)
	}
	return zone, nil
}

func parseLevel(text string) (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(text)); err != nil {
		return 0, fmt.Errorf("%q is not one of debug, info, warn, error", text)
	}
	return level, nil
}
