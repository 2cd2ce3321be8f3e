package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/big"
	"time"

	"firstclick/internal/pgsession"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// weightDigits behind the point are what a weight has. Where the number of clicks does not divide 1, the first ones get a last digit
// more, so that the weights of a checkout sum to exactly 1.
const weightDigits = 12

// creditMemory is how many bytes of clicks one checkout's window may hold for the linear model.
const creditMemory = 64 << 20

// credit finds the clicks that a checkout's credit goes to. Checkouts come by user, product and time. What it gives is valid until
// the next call.
type credit interface {
	of(q question, window int64) ([]winner, error)
	Close()
}

func newCredit(model Model, clicks *sorter) (credit, error) {
	s, err := newStream(clicks, parseClick)
	if err != nil {
		return nil, err
	}
	switch model {
	case ModelLast:
		return &lastCredit{stream: s}, nil
	case ModelLinear:
		return &linearCredit{stream: s}, nil
	default:
		return &firstCredit{best: best{stream: s}}, nil
	}
}

type firstCredit struct{ best }

func (c *firstCredit) of(q question, window int64) ([]winner, error) {
	w, err := c.best.of(q.key(), window)
	if err != nil || !w.ok {
		return nil, err
	}
	return []winner{w}, nil
}

// lastCredit remembers the last click that is not after the checkout.
type lastCredit struct {
	*stream[click]
	last click
}

func (c *lastCredit) of(q question, window int64) ([]winner, error) {
	for c.ok && !after(c.head, q) {
		c.last = c.head
		if err := c.next(); err != nil {
			return nil, err
		}
	}
	if l := c.last; l.user == q.user && l.product == q.product && l.id != "" && l.time >= q.time-window {
		return []winner{{id: l.id, time: l.time, ok: true}}, nil
	}
	return nil, nil
}

// after says whether the click is of a later key than the checkout's, or of the same and later than it.
func after(c click, q question) bool {
	return cmp.Or(cmp.Compare(c.user, q.user), cmp.Compare(c.product, q.product), cmp.Compare(c.time, q.time)) > 0
}

// linearCredit holds the clicks of the window that it has come to.
type linearCredit struct {
	*stream[click]
	user    int32
	product string
	held    []winner // in order, of one key
	bytes   int
}

func (c *linearCredit) of(q question, window int64) ([]winner, error) {
	if c.user != q.user || c.product != q.product {
		c.user, c.product, c.held, c.bytes = q.user, q.product, c.held[:0], 0
	}
	from := q.time - window
	for c.ok && !after(c.head, q) {
		w := winner{id: c.head.id, time: c.head.time, ok: true}
		again := len(c.held) > 0 && c.held[len(c.held)-1] == w // the same click was sent twice
		if c.head.user == q.user && c.head.product == q.product && w.time >= from && !again {
			c.held = append(c.held, w)
			if c.bytes += len(w.id) + 40; c.bytes > creditMemory {
				return nil, fmt.Errorf("user %d clicked product %s more than %d times within a window of checkout %s: too many to credit one by one; take a shorter --window or another --model",
					q.user, quote(q.product), len(c.held), quote(q.id))
			}
		}
		if err := c.next(); err != nil {
			return nil, err
		}
	}
	gone := 0
	for gone < len(c.held) && c.held[gone].time < from {
		c.bytes -= len(c.held[gone].id) + 40
		gone++
	}
	if gone > 0 {
		c.held = append(c.held[:0], c.held[gone:]...)
	}
	return c.held, nil
}

// weight is the i-th of n equal ones, in units of the last digit.
func weight(i, n int) *big.Int {
	one := new(big.Int).Exp(big.NewInt(10), big.NewInt(weightDigits), nil)
	each, rest := one.QuoRem(one, big.NewInt(int64(n)), new(big.Int))
	if big.NewInt(int64(i)).Cmp(rest) < 0 {
		each.Add(each, big.NewInt(1))
	}
	return each
}

// scratchColumns are those of the new table, in the order of credited.Values.
var scratchColumns = []string{"checkout_id", "user_id", "product_id", "total_amount", "checkout_time", "click_id", "click_time", "clicks", "weight"}

const scratchTypes = `(checkout_id text NOT NULL, user_id int NOT NULL, product_id text NOT NULL, total_amount numeric, checkout_time timestamp NOT NULL,
	click_id text, click_time timestamp, clicks int NOT NULL, weight numeric(13,12) NOT NULL)`

