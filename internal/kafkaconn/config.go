package kafkaconn

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"unicode"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"firstclick/internal/kafkabatch"
)

// ClientID is our name in the logs, metrics and quotas of brokers.
const ClientID = "firstclick"

// The SASL mechanisms that Config.SASL may name.
const (
	Plain       = "plain"
	ScramSHA256 = "scram-sha-256"
	ScramSHA512 = "scram-sha-512"
)

// Config says how to reach Kafka.
type Config struct {
	Brokers  []string // host or host:port (9092 without a port), at least one
	TLS      bool
	CAFile   string // PEM; empty: the certificates of the system
	CertFile string // PEM, the client's certificate; with KeyFile or not at all
	KeyFile  string // PEM
	SASL     string // "", plain, scram-sha-256, scram-sha-512
	User     string
	Password string
}

// ConfigError is an invalid Config, or one that names a file that cannot be used.
type ConfigError struct {
	Flag string // like --kafka-ca
	Err  error
}

func (e *ConfigError) Error() string { return e.Flag + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

func wrong(flag, format string, args ...any) error {
	return &ConfigError{Flag: flag, Err: fmt.Errorf(format, args...)}
}

// Opts returns the client options: seed brokers, client id, TLS, SASL, and the bound on a
// decompressed batch (kafkabatch.MaxBytes). Every error is a *ConfigError.
func (c Config) Opts() ([]kgo.Opt, error) {
	if err := CheckBrokers(c.Brokers); err != nil {
		return nil, &ConfigError{"--kafka", err}
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...), kgo.ClientID(ClientID), kgo.MaxDecompressBatchBytes(kafkabatch.MaxBytes),
	}
	encryption, err := c.encryption()
	if err != nil {
		return nil, err
	}
	if encryption != nil {
		opts = append(opts, kgo.DialTLSConfig(encryption))
	}
	mechanism, err := c.mechanism()
	if err != nil {
		return nil, err
	}
	if mechanism != nil {
		opts = append(opts, kgo.SASL(mechanism))
	}
	return opts, nil
}

// CheckBrokers says what is wrong with addresses. It quotes none: one that is written as a URL may
// hold a password.
func CheckBrokers(brokers []string) error {
	if len(brokers) == 0 {
		return errors.New("no broker given, want host:port[,host:port...]")
	}
	for i, b := range brokers {
		what := "the broker address"
		if len(brokers) > 1 {
			what = fmt.Sprintf("broker address %d of %d", i+1, len(brokers))
		}
		switch {
		case strings.TrimSpace(b) == "":
			return fmt.Errorf("%s is empty", what)
		case strings.Contains(b, "://"):
			return fmt.Errorf("%s: want host:port without a protocol (encryption is --kafka-tls)", what)
		case strings.Contains(b, "@"):
			return fmt.Errorf("%s: want host:port without a user (that is --kafka-user, and KAFKA_PASSWORD_FILE)", what)
		case strings.IndexFunc(b, func(r rune) bool { return !ofAddress(r) }) >= 0:
			return fmt.Errorf("%s: want host:port", what)
		}
		host, port, err := net.SplitHostPort(b)
		var address *net.AddrError
		if errors.As(err, &address) && address.Err == "missing port in address" {
			continue
		}
		if address != nil {
			return fmt.Errorf("%s: %s", what, address.Err)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
			return fmt.Errorf("%s: want host:port with a port from 1 to 65535", what)
		}
	}
	return nil
}

// ofAddress says whether a character may stand in a host name or an IP address.
func ofAddress(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(".-_:[]%", r)
}

func (c Config) encryption() (*tls.Config, error) {
	files := []struct{ flag, file string }{
		{"--kafka-ca", c.CAFile}, {"--kafka-cert", c.CertFile}, {"--kafka-key", c.KeyFile},
	}
	for _, f := range files {
		if f.file != "" && !c.TLS {
			return nil, wrong(f.flag, "needs --kafka-tls")
		}
	}
	if !c.TLS {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12} // the client fills in the server name per broker
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, wrong("--kafka-ca", "%w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, wrong("--kafka-ca", "no certificate in %s, want PEM", c.CAFile)
		}
	}
	switch {
	case c.CertFile == "" && c.KeyFile == "":
		return config, nil
	case c.KeyFile == "":
		return nil, wrong("--kafka-cert", "needs --kafka-key, the certificate's private key")
	case c.CertFile == "":
		return nil, wrong("--kafka-key", "needs --kafka-cert, the key's certificate")
	}
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if cause := (*fs.PathError)(nil); errors.As(err, &cause) && cause.Path == c.KeyFile {
		return nil, wrong("--kafka-key", "read the file: %w", cause.Err) // not its name: it may be the key itself
	}
	if err != nil {
		return nil, wrong("--kafka-cert", "with the key of --kafka-key: %w", err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

func (c Config) mechanism() (sasl.Mechanism, error) {
	const flag = "--kafka-sasl"
	switch c.SASL {
	case "":
		if c.User != "" {
			return nil, wrong("--kafka-user", "needs %s (%s, %s or %s)", flag, Plain, ScramSHA256, ScramSHA512)
		}
		if c.Password != "" {
			return nil, wrong("--kafka-password", "needs --kafka-user and %s", flag)
		}
		return nil, nil
	case Plain, ScramSHA256, ScramSHA512:
	default:
		return nil, wrong(flag, "unknown mechanism %q, want %s, %s or %s", c.SASL, Plain, ScramSHA256, ScramSHA512)
	}
	if c.User == "" {
		return nil, wrong(flag, "%s needs --kafka-user", c.SASL)
	}
	if c.Password == "" {
		return nil, wrong(flag, "%s needs --kafka-password", c.SASL)
	}
	switch c.SASL {
	case ScramSHA256:
		return scram.Auth{User: c.User, Pass: c.Password}.AsSha256Mechanism(), nil
	case ScramSHA512:
		return scram.Auth{User: c.User, Pass: c.Password}.AsSha512Mechanism(), nil
	default:
		return plain.Auth{User: c.User, Pass: c.Password}.AsMechanism(), nil
	}
}

// String describes the connection without the password.
func (c Config) String() string {
	var s strings.Builder
	s.WriteString(strings.Join(c.Brokers, ","))
	if c.TLS {
		s.WriteString(" tls")
	}
	if c.SASL != "" || c.User != "" || c.Password != "" {
		fmt.Fprintf(&s, " sasl=%s user=%s", c.SASL, c.User)
	}
	if c.Password != "" {
		s.WriteString(" password=<redacted>")
	}
	return s.String()
}

// GoString is String: %#v shows no password either.
func (c Config) GoString() string { return "kafkaconn.Config{" + c.String() + "}" }

// LogValue is String for logs.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText is String: encoders show no password either.
func (c Config) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
