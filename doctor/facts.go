package doctor

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kadm"

	"firstclick/cdc"
	"firstclick/internal/kafkagroup"
	"firstclick/migrations"
)

// facts is what was gathered. Checks only read it. While it is gathered, each field has one writer.
type facts struct {
	cfg   Config
	sides side             // that were reached
	mu    sync.Mutex       // guards errs
	errs  map[string]error // why a fact is missing or incomplete, by its name in gather.go

	// From Kafka.
	versions   map[int32]string // by broker
	metadata   kadm.Metadata
	advertised map[string]error // by the address that a broker gives itself: nil if it was reached there
	starts     map[topicPartition]int64
	ends       map[topicPartition]int64
	configs    map[string]map[string]string // by topic
	group      kadm.DescribedGroup
	members    kafkagroup.Members // of the group
	dirs       []kadm.DescribedLogDir
	newest     map[topicPartition]time.Time // of the last record
	oldest     map[topicPartition]time.Time // of the first record that is still there
	next       map[topicPartition]time.Time // of the next checkout that Postgres does not have

	// From Postgres.
	server     server
	prepared   []prepared
	setup      []*cdc.SetupError
	replicator replicator
	clock      clock
	migrations []migrations.FileStatus
	dropped    []string // tables of the migrations that are not there
	table      error    // why the sink cannot write to commerce.attributed_checkouts
	columns    []column
	grants     []string // missing ones, as statements
	foreign    []string // roles of instances' sessions that ours may not end
	stored     stored
}

type topicPartition struct {
	topic     string
	partition int32
}

// query gathers one fact.
type query func(context.Context) error

// into is the query that stores what get returns.
func into[T any](fact *T, get func(context.Context) (T, error)) query {
	return func(ctx context.Context) (err error) {
		*fact, err = get(ctx)
		return err
	}
}

// run runs one query.
func (f *facts) run(ctx context.Context, within time.Duration, name string, q query) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := q(ctx)
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.errs == nil {
		f.errs = map[string]error{}
	}
	f.errs[name] = err
}

// runAll runs queries in parallel.
func (f *facts) runAll(ctx context.Context, within time.Duration, queries map[string]query) {
	var group sync.WaitGroup
	for name, q := range queries {
		group.Go(func() { f.run(ctx, within, name, q) })
	}
	group.Wait()
}

// unknown is a warning if one of the facts could not be gathered.
func (f *facts) unknown(names ...string) (found findings) {
	for _, name := range names {
		if err := f.errs[name]; err != nil {
			return found.warn("", "%s: not visible: %s", name, rootCause(err))
		}
	}
	return nil
}

// needed returns the window, lateness and out-of-order allowance of the group: as stored, else as
// given.
func (f *facts) needed() (window, lateness, outOfOrder time.Duration) {
	if p := f.stored.progress; p != nil {
		return p.Window, p.Lateness, p.OutOfOrder
	}
	return f.cfg.Window, f.cfg.Lateness, f.cfg.OutOfOrder
}

// rootCause is what Postgres said, or the innermost reason of the network: the layers above repeat
// the address.
func rootCause(err error) string {
	var sys *os.SyscallError
	var dns *net.DNSError
	var answer *pgconn.PgError
	var network net.Error
	switch {
	case errors.As(err, &answer):
		return answer.Message + " (SQLSTATE " + answer.Code + ")"
	case errors.As(err, &sys):
		return sys.Err.Error()
	case errors.As(err, &dns):
		return "no address for " + dns.Name
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &network) && network.Timeout():
		return "no answer in time"
	}
	var connecting *pgconn.ConnectError
	if errors.As(err, &connecting) {
		err = connecting.Unwrap()
	}
	return oneLine(err.Error())
}
