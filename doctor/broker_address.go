package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/internal/kafkaconn"
)

// guessWithin is for the configured way to connect, and then for all other ways in parallel.
const guessWithin = 2 * time.Second

// reach tries every address by itself. configured is what is wrong with the configuration.
func (k *kafka) reach(ctx context.Context, configured error) (found findings) {
	if configured != nil {
		return found.fail("", "the configuration cannot be used: %s", rootCause(configured))
	}
	ctx, cancel := context.WithTimeout(ctx, k.cfg.reachWithin)
	defer cancel()
	return reachAll(k.cfg.Kafka.Brokers, func(address string) (found findings) {
		return probeBroker(ctx, k.cfg.Kafka, address)
	})
}

func probeBroker(ctx context.Context, config kafkaconn.Config, address string) (found findings) {
	config.Brokers = []string{address}
	began := time.Now()
	pinging, cancel := context.WithTimeout(ctx, guessWithin) // leaves time for guesses
	err := ping(pinging, config)
	cancel()
	if err != nil {
		return diagnoseBroker(ctx, config, address, err)
	}
	way := "without TLS"
	if config.TLS {
		way = "with TLS"
	}
	if config.SASL != "" {
		way += ", SASL " + config.SASL + " as " + config.User
	}
	return found.ok("%s answers in %s, %s", address, time.Since(began).Round(time.Millisecond), way)
}

func ping(ctx context.Context, config kafkaconn.Config) error {
	client, err := impatientClient(config)
	if err != nil {
		return err
	}
	defer client.Close()
	return client.Ping(ctx)
}

func impatientClient(config kafkaconn.Config) (*kgo.Client, error) {
	opts, err := config.Opts()
	if err != nil {
		return nil, err
	}
	// Closing the client waits for requests, as long as the overhead lets them wait for an answer.
	return kgo.NewClient(append(opts,
		kgo.RequestRetries(0), kgo.DialTimeout(guessWithin), kgo.RequestTimeoutOverhead(guessWithin))...)
}

// diagnoseBroker guesses why an address does not answer as configured.
func diagnoseBroker(ctx context.Context, config kafkaconn.Config, address string, err error) (found findings) {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &authority):
		return found.fail("--kafka-ca FILE (the PEM file of the authority that signs the brokers' certificates)",
			"%s: its certificate is signed by an authority that is not known here", address)
	case errors.As(err, &host):
		return found.fail("give --kafka a name that is in the certificate", "%s: %s", address, oneLine(host.Error()))
	case errors.As(err, &invalid):
		return found.fail("renew the broker's certificate, or look at the clock of this machine",
			"%s: %s", address, oneLine(invalid.Error()))
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return wrongPassword(config, address)
	}
	var dialed error
	var encryption, authentication findings
	var guesses sync.WaitGroup
	guesses.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, guessWithin)
		defer cancel()
		var conn net.Conn
		if conn, dialed = new(net.Dialer).DialContext(ctx, "tcp", address); dialed == nil {
			conn.Close()
		}
	})
	guesses.Go(func() { encryption = guessEncryption(ctx, config, address) })
	guesses.Go(func() { authentication = guessSASL(ctx, config, address) })
	guesses.Wait()
	switch {
	case dialed != nil:
		return found.fail("start Kafka, or give its address: --kafka HOST:PORT",
			"%s cannot be reached: %s", address, rootCause(dialed))
	case encryption != nil:
		return encryption
	case authentication != nil:
		return authentication
	}
	return found.fail("is it a Kafka broker, and do --kafka-tls and --kafka-sasl fit its listener?",
		"%s accepts the connection but does not answer: %s", address, rootCause(err))
}

// guessEncryption tries the address with TLS if the configuration has none, and without if it has.
func guessEncryption(ctx context.Context, config kafkaconn.Config, address string) (found findings) {
	if config.TLS {
		if _, answered := mechanisms(ctx, config, address, false); answered {
			return found.fail("leave out --kafka-tls, or give the TLS listener's port", "%s speaks no TLS", address)
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, guessWithin)
	defer cancel()
	// Nothing is sent over this connection, so it does not matter whose certificate it is.
	dialer := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	var alert tls.AlertError
	if err == nil {
		conn.Close()
	} else if !errors.As(err, &alert) && !strings.Contains(err.Error(), "remote error: tls") {
		return nil
	}
	return found.fail("--kafka-tls (with --kafka-ca FILE if no public authority signed the brokers' certificates)",
		"%s speaks TLS, but is configured without", address)
}

func guessSASL(ctx context.Context, config kafkaconn.Config, address string) (found findings) {
	offered, answered := mechanisms(ctx, config, address, config.TLS)
	if !answered {
		return nil
	}
	var usable []string
	for _, m := range offered {
		if m = strings.ToLower(m); m == kafkaconn.Plain || m == kafkaconn.ScramSHA256 || m == kafkaconn.ScramSHA512 {
			usable = append(usable, m)
		}
	}
	names := strings.Join(usable, ", ")
	switch {
	case len(offered) == 0 && config.SASL != "":
		return found.fail("leave out --kafka-sasl, or give the port of the SASL listener", "%s takes no SASL", address)
	case len(offered) == 0:
		return nil
	case len(usable) == 0:
		return found.fail("enable SCRAM-SHA-512 or PLAIN on a listener (sasl.enabled.mechanisms)",
			"%s wants SASL, but by no mechanism that firstclick has: %s", address, strings.Join(offered, ", "))
	case config.SASL == "":
		return found.fail("--kafka-sasl "+usable[len(usable)-1]+" --kafka-user NAME, and KAFKA_PASSWORD_FILE",
			"%s wants SASL: %s", address, names)
	case !slices.Contains(usable, config.SASL):
		return found.fail("--kafka-sasl "+usable[len(usable)-1], "%s has no %s, but %s", address, config.SASL, names)
	}
	return wrongPassword(config, address)
}

func wrongPassword(config kafkaconn.Config, address string) (found findings) {
	return found.fail("--kafka-user and KAFKA_PASSWORD_FILE; is --kafka-sasl the mechanism that the user was made for?",
		"%s refuses the user %s or the password", address, config.User)
}

// mechanisms requests a mechanism that does not exist: the refusal names those that do. A listener
// without SASL refuses the request itself. answered: the address speaks Kafka.
func mechanisms(
	ctx context.Context, config kafkaconn.Config, address string, encrypted bool,
) (offered []string, answered bool) {
	ctx, cancel := context.WithTimeout(ctx, guessWithin)
	defer cancel()
	bare := kafkaconn.Config{Brokers: []string{address}}
	if encrypted {
		bare.TLS, bare.CAFile, bare.CertFile, bare.KeyFile = true, config.CAFile, config.CertFile, config.KeyFile
	}
	client, err := impatientClient(bare)
	if err != nil {
		return nil, false
	}
	defer client.Close()
	req := kmsg.NewPtrSASLHandshakeRequest()
	req.Mechanism = "NONE"
	resp, err := client.SeedBrokers()[0].Request(ctx, req)
	if err != nil {
		return nil, false
	}
	answer, is := resp.(*kmsg.SASLHandshakeResponse)
	if !is || !errors.Is(kerr.ErrorForCode(answer.ErrorCode), kerr.UnsupportedSaslMechanism) {
		return nil, true
	}
	return answer.SupportedMechanisms, true
}
