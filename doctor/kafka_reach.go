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

// guessWithin is for the way that is configured, and then for all others, which are tried at the same time.
const guessWithin = 2 * time.Second

// reach tries every address by itself. configured is what is wrong with the configuration itself.
func (k *kafka) reach(ctx context.Context, configured error) []Finding {
	if configured != nil {
		return fail("", "the configuration cannot be used: %s", plainly(configured))
	}
	ctx, cancel := context.WithTimeout(ctx, k.cfg.reachWithin)
	defer cancel()
	findings := make([]Finding, len(k.cfg.Kafka.Brokers))
	var group sync.WaitGroup
	for i, address := range k.cfg.Kafka.Brokers {
		group.Go(func() { findings[i] = probeBroker(ctx, k.cfg.Kafka, address)[0] })
	}
	group.Wait()
	if reached(findings) { // one is enough to begin with
		for i := range findings {
			if findings[i].Status == Fail {
				findings[i].Status = Warn
			}
		}
	}
	return findings
}

func probeBroker(ctx context.Context, config kafkaconn.Config, address string) []Finding {
	config.Brokers = []string{address}
	began := time.Now()
	pinging, cancel := context.WithTimeout(ctx, guessWithin) // leaves time for guesses
	err := ping(pinging, config)
	cancel()
	if err == nil {
		return ok("%s answers in %s%s", address, time.Since(began).Round(time.Millisecond), howTo(config))
	}
	return diagnoseBroker(ctx, config, address, err)
}

// howTo describes a way of connecting.
func howTo(config kafkaconn.Config) string {
	text := ", without TLS"
	if config.TLS {
		text = ", with TLS"
	}
	if config.SASL != "" {
		text += ", SASL " + config.SASL + " as " + config.User
	}
	return text
}

func ping(ctx context.Context, config kafkaconn.Config) error {
	client, err := oneTry(config)
	if err != nil {
		return err
	}
	defer client.Close()
	return client.Ping(ctx)
}

func oneTry(config kafkaconn.Config) (*kgo.Client, error) {
	opts, err := config.Opts()
	if err != nil {
		return nil, err
	}
	// The overhead is what a request waits for its answer: longer than that, and closing the client would wait for it.
	return kgo.NewClient(append(opts, kgo.RequestRetries(0), kgo.DialTimeout(guessWithin), kgo.RequestTimeoutOverhead(guessWithin))...)
}

// diagnoseBroker guesses why an address does not answer as configured.
func diagnoseBroker(ctx context.Context, config kafkaconn.Config, address string, err error) []Finding {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &authority):
		return fail("--kafka-ca FILE (the PEM file of the authority that signs the brokers' certificates)", "%s: its certificate is signed by an authority that is not known here", address)
	case errors.As(err, &host):
		return fail("give --kafka a name that stands in the certificate", "%s: %s", address, oneLine(host.Error()))
	case errors.As(err, &invalid):
		return fail("renew the broker's certificate, or look at the clock of this machine", "%s: %s", address, oneLine(invalid.Error()))
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return wrongPassword(config, address)
	}
	var dialed error
	var encryption, authentication []Finding
	var guesses sync.WaitGroup
	guesses.Go(func() { dialed = dial(ctx, address) })
	guesses.Go(func() { encryption = guessEncryption(ctx, config, address) })
	guesses.Go(func() { authentication = guessSASL(ctx, config, address) })
	guesses.Wait()
	switch {
	case dialed != nil:
		return fail("start Kafka, or give its address: --kafka HOST:PORT", "%s cannot be reached: %s", address, plainly(dialed))
	case encryption != nil:
		return encryption
	case authentication != nil:
		return authentication
	}
	return fail("is it a Kafka broker, and are --kafka-tls and --kafka-sasl as its listener wants them?", "%s accepts the connection but does not answer: %s", address, plainly(err))
}

func dial(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, guessWithin)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// guessEncryption tries the other way.
func guessEncryption(ctx context.Context, config kafkaconn.Config, address string) []Finding {
	if config.TLS {
		if _, answered := mechanisms(ctx, config, address, false); answered {
			return fail("leave out --kafka-tls, or give the port of the TLS listener", "%s speaks no TLS", address)
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, guessWithin)
	defer cancel()
	// Only whether it speaks TLS: nothing is sent by this connection, so whose certificate it is does not matter.
	dialer := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	var alert tls.AlertError
	if err == nil {
		conn.Close()
	} else if !errors.As(err, &alert) && !strings.Contains(err.Error(), "remote error: tls") {
		return nil
	}
	return fail("--kafka-tls (with --kafka-ca FILE where the brokers' certificates are not signed by a public authority)", "%s speaks TLS, and is asked without", address)
}

func guessSASL(ctx context.Context, config kafkaconn.Config, address string) []Finding {
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
	switch {
	case len(offered) == 0 && config.SASL != "":
		return fail("leave out --kafka-sasl, or give the port of the SASL listener", "%s wants no SASL", address)
	case len(offered) == 0:
		return nil
	case len(usable) == 0:
		return fail("enable SCRAM-SHA-512 or PLAIN on a listener (sasl.enabled.mechanisms)", "%s wants SASL, of mechanisms that firstclick does not speak: %s", address, strings.Join(offered, ", "))
	case config.SASL == "":
		return fail("--kafka-sasl "+usable[len(usable)-1]+" --kafka-user NAME, and KAFKA_PASSWORD_FILE", "%s wants SASL: %s", address, strings.Join(usable, ", "))
	case !slices.Contains(usable, config.SASL):
		return fail("--kafka-sasl "+usable[len(usable)-1], "%s does not know SASL %s, but %s", address, config.SASL, strings.Join(usable, ", "))
	}
	return wrongPassword(config, address)
}

func wrongPassword(config kafkaconn.Config, address string) []Finding {
	return fail("--kafka-user and KAFKA_PASSWORD_FILE; is --kafka-sasl the mechanism that the user was made for?", "%s refuses the user %s or the password", address, config.User)
}

// mechanisms asks for a mechanism that does not exist: the refusal names those that do. A listener without SASL refuses the question
// itself. answered: somebody at the address speaks Kafka.
func mechanisms(ctx context.Context, config kafkaconn.Config, address string, encrypted bool) (offered []string, answered bool) {
	ctx, cancel := context.WithTimeout(ctx, guessWithin)
	defer cancel()
	bare := kafkaconn.Config{Brokers: []string{address}}
	if encrypted {
		bare.TLS, bare.CAFile, bare.CertFile, bare.KeyFile = true, config.CAFile, config.CertFile, config.KeyFile
	}
	client, err := oneTry(bare)
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
