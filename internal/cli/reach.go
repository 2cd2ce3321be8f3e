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
	reachWithin  = 30 * time.Second // for all attempts together
	reachAttempt = 5 * time.Second
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
	ping := func(ctx context.Context) error { return pingKafka(ctx, kafka) }
	return reachServer(ctx, logger, "Kafka", strings.Join(kafka.Brokers, ","), ping)
}

// reachDatabase waits until Postgres answers.
func reachDatabase(ctx context.Context, logger *slog.Logger, database string) error {
	ping := func(ctx context.Context) error { return pingDatabase(ctx, database) }
	return reachServer(ctx, logger, "Postgres", shownDatabase(database), ping)
}

// refusedError wraps an answer that waiting does not change: a wrong password, an unknown database.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// reachServer calls ping until it succeeds, is refused, or reachWithin is over. It logs the first
// failure.
func reachServer(ctx context.Context, logger *slog.Logger, server, address string,
	ping func(context.Context) error,
) error {
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
			logger.WarnContext(ctx, "no answer yet, trying again",
				"from", what, "for", reachWithin, "reason", rootCause(err))
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline.C:
			text := fmt.Sprintf("%s did not answer for %s: %s", what, reachWithin, rootCause(err))
			return &reachError{server, text, nil}
		}
	}
}

// rootCause returns the innermost error of the network: the errors around it repeat the address.
func rootCause(err error) string {
	var sys *os.SyscallError
	var dns *net.DNSError
	switch {
	case errors.As(err, &sys):
		return sys.Err.Error()
	case errors.As(err, &dns) && !dns.IsTimeout:
		return dns.Error()
	// If a silent server has used up the time of an attempt, the look-up of the next address fails
	// at once: it is not the cause.
	case dns != nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("no answer within %s", reachAttempt)
	}
	return singleLine(err.Error())
}

// pingKafka connects to any broker with TLS and SASL as configured.
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
	case errors.As(err, &kafka) && !kafka.Retriable:
		return &refusedError{err}
	case badCertificate(err):
		return &refusedError{fmt.Errorf("%s (--kafka-tls, --kafka-ca, --kafka-cert)", rootCause(err))}
	case errors.Is(err, io.EOF) && config.TLS:
		return errors.New("it closes the connection at once: does it speak TLS on this port?")
	case errors.Is(err, io.EOF):
		return errors.New("it closes the connection at once: does it need TLS or SASL (--kafka-tls, --kafka-sasl)?")
	}
	return err
}

// badCertificate says whether one side does not trust the other's certificate, or speaks no TLS.
// Waiting changes neither.
func badCertificate(err error) bool {
	var verification *tls.CertificateVerificationError
	var noTLS tls.RecordHeaderError
	var remote *net.OpError
	if errors.As(err, &verification) || errors.As(err, &noTLS) {
		return true
	}
	// The other side refuses our certificate by an alert, which has no type (RFC 8446, section
	// 6.2).
	return errors.As(err, &remote) && remote.Op == "remote error" &&
		(strings.Contains(remote.Err.Error(), "certificate") ||
			strings.Contains(remote.Err.Error(), "unknown authority"))
}

// worthWaiting has the SQLSTATEs of a Postgres that starts, stops, or has no connection to spare.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
var worthWaiting = map[string]bool{"57P01": true, "57P02": true, "57P03": true, "53300": true}

func pingDatabase(ctx context.Context, dsn string) error {
	conn, err := pgsession.Connect(ctx, dsn, application)
	var answer *pgconn.PgError
	var pooler *pgsession.PoolerError
	switch {
	case errors.As(err, &pooler):
		return &refusedError{pooler}
	case errors.As(err, &answer) && !worthWaiting[answer.Code]:
		return &refusedError{fmt.Errorf("%s (SQLSTATE %s)", answer.Message, answer.Code)}
	case badCertificate(err):
		return &refusedError{fmt.Errorf("%s (sslmode, sslrootcert, sslcert)", rootCause(err))}
	case err != nil:
		return err
	}
	return conn.Close(ctx)
}
