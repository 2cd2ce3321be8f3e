package kafkaconn

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// The SASL mechanisms that Config.SASL may name.
const (
	Plain       = "plain"
	ScramSHA256 = "scram-sha-256"
	ScramSHA512 = "scram-sha-512"
)

// Config says how to reach Kafka. The zero value of a field means: without it.
type Config struct {
	Brokers []string // host:port of those to begin with, at least one

	TLS      bool
	CAFile   string // PEM certificates that sign the brokers'; empty: the system's
	CertFile string // our certificate (PEM), where brokers ask for one; needs KeyFile
	KeyFile  string // its key (PEM)

	SASL     string // "", Plain, ScramSHA256 or ScramSHA512
	User     string
	Password string
}

// Opts are the options of a Kafka client that connects as c says. It reads the certificate files. The errors name the field
// that is missing or cannot be used, and never a password.
func (c Config) Opts() ([]kgo.Opt, error) {
	if len(c.Brokers) == 0 {
		return nil, errors.New("kafka: no broker to begin with")
	}
	opts := []kgo.Opt{kgo.SeedBrokers(c.Brokers...)}
	if c.TLS {
		config, err := c.tls()
		if err != nil {
			return nil, err
		}
		// As kgo dials without TLS: ten seconds until the connection stands.
		dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: config}
		opts = append(opts, kgo.Dialer(dialer.DialContext))
	} else if c.CAFile != "" || c.CertFile != "" || c.KeyFile != "" {
		return nil, errors.New("kafka: certificates are given, but TLS is off: turn it on (--kafka-tls) or leave them out")
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

func (c Config) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("kafka: read the CA's certificates: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("kafka: %s holds no certificate in PEM form", c.CAFile)
		}
	}
	switch {
	case c.CertFile != "" && c.KeyFile == "":
		return nil, errors.New("kafka: a certificate without its key: give --kafka-key too")
	case c.CertFile == "" && c.KeyFile != "":
		return nil, errors.New("kafka: a key without its certificate: give --kafka-cert too")
	case c.CertFile != "":
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("kafka: read certificate %s and key %s: %w", c.CertFile, c.KeyFile, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func (c Config) mechanism() (sasl.Mechanism, error) {
	if c.SASL == "" {
		if c.User != "" || c.Password != "" {
			return nil, errors.New("kafka: a user or password is given, but no mechanism: name one with --kafka-sasl")
		}
		return nil, nil
	}
	if c.User == "" || c.Password == "" {
		return nil, fmt.Errorf("kafka: %s needs a user and a password: --kafka-user, KAFKA_PASSWORD or KAFKA_PASSWORD_FILE", c.SASL)
	}
	switch c.SASL {
	case Plain:
		return plain.Auth{User: c.User, Pass: c.Password}.AsMechanism(), nil
	case ScramSHA256:
		return scram.Auth{User: c.User, Pass: c.Password}.AsSha256Mechanism(), nil
	case ScramSHA512:
		return scram.Auth{User: c.User, Pass: c.Password}.AsSha512Mechanism(), nil
	}
	return nil, fmt.Errorf("kafka: SASL mechanism %q is not one of %s, %s, %s", c.SASL, Plain, ScramSHA256, ScramSHA512)
}
