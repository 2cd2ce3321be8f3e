package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Commit writes the batches, of different shards of one group, in one transaction. It tries until
// it is known that the transaction is committed, or until ctx ends.
//
// A *LostShardsError (errors.As) names the shards to drop.
// Unless its Committed is set, nothing of any batch was written and the other shards' batches may
// be given again. After any other error it may be unknown whether the transaction is committed:
// claim the shards again.
//
// The batches must not be changed before Commit returns. On success each Claim.Commits has been
// moved on.
func (s *Sink) Commit(ctx context.Context, batches []*Batch) (Result, error) {
	if len(batches) == 0 {
		return Result{}, nil
	}
	set, err := newCommitSet(batches)
	if err != nil {
		return Result{}, err
	}
	select {
	case s.commits <- struct{}{}:
		defer func() { <-s.commits }()
	case <-ctx.Done():
		return Result{}, fmt.Errorf("commit: %w", context.Cause(ctx))
	}
	s.recentIDs.mark(set, s.duplicates.frequent())
	result, err := s.commitSet(ctx, set)
	set.ticket.end()
	if err != nil {
		return result.Result, err
	}
	for _, b := range set.batches {
		b.Claim.Commits++
		b.Rejected, b.Refused = nil, nil
	}
	for _, r := range result.refusals {
		r.batch.Refused = append(r.batch.Refused, r.Refusal)
	}
	if len(result.rejected) > 0 {
		for _, r := range set.rows {
			if result.rejected[r.Released] {
				r.batch.Rejected = append(r.batch.Rejected, r.Offset)
			}
		}
	}
	s.record(&result)
	if len(result.unnamed) > 0 {
		s.fillAfterCommit(ctx, result.unnamed)
	}
	return result.Result, nil
}

// record takes a committed transaction into the statistics, and into what the next ones decide by.
func (s *Sink) record(r *commitResult) {
	if r.Fresh+r.Duplicates+r.Conflicts > 0 {
		s.duplicates.record(r.unforeseen)
		s.recentIDs.record(r.Duplicates+r.Conflicts > 0)
	}
	if r.newLetters >= copiedLetters {
		s.letterDuplicates.record(r.DeadLetters < r.newLetters)
	}
	s.metrics.transactions.Inc()
	switch {
	case r.staged:
		s.metrics.staged.Inc()
	case r.Fresh > 0:
		s.metrics.direct.Inc()
	}
}

// commitSet tries until the transaction is committed.
func (s *Sink) commitSet(ctx context.Context, set *commitSet) (commitResult, error) {
	if set.lookUp { // a transaction that looks rows up waits for its turn as a whole
		if err := set.ticket.wait(ctx, nil); err != nil {
			return commitResult{}, err
		}
	}
	var result commitResult
	err := s.retry(ctx, "commit", func(ctx context.Context) error {
		if err := s.readNames(ctx, set); err != nil {
			return err
		}
		inDoubt := false
		err := s.withConn(ctx, func(conn *pgx.Conn) error {
			a, err := s.attempt(ctx, conn, set)
			result = a.result
			if err != nil && a.commitSent && !answered(err) {
				inDoubt = true
				// Whatever state it is in: what the offsets rows say is final only when this
				// session is gone.
				s.lost.add(sessionOf(conn.PgConn()))
			}
			return err
		})
		if !inDoubt {
			return err
		}
		committed, lookErr := s.resolve(ctx, set)
		switch {
		case lookErr != nil:
			return lookErr
		case committed:
			s.failed("commit", causeConnection, err)
			return nil
		}
		return err
	})
	var lost *LostShardsError
	if err != nil && ctx.Err() == nil && !errors.As(err, &lost) {
		err = fmt.Errorf("%s: %w", set.offsets(), err)
	}
	return result, err
}

// attempt makes a transaction of the set, and at once another one if the first has shown what to do
// differently: Postgres refused something at the end, or the table was altered.
func (s *Sink) attempt(ctx context.Context, conn *pgx.Conn, set *commitSet) (*attempt, error) {
	for {
		a := &attempt{sink: s, set: set, conn: conn}
		err := a.run(ctx)
		if raisedByFunction(err) {
			set.raised++
		}
		var pe *pgconn.PgError
		_, passing := passes(err)
		again := errors.Is(err, errAltered) || errors.As(err, &pe) && !passing
		if !again || a.commitSent && !answered(err) {
			return a, err
		}
		if err := a.exec(ctx, "ROLLBACK"); err != nil {
			return a, fmt.Errorf("roll back: %w", err)
		}
		switch now, wrong := describe(ctx, conn); {
		case wrong != nil: // it is clearer than what Postgres says of our statements
			return a, wrong
		case a.target != nil && now.version != a.target.version:
			s.target.Store(now)
			s.log.Info("commerce.attributed_checkouts was altered: it is written as it is now")
		case a.rowsDone && !set.savepoints && a.isRefusal(err): // of a correction, a letter or, at COMMIT, anything
			set.savepoints = true
		default:
			return a, err
		}
	}
}

// errAltered says that the table is no longer what the transaction's statements were made for.
var errAltered = errors.New("commerce.attributed_checkouts was altered")

// rolledBackError says that Postgres answered COMMIT with ROLLBACK.
type rolledBackError struct{ tag string }

func (e *rolledBackError) Error() string { return "COMMIT was answered with " + e.tag }

// answered says whether Postgres itself said that the transaction failed. A FATAL error ends the
// session, and may do so after the commit was written.
func answered(err error) bool {
	var pe *pgconn.PgError
	var rolledBack *rolledBackError
	return errors.As(err, &rolledBack) || errors.As(err, &pe) && pe.SeverityUnlocalized == "ERROR"
}

// freshNames is how old names may be when their rows are written.
const freshNames = time.Second

// readNames gets the names of the moment: a row has the name that its user has when it is written,
// however long that is tried.
func (s *Sink) readNames(ctx context.Context, set *commitSet) (err error) {
	if len(set.users) == 0 {
		return nil
	}
	set.namesAt = s.clock.Now()
	set.names = make(map[int32]string, len(set.users))
	if set.namesOf, err = s.names.Names(ctx, set.users, set.names); err != nil {
		return fmt.Errorf("read users' names: %w", err)
	}
	return nil
}

// checkNames refuses names that are no longer those of the moment: commerce.users was altered, or
// the transaction waited for a lock since they were read. If Postgres is slow each time, the limit
// grows: else nothing would ever be written.
func (s *Sink) checkNames(set *commitSet, edition string) error {
	if edition != set.namesOf {
		s.names.Outdated(set.namesOf)
		return fmt.Errorf("commerce.users was altered after its names were read: %w", &passingError{causePlan})
	}
	if age := s.clock.Now().Sub(set.namesAt); len(set.users) > 0 && age > set.namesLimit {
		set.namesLimit *= 2
		return fmt.Errorf("names were read %v before their rows could be written: %w", age, &passingError{causeTimeout})
	}
	return nil
}
