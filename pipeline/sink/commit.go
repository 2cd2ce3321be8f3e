package sink

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"firstclick/cdc"
	"firstclick/internal/pgsession"
	"firstclick/join"
)

// Commit writes the batches, of different shards, in one transaction, and tries until it is known to have landed or ctx ends.
//
// A *FencedError or *RewoundError (errors.As; both may be in one error) names the shards to drop; unless its Landed is set, nothing of
// any batch was written and the other shards' batches may be given again. After any other error it may be unknown
// whether the transaction landed: claim the shards again.
//
// The batches must not be changed before Commit returns. On success each Claim.Commits has been moved on.
func (s *Sink) Commit(ctx context.Context, batches []*Batch) (Result, error) {
	if len(batches) == 0 {
		return Result{}, nil
	}
	w, err := newWork(batches)
	if err != nil {
		return Result{}, err
	}
	select {
	case s.commits <- struct{}{}:
		defer func() { <-s.commits }()
	case <-ctx.Done():
		return Result{}, fmt.Errorf("commit: %w", context.Cause(ctx))
	}
	begun := s.clock.Now()
	s.familiar.meet(w, s.path.asks())
	out, err := s.landInTurn(ctx, w)
	if err != nil {
		return out.result, err
	}
	for _, b := range w.batches {
		b.Claim.Commits++
		b.Rejected, b.Refused = nil, nil
	}
	for _, r := range out.refusals {
		b := w.batches[r.batch]
		b.Refused = append(b.Refused, r.Refusal)
	}
	for _, e := range out.rejected {
		b := w.batches[e.batch]
		b.Rejected = append(b.Rejected, int(e.index))
	}
	s.landed(out, s.clock.Now().Sub(begun))
	if len(out.unknown) > 0 {
		s.fillAfterCommit(ctx, out)
	}
	return out.result, nil
}

// landInTurn waits for the transaction before, where all of this one's has to.
func (s *Sink) landInTurn(ctx context.Context, w *work) (outcome, error) {
	defer w.turn.end()
	if w.asks {
		if err := w.turn.wait(ctx, nil); err != nil {
			return outcome{}, err
		}
	}
	return s.land(ctx, w)
}

// freshNames is how old names may be when their rows are written.
const freshNames = time.Second

// askNames asks for the names of the moment: a row has the name that its user has when it is written, however long that is tried.
func (s *Sink) askNames(ctx context.Context, w *work) (err error) {
	if len(w.users) == 0 {
		return nil
	}
	w.asked = s.clock.Now()
	w.names = make(map[int32]string, len(w.users))
	if w.edition, err = s.names.Names(ctx, w.users, w.names); err != nil {
		return fmt.Errorf("read users' names: %w", err)
	}
	return nil
}

// land tries until the transaction has landed.
func (s *Sink) land(ctx context.Context, w *work) (outcome, error) {
	var out outcome
	w.patient = freshNames
	err := s.retry(ctx, "commit", func(ctx context.Context) error {
		if err := s.askNames(ctx, w); err != nil {
			return err
		}
		doubt := false
		err := s.withConn(ctx, func(conn *pgx.Conn) error {
			t, err := s.attempt(ctx, conn, w)
			out = t.out
			if err != nil && t.sent && !answered(err) {
				doubt = true
				// Whatever state it is in: what the offsets rows say is final only when this session is gone.
				s.lost.add(sessionOf(conn.PgConn()))
			}
			return err
		})
		if !doubt {
			return err
		}
		did, lookErr := s.lookUp(ctx, w)
		switch {
		case lookErr != nil:
			return lookErr
		case did:
			s.failed("commit", causeConnection, err)
			return nil
		}
		return err
	})
	var fenced *FencedError
	var rewound *RewoundError
	if err != nil && ctx.Err() == nil && !errors.As(err, &fenced) && !errors.As(err, &rewound) {
		err = fmt.Errorf("%s: %w", w.place(), err)
	}
	return out, err
}

// answered tells whether Postgres itself said that the transaction failed. A FATAL error ends the session, and may do so after the
// commit was written.
func answered(err error) bool {
	var pe *pgconn.PgError
	var order *orderError
	return errors.As(err, &order) || errors.As(err, &pe) && pe.SeverityUnlocalized == "ERROR"
}

