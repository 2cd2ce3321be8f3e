package audit

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// ErrCheckoutID is returned for a checkout_id that no checkout can have.
var ErrCheckoutID = errors.New("a checkout_id is a text of 1 to 255 bytes, UTF-8, without NUL")

// Explain finds out why a checkout has the click it has. As in the package's protocol Postgres is
// read first, then Kafka: by the records' timestamps, and whole if these do not help. It changes
// nothing. A checkout that is nowhere is an Explanation too. The error is that the look-up failed,
// or [ErrCheckoutID].
//
// Of Config, TempDir, SortMemory, Examples and Names are not used. How long it takes depends on
// whether the records' timestamps are near the event times; ctx bounds it.
func Explain(ctx context.Context, cfg Config, id string) (*Explanation, error) {
	if id == "" || len(id) > maxID || !utf8.ValidString(id) || strings.ContainsRune(id, 0) {
		return nil, ErrCheckoutID
	}
	begun := time.Now()
	x := newExplainer(cfg, id)
	if err := x.explain(ctx); err != nil {
		return nil, err
	}
	x.fillIn()
	x.out.Elapsed = time.Since(begun)
	x.progress.done()
	return x.out, nil
}

func newExplainer(cfg Config, id string) *explainer {
	x := &explainer{run: newRun(cfg, false), id: id, dead: map[recordRef]DeadLetter{}}
	x.out = &Explanation{
		CheckoutID: id, Group: x.cfg.Group,
		Records: []CheckoutRecord{}, Clicks: []ClickRecord{}, Searched: []OffsetRange{},
	}
	return x
}

// explainer is one run of Explain. It sorts nothing on disk: it reads only what concerns the
// checkout.
type explainer struct {
	*run
	out  *Explanation
	conn *pgx.Conn
	id   string // as the column stores it

	row       *item      // nil: there is none
	committed *time.Time // of the row, under track_commit_timestamp
	dead      map[recordRef]DeadLetter
	late      []lateRow
	unknown   *unknownUser // in firstclick.unknown_users
	records   []foundCheckout
	dropped   int64          // records beyond those
	source    *foundCheckout // what the row is made of, or would be
	shorten   bool           // texts were too long to be held and shown whole
	several   bool           // records of several users may have made the row
	picked    *clickList     // clicks; nil before they are looked for
	byClick   Verdict        // what the clicks say of a row whose record is gone
}

// recordRef is where a record is.
type recordRef struct {
	topic     topic
	partition int32
	offset    int64
}

// foundCheckout is a record with the checkout_id.
type foundCheckout struct {
	item
	stamp  int64  // the record's timestamp in microseconds; -1: none
	reason string // why it is no checkout; "": it is one
	dead   string // reason of its dead letter
	status string // likewise
}

func (x *explainer) explain(ctx context.Context) (err error) {
	if err := x.readSnapshot(ctx, x.readSettings, x.readShards, x.readColumns, x.readRow); err != nil {
		return err
	}
	if x.conn, err = connect(ctx, x.cfg.Database); err != nil {
		return err
	}
	defer x.conn.Close(context.WithoutCancel(ctx))
	if x.reader, err = newLogReader(x.cfg.Kafka); err != nil {
		return err
	}
	defer x.reader.Close()
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return x.describeTopics(ctx, true) },
		x.searchLetters,
		x.findCheckouts,
		x.readLettersOfRecords,
		x.explainClicks,
		x.readUser,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// explainClicks chooses the source and judges by its clicks. Several records of the same content
// but of other users may have written the row, which has no user. Then the record is chosen that
// makes the row right.
func (x *explainer) explainClicks(ctx context.Context) error {
	sources := x.sources()
	if len(sources) == 0 {
		x.out.Verdict = x.withoutSource()
		return x.explainGone(ctx)
	}
	tried := map[int32]bool{}
	for _, k := range sources {
		if tried[k.user] {
			continue
		}
		tried[k.user] = true
		x.source = k
		join := JoinSpan{UserID: k.user, ProductID: k.product, To: moment(k.time), Source: "the checkout's record"}
		if err := x.findClicks(ctx, join); err != nil {
			return err
		}
		if x.out.Verdict != VerdictWrong {
			break
		}
	}
	if x.several = len(tried) > 1; x.several {
		x.note("records with this checkout_id and the row's content name different users; " +
			"the row has no user_id to tell which one it was made of")
	}
	return nil
}

// explainGone shows what can be shown when Kafka no longer holds the checkout. The row says product
// and time; the user may be known from elsewhere.
func (x *explainer) explainGone(ctx context.Context) error {
	if x.row == nil || x.row.flags&flagTimed == 0 || !x.row.productID().valid {
		return nil
	}
	join := JoinSpan{ProductID: x.row.productID().text, To: moment(x.row.time)}
	late := slices.IndexFunc(x.late, func(l lateRow) bool { return l.topic == topicCheckouts })
	switch {
	case late >= 0:
		join.UserID, join.Source = x.late[late].UserID, "firstclick.late"
	case x.unknown != nil:
		join.UserID, join.Source = x.unknown.user, "firstclick.unknown_users"
	default:
		user, ok, err := x.userOfClick(ctx)
		if err != nil || !ok {
			return err
		}
		join.UserID, join.Source = user, "the row's click"
	}
	join.Source += "; Kafka no longer holds the checkout"
	verdict := x.out.Verdict
	err := x.findClicks(ctx, join)
	x.byClick, x.out.Verdict = x.out.Verdict, verdict
	return err
}

// fillIn fills in the explanation from what was found.
func (x *explainer) fillIn() {
	x.listRecords()
	if x.picked != nil {
		x.listClicks()
	}
	for _, d := range x.dead {
		x.out.DeadLetters = append(x.out.DeadLetters, d)
	}
	slices.SortFunc(x.out.DeadLetters, func(a, b DeadLetter) int { return cmp.Compare(a.ID, b.ID) })
	for _, l := range x.late {
		x.out.Late = append(x.out.Late, l.LateEvent)
	}
	if x.row != nil || x.source != nil {
		x.timeStory()
	}
	x.out.Why = x.why()
	x.out.Summary = x.summary()
	if x.shorten {
		x.note("texts of more than %d bytes are compared whole, "+
			"and shown by their first %d characters, length and hash", longText, shortText)
	}
	x.out.Notes = x.report.Notes
}

// productID is a row's product_id.
func (x *item) productID() optional {
	return x.values[slices.IndexFunc(ownColumns, func(c ownColumn) bool { return c.member == memberProduct })]
}
