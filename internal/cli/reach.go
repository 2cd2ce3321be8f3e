package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"firstclick/internal/kafkaconn"
	"firstclick/internal/pgsession"
)

const (
	reachWithin  = 30 * time.Second // for the whole of it
	reachAttempt = 5 * time.Second  // for one attempt
	reachPause   = 500 * time.Millisecond
)

// reach waits until Kafka and Postgres answer, both at the same time.
func reach(ctx context.Context, logger *slog.Logger, kafka kafkaconn.Config, database string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return reachKafka(ctx, logger, kafka) })
	group.Go(func() error { return reachDatabase(ctx, logger, database) })
	return group.Wait()
}

// reachKafka waits until a broker answers.
func reachKafka(ctx context.Context, logger *slog.Logger, kafka kafkaconn.Config) error {
	return reachOne(ctx, logger, "Kafka", strings.Join(kafka.Brokers, ","), func(ctx context.Context) error {
		return pingKafka(ctx, kafka)
	})
}

// reachDatabase waits until Postgres answers.
func reachDatabase(ctx context.Context, logger *slog.Logger, database string) error {
	return reachOne(ctx, logger, "Postgres", shownDatabase(database), func(ctx context.Context) error {
		return pingDatabase(ctx, database)
	})
}

// refusedError wraps an answer that waiting does not change: a wrong password, a database that does not exist.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// reachOne tries until ping succeeds, is refused, or reachWithin is over. It says so once when the first attempt fails.
func reachOne(ctx context.Context, logger *slog.Logger, server, address string, ping func(context.Context) error) error {
	what := server + " at " + address
	deadline := time.NewTimer(reachWithin)
	defer deadline.Stop()
	pause := time.NewTicker(reachPause)
	defer pause.Stop()
	for attempt := 1; ; attempt++ {
		attempted, cancel := context.WithTimeout(ctx, reachAttempt)
		err := ping(attempted)
		cancel()
		var refused *refusedError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &refused):
			return &reachError{server, fmt.Sprintf("%s refuses us: %v", what, err), refused.err}
		case attempt == 1:
			logger.WarnContext(ctx, "no answer yet, trying again", "from", what, "for", reachWithin, "reason", plainly(err))
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline.C:
			return &reachError{server, fmt.Sprintf("%s did not answer for %s: %s", what, reachWithin, plainly(err)), nil}
		}
	}
}

// plainly is the error's innermost reason where it is one that the network gives: the layers above repeat the address.
func plainly(err error) string {
	var sys *os.SyscallError
	var dns *net.DNSError
	switch {
	case errors.As(err, &sys):
		return sys.Err.Error()
	case errors.As(err, &dns) && !dns.IsTimeout:
		return dns.Error()
	// The time of an attempt can run out on a server that says nothing; then the look-up of the next address ends at once, and is not the cause.
	case dns != nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("no answer within %s", reachAttempt)
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// pingKafka asks any broker anything, with our TLS and our password.
func pingKafka(ctx context.Context, config kafkaconn.Config) error {
	opts, err := config.Opts()
	if err != nil {
		return &refusedError{err}
	}
	client, err := kgo.NewClient(append(opts, kgo.RequestRetries(0), kgo.WithContext(ctx))...)
	if err != nil {
		return &refusedError{err}
	}
	defer client.Close()
	err = client.Ping(ctx)
	var kafka *kerr.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &kafka) && !kafka.Retriable:
		return &refusedError{err}
	case ofCertificates(err):
		return &refusedError{fmt.Errorf("%s (--kafka-tls, --kafka-ca, --kafka-cert)", plainly(err))}
	case errors.Is(err, io.EOF):
		hint := "it closes the connection at once: does it want TLS or SASL (--kafka-tls, --kafka-sasl)?"
		if config.TLS {
			hint = "it closes the connection at once: does it speak TLS on this port?"
		}
		return errors.New(hint)
	}
	return err
}

// ofCertificates says whether the two sides do not trust each other's certificates, or one of them speaks no TLS at all. Neither passes by
// itself.
func ofCertificates(err error) bool {
	var verification *tls.CertificateVerificationError
	var noTLS tls.RecordHeaderError
	var remote *net.OpError
	// What the other side says of ours comes as an alert, which has no type (RFC 8446, section 6.2).
	return errors.As(err, &verification) || errors.As(err, &noTLS) ||
		errors.As(err, &remote) && remote.Op == "remote error" && (strings.Contains(remote.Err.Error(), "certificate") || strings.Contains(remote.Err.Error(), "unknown authority"))
}

// Of a Postgres that answers, these are worth waiting for: it starts, stops, or has no connection to spare.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
var worthWaiting = map[string]bool{"57P01": true, "57P02": true, "57P03": true, "53300": true}

func pingDatabase(ctx context.Context, dsn string) error {
	conn, err := pgsession.Connect(ctx, dsn, application)
	var answer *pgconn.PgError
	var pooler *pgsession.PoolerError
	if errors.As(err, &pooler) {
		return &refusedError{pooler}
	}
	if errors.As(err, &answer) && !worthWaiting[answer.Code] {
		return &refusedError{fmt.Errorf("%s (SQLSTATE %s)", answer.Message, answer.Code)}
	}
	if ofCertificates(err) {
		return &refusedError{fmt.Errorf("%s (sslmode, sslrootcert, sslcert)", plainly(err))}
	}
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}