// credited gives the rows of the new table to COPY: one for every click of a checkout's, or one without a click.
type credited struct {
	*supposing
	ctx       context.Context // pgx.CopyFromSource is given none
	questions *stream[question]
	credit    credit
	q         question
	clicks    []winner
	i, n      int // the row, of how many
	began     bool
	err       error
}

func (c *credited) Err() error { return c.err }

func (c *credited) Next() bool {
	if c.i++; c.i < c.n {
		return true
	}
	if c.began {
		c.progress.add(1)
		c.err = errors.Join(c.questions.next(), c.ctx.Err())
	}
	if c.began = true; c.err != nil || !c.questions.ok {
		return false
	}
	c.q = c.questions.head
	if c.clicks, c.err = c.credit.of(c.q, c.snap.window.Microseconds()); c.err != nil {
		return false
	}
	c.tally(c.q, c.clicks)
	c.i, c.n = 0, max(1, len(c.clicks))
	return true
}

func (c *credited) Values() ([]any, error) {
	var amount pgtype.Numeric
	if d, ok := parseDecimal(c.q.amount.text); ok && c.q.amount.valid {
		amount = pgtype.Numeric{Int: d.unscaled, Exp: int32(-d.scale), Valid: true}
	}
	var clickID *string
	var clickTime *time.Time
	if len(c.clicks) > 0 {
		at := time.UnixMicro(c.clicks[c.i].time).UTC()
		clickID, clickTime = &c.clicks[c.i].id, &at
	}
	return []any{
		c.q.id, c.q.user, c.q.product, amount, time.UnixMicro(c.q.time).UTC(), clickID, clickTime, int32(len(c.clicks)),
		pgtype.Numeric{Int: weight(c.i, c.n), Exp: -weightDigits, Valid: true},
	}, nil
}

// write makes the table under another name and gives it its own at the end, all in one transaction: whatever comes in between, there
// is the old table or the new one, and nobody who reads the old one waits.
func (w *supposing) write(ctx context.Context) error {
	w.progress.phase("checkouts written to "+w.into.typed, w.askSort.count)
	conn, err := pgsession.Connect(ctx, w.cfg.Database, application)
	if err != nil {
		return fmt.Errorf("connect to postgres: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) // which rolls back what was not committed
	tx, err := conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin to write %s: %w", w.into.typed, err)
	}
	making := pgx.Identifier{w.into.schema, fmt.Sprintf("firstclick_whatif_%d", conn.PgConn().PID())}
	if _, err := tx.Exec(ctx, "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; CREATE TABLE "+making.Sanitize()+scratchTypes); err != nil {
		return fmt.Errorf("create table %s: %w", w.into.typed, err)
	}
	if err := w.copy(ctx, tx, making); err != nil {
		return err
	}
	if err := w.putInPlace(ctx, tx, making); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit table %s: %w", w.into.typed, err)
	}
	return nil
}

func (w *supposing) copy(ctx context.Context, tx pgx.Tx, making pgx.Identifier) error {
	questions, err := newStream(w.askSort, parseQuestion)
	if err != nil {
		return err
	}
	defer questions.Close()
	credit, err := newCredit(w.scenario.Model, w.clickSort)
	if err != nil {
		return err
	}
	defer credit.Close()
	w.outcome.Written, err = tx.CopyFrom(ctx, making, scratchColumns, &credited{supposing: w, ctx: ctx, questions: questions, credit: credit})
	if err != nil {
		return fmt.Errorf("write table %s: %w", w.into.typed, err)
	}
	return nil
}

// putInPlace looks once more whether the name is free, for the copy took its time.
func (w *supposing) putInPlace(ctx context.Context, tx pgx.Tx, making pgx.Identifier) error {
	now, err := lookUpScratch(ctx, tx, w.scenario.Into)
	if err != nil {
		return err
	}
	if err := now.usable(w.scenario.Replace); err != nil {
		return err
	}
	into := pgx.Identifier{w.into.schema, w.into.name}.Sanitize()
	var statements []string
	if now.kind != "" {
		statements = append(statements, "DROP TABLE "+into)
	}
	statements = append(statements,
		"ALTER TABLE "+making.Sanitize()+" RENAME TO "+pgx.Identifier{w.into.name}.Sanitize(),
		fmt.Sprintf("COMMENT ON TABLE %s IS '%s: model %s, window %s, %s'", into, scratchMark, w.scenario.Model, w.snap.window, time.Now().UTC().Format(time.RFC3339)))
	for _, statement := range statements {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return fmt.Errorf("put table %s in place: %w", w.into.typed, err)
		}
	}
	return nil
}