// attempt makes a transaction of w, and another at once where the first one told what to do differently: Postgres refused something at the end, or the
// table was altered.
func (s *Sink) attempt(ctx context.Context, conn *pgx.Conn, w *work) (*try, error) {
	for {
		t := &try{sink: s, work: w, conn: conn}
		err := t.run(ctx)
		if raisedByFunction(err) {
			w.raised++
		}
		var pe *pgconn.PgError
		_, passing := passes(err)
		if told := errors.Is(err, errAltered) || errors.As(err, &pe) && !passing; !told || t.sent && !answered(err) {
			return t, err
		}
		if _, err := conn.Exec(ctx, "ROLLBACK", pgx.QueryExecModeSimpleProtocol); err != nil {
			return t, fmt.Errorf("roll back: %w", err)
		}
		switch now, wrong := describe(ctx, conn); {
		case wrong != nil: // it is clearer than what Postgres says of our statements
			return t, wrong
		case t.target != nil && now.mark != t.target.mark:
			s.altered(t.target)
			s.log.Info("commerce.attributed_checkouts was altered: it is written as it is now")
		case t.refusedAfterRows(err):
			w.wary = true
		default:
			return t, err
		}
	}
}

// errAltered says that the table is no longer what the transaction's statements were made for.
var errAltered = errors.New("commerce.attributed_checkouts was altered")

// outcome is what became of a Commit's work.
type outcome struct {
	result    Result
	letters   []deadLetter // of rows: conflicts and refusals
	rejected  []entry      // those rows
	corrected []correction // duplicates whose click is better than the stored one, and rows that were refused with their click
	refusals  []refusedClick
	unknown   []entry // rows without a name, fresh or met
	staged    bool
	met       bool // duplicates that were not familiar

	newLetters int64 // dead letters that nobody else was known to write
}

// try is one transaction.
type try struct {
	sink   *Sink
	target *target
	work   *work
	conn   *pgx.Conn
	out    outcome
	after  bool // what comes after the rows is being written
	sent   bool // COMMIT may have reached Postgres

	bare        map[*Row]bool // rows that are written without the click with which they were refused
	corrections []correction
	corrected   bool         // by correctWarily
	letters     []deadLetter // not copied yet, in the order of their keys
}

// refusedAfterRows says whether a correction, a note or, at COMMIT, anything was refused, in a try that was not wary of that.
func (t *try) refusedAfterRows(err error) bool {
	return t.after && !t.work.wary && t.ofRows(err)
}

// orderError says that Postgres answered COMMIT with ROLLBACK.
type orderError struct{ tag string }

func (e *orderError) Error() string { return "COMMIT was answered with " + e.tag }

func (t *try) run(ctx context.Context) error {
	var err error
	if t.target, err = t.sink.describe(ctx, t.conn); err != nil {
		return err
	}
	t.out.staged = t.work.sifted()
	if err := t.begin(ctx); err != nil {
		return err
	}
	if len(t.work.rows) > 0 {
		if err := t.writeRows(ctx); err != nil {
			return err
		}
	}
	t.after = true
	t.corrections = t.work.corrections(&t.out)
	if t.corrected = t.work.wary || t.target.meddled || len(t.bare) > 0 || slices.ContainsFunc(t.corrections, t.tooLong); t.corrected {
		if err := t.correctWarily(ctx); err != nil {
			return err
		}
	}
	if err := t.copyLetters(ctx); err != nil {
		return err
	}
	return t.finish(ctx)
}

const moveSQL = `UPDATE firstclick.offsets SET topic_id = $6, leader_epoch = $7, commits = commits + 1, next_offset = $8, recent_offset = $9,
	clicks_next = $10, clicks_restore = $11, clicks_epoch = $12, watermark = greatest(watermark, $13), final_before = greatest(final_before, $14),
	expire_before = $15, clicks_latest = $16, committed_at = greatest(committed_at, now())
	WHERE group_id = $1 AND topic = $2 AND partition = $3 AND owner = $4 AND commits = $5`

// begin opens the transaction, moves the offsets rows and looks whether the names are still those of commerce.users: one round trip.
func (t *try) begin(ctx context.Context) error {
	var b pgx.Batch
	b.Queue("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
	// Invariant: the table stays as it is described until the end of the transaction.
	b.Queue(t.target.lock)
	b.Queue(markSQL)
	for _, batch := range t.work.batches {
		b.Queue(moveStatement(), append(shardKey(batch.Claim), batch.positionArgs()...)...)
	}
	if t.work.edition != "" {
		b.Queue(cdc.EditionSQL)
	}
	if len(t.work.rows) > 0 && t.out.staged {
		b.Queue(t.target.stage)
	}
	// Triggers of the table run from here on, some at COMMIT. Invariant: what is sent after this
	// finds nothing by the search_path.
	b.Queue(pgsession.TheirPathSQL)
	if len(t.work.rows) > 0 {
		b.Queue("SAVEPOINT rows")
	}
	results := t.conn.SendBatch(ctx, &b)
	defer results.Close()
	for range 2 {
		if _, err := results.Exec(); err != nil {
			return fmt.Errorf("begin: %w", err)
		}
	}
	var mark string
	if err := results.QueryRow().Scan(&mark); err != nil {
		return fmt.Errorf("look whether commerce.attributed_checkouts was altered: %w", err)
	}
	if mark != t.target.mark {
		return errAltered
	}
	moved := true
	for range t.work.batches {
		tag, err := results.Exec()
		if err != nil {
			return fmt.Errorf("move offsets: %w", err)
		}
		moved = moved && tag.RowsAffected() == 1
	}
	var edition string
	if t.work.edition != "" {
		if err := results.QueryRow().Scan(&edition); err != nil {
			return fmt.Errorf("look at commerce.users: %w", err)
		}
	}
	if err := results.Close(); err != nil {
		return fmt.Errorf("prepare for rows: %w", err)
	}
	if moved {
		return t.sink.judgeNames(t.work, edition)
	}
	if _, err := t.conn.Exec(ctx, "ROLLBACK"); err != nil {
		return fmt.Errorf("roll back: %w", err)
	}
	stored, err := readShards(ctx, t.conn, t.work.batches, false)
	if err != nil {
		return err
	}
	return t.work.judge(stored).refusal()
}

// judgeNames refuses names that are not those of the moment any more: the table was altered, or the transaction waited for a lock since they
// were asked for. Where Postgres is slow each time, older ones are put up with, or nothing would ever be written.
func (s *Sink) judgeNames(w *work, edition string) error {
	if edition != w.edition {
		s.names.Outdated(w.edition)
		return fmt.Errorf("commerce.users was altered after its names were read: %w", &passingError{causePlan})
	}
	if age := s.clock.Now().Sub(w.asked); len(w.users) > 0 && age > w.patient {
		w.patient *= 2
		return fmt.Errorf("names were read %v before their rows could be written: %w", age, &passingError{causeTimeout})
	}
	return nil
}

func shardKey(c *Claim) []any {
	return []any{c.Group, c.Topic, c.Partition, pgtype.UUID{Bytes: c.Owner, Valid: true}, c.Commits}
}

// positionArgs are topic_id and what follows, in the order of moveSQL.
func (b *Batch) positionArgs() []any {
	return positionArgs(b.TopicID, &b.Position)
}

func positionArgs(topicID [16]byte, p *join.Position) []any {
	return []any{
		optionalUUID(topicID), p.LeaderEpoch, p.NextOffset, p.RecentOffset,
		int64s(p.ClicksNext), int64s(p.ClicksRestore), int32s(p.ClicksEpoch),
		instant(p.Watermark), instant(p.FinalBefore), instant(p.ExpireBefore), instants(p.ClicksLatest),
	}
}

// int64s keeps a missing list from becoming NULL.
func int64s(v []int64) []int64 {
	if v == nil {
		return []int64{}
	}
	return v
}

func int32s(v []int32) []int32 {
	if v == nil {
		return []int32{}
	}
	return v
}

func optionalUUID(id [16]byte) pgtype.UUID {
	return pgtype.UUID{Bytes: id, Valid: id != [16]byte{}}
}

// earliest is the first instant that timestamptz is sure to hold; the last is later than int64 microseconds reach.
var earliest = time.Date(-4712, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// instant is a timestamptz: NULL for none, -infinity before what it holds.
func instant(micros int64) pgtype.Timestamptz {
	switch {
	case micros == join.NoTime:
		return pgtype.Timestamptz{}
	case micros < earliest:
		return pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}
	}
	return pgtype.Timestamptz{Time: time.UnixMicro(micros).UTC(), Valid: true}
}

func instants(micros []int64) []pgtype.Timestamptz {
	list := make([]pgtype.Timestamptz, len(micros))
	for i, t := range micros {
		list[i] = instant(t)
	}
	return list
}

// micros is the reverse of instant.
func micros(t pgtype.Timestamptz) int64 {
	switch {
	case !t.Valid || t.InfinityModifier == pgtype.NegativeInfinity:
		return join.NoTime
	case t.InfinityModifier == pgtype.Infinity:
		return math.MaxInt64
	}
	return t.Time.UnixMicro()
}

// landed counts.
func (s *Sink) landed(out outcome, took time.Duration) {
	if out.result.Fresh+out.result.Duplicates+out.result.Conflicts > 0 {
		s.path.note(out.met)
		s.familiar.note(out.result.Duplicates+out.result.Conflicts > 0)
	}
	if out.newLetters >= copiedLetters {
		s.letters.note(out.result.DeadLetters < out.newLetters)
	}
	c := &s.stats
	c.mu.Lock()
	defer c.mu.Unlock()
	c.commits++
	c.rows += out.result.Fresh
	c.inCommit += took
	switch {
	case out.staged:
		c.staged++
	case out.result.Fresh > 0:
		c.direct++
	}
}
