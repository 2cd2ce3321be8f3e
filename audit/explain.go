package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// ErrCheckoutID is returned for a checkout_id that no checkout can have.
var ErrCheckoutID = errors.New("a checkout_id is a text of 1 to 255 bytes, UTF-8, without NUL")

// Explain finds out why a checkout has the click it has. As in the package's protocol Postgres is read first, then Kafka: by the
// records' timestamps as far as they lead, else whole. It changes nothing. A checkout that is nowhere is an Explanation too;
// the error is about not having been able to look, or [ErrCheckoutID].
//
// Of Config, TempDir, SortMemory, Examples and Names are not used. How long it takes depends on whether the records'
// timestamps are near the event times; ctx bounds it.
func Explain(ctx context.Context, cfg Config, id string) (*Explanation, error) {
	if id == "" || len(id) > maxID || !utf8.ValidString(id) || strings.ContainsRune(id, 0) {
		return nil, ErrCheckoutID
	}
	begun := time.Now()
	x := newExplainer(cfg, id)
	if err := x.explain(ctx); err != nil {
		return nil, err
	}
	if x.shorten {
		x.note("texts of more than %d bytes are held against each other whole, and shown by their first %d characters, length and hash", longText, shortText)
	}
	for _, n := range x.report.Notes {
		if !slices.Contains(x.out.Notes, n) {
			x.out.Notes = append(x.out.Notes, n)
		}
	}
	x.out.Elapsed = time.Since(begun)
	x.progress.done()
	return x.out, nil
}

func newExplainer(cfg Config, id string) *explainer {
	if cfg.Group == "" {
		cfg.Group = "firstclick"
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &explainer{
		audit: &audit{cfg: cfg, log: log, progress: newProgress(cfg.Progress)},
		out:   &Explanation{CheckoutID: id, Group: cfg.Group, Records: []CheckoutRecord{}, Clicks: []ClickRecord{}, Searched: []OffsetRange{}},
		id:    id, dead: map[spot]DeadLetter{},
	}
}

// explainer is one run of Explain. Of the audit it uses the snapshot's progress and columns, the reader and the notes; it sorts
// nothing on disk.
type explainer struct {
	*audit
	out *Explanation
	id  string // as the column stores it
	at  standing

	row   tableRow
	there bool                // there is a row
	dead  map[spot]DeadLetter // those that concern the checkout or its clicks
	late  []lateRow           // likewise

	records []foundCheckout // by partition and offset
	dropped int64           // records beyond those
	source  *foundCheckout  // what the row is made of, or would be
	shorten bool            // texts were too long to be held and shown whole
	several bool            // records of several users may have made the row
	picked  *picker         // clicks; nil before they are looked for
	noted   *noted          // in firstclick.unknown_users
	byClick Verdict         // what the clicks say of a row whose record is gone
}

// standing is how far the group was in the snapshot.
type standing struct {
	taken                  time.Time
	lateness, outOfOrder   time.Duration
	watermark, finalBefore *time.Time
	committed              *time.Time // of the row, under track_commit_timestamp
}

// spot is a record's place within the group: which topic, partition, offset.
type spot struct {
	which     byte
	partition int32
	offset    int64
}

type foundCheckout struct {
	checkout
	stamp  int64  // the record's timestamp in microseconds; -1: none
	reason string // why it is no checkout; "": it is one
	dead   string // reason of its dead letter
	status string // likewise
}

func (x *explainer) explain(ctx context.Context) error {
	if err := x.readState(ctx); err != nil {
		return err
	}
	opts, err := x.cfg.Kafka.Opts()
	if err != nil {
		return fmt.Errorf("configure kafka client: %w", err)
	}
	if x.reader, err = newLogReader(opts); err != nil {
		return err
	}
	defer x.reader.Close()
	for _, step := range []func(context.Context) error{
		x.describeTopics,
		x.readLetters,
		x.findCheckouts,
		x.readLettersOfRecords,
		x.explainClicks,
		x.readName,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	x.tell()
	return nil
}

// explainClicks chooses the source and judges by its clicks. Several records of the same content but of other users may have
// written the row, which has no user: then the one counts for which the row is right.
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
		if err := x.findClicks(ctx, JoinSpan{UserID: k.user, ProductID: k.product, To: moment(k.time), Source: "the checkout's record"}); err != nil {
			return err
		}
		if x.out.Verdict != VerdictWrong {
			break
		}
	}
	if x.several = len(tried) > 1; x.several {
		x.note("records with this checkout_id and the row's content name different users; the row has no user_id to tell which one it was made of")
	}
	return nil
}

// sources are the records that may have written the row, or would write it, the likeliest first. A dead letter that was retried
// is another record by then; only where none is found may it be that somebody wrote the row by hand.
func (x *explainer) sources() []*foundCheckout {
	var same, other []*foundCheckout
	letters := !slices.ContainsFunc(x.records, func(k foundCheckout) bool { return k.reason == "" && k.dead == "" })
	for i := range x.records {
		k := &x.records[i]
		if k.reason != "" || k.dead != "" && (!letters || !x.there || k.status != "retried") {
			continue
		}
		if name, _, _ := x.row.differing(x.snap.columns, k.event); x.there && name != "" {
			other = append(other, k)
		} else {
			same = append(same, k)
		}
	}
	byTime := func(list []*foundCheckout) {
		slices.SortStableFunc(list, func(a, b *foundCheckout) int {
			switch {
			case a.flags&flagPending != b.flags&flagPending:
				return int(a.flags&flagPending - b.flags&flagPending)
			case a.stamp < b.stamp:
				return -1
			case a.stamp > b.stamp:
				return 1
			}
			return 0
		})
	}
	byTime(same)
	byTime(other)
	if len(same) > 0 {
		return same
	}
	return other[:min(1, len(other))]
}

// withoutSource is the verdict when no record can have written the row.
func (x *explainer) withoutSource() Verdict {
	switch {
	case x.there && (x.gone[topicCheckouts] || x.beforeStart()):
		return VerdictUnverifiable
	case x.there:
		return VerdictWrong
	case x.hasLetter():
		return VerdictDeadLetter
	case slices.ContainsFunc(x.records, func(k foundCheckout) bool { return k.flags&flagPending != 0 }):
		return VerdictPending
	case len(x.records) > 0:
		return VerdictMissing
	default:
		return VerdictUnknown
	}
}

// beforeStart says whether the row's time is before the group's start, in a topic that has records from there: it is another job's.
func (x *explainer) beforeStart() bool {
	some := slices.ContainsFunc(x.snap.checkoutsStart, func(from int64) bool { return from > 0 })
	if !some || !x.row.timed || x.row.time >= x.snap.begun+x.snap.skew {
		return false
	}
	x.note("the row's time is before the start of group %s, which does not answer for it: another job wrote it", x.cfg.Group)
	return true
}

func (x *explainer) hasLetter() bool {
	for place := range x.dead {
		if place.which == topicCheckouts {
			return true
		}
	}
	return false
}

// explainGone shows what can be shown when Kafka no longer holds the checkout: the row says product and time, but not the user.
func (x *explainer) explainGone(ctx context.Context) error {
	if !x.there || !x.row.timed || !x.row.own[0].valid {
		return nil
	}
	span := JoinSpan{ProductID: x.row.own[0].text, To: moment(x.row.time)}
	verdict := x.out.Verdict
	defer func() { x.byClick, x.out.Verdict = x.out.Verdict, verdict }()
	for _, l := range x.late {
		if l.which == topicCheckouts {
			span.UserID, span.Source = l.UserID, "firstclick.late; Kafka no longer holds the checkout"
			return x.findClicks(ctx, span)
		}
	}
	if x.noted != nil {
		span.UserID, span.Source = x.noted.user, "firstclick.unknown_users; Kafka no longer holds the checkout"
		return x.findClicks(ctx, span)
	}
	user, ok, err := x.userOfClick(ctx)
	if err != nil || !ok {
		return err
	}
	span.UserID, span.Source = user, "the row's click; Kafka no longer holds the checkout"
	return x.findClicks(ctx, span)
}

// pendingCheckout says whether firstclick had not read so far.
func (x *explainer) pendingCheckout(partition int32, offset int64) bool {
	s, ok := x.snap.shards[partition]
	return !ok || offset >= s.next
}

// pendingClick says whether the click need not have had its effect on this checkout: that is for the checkout's shard to say,
// or, where it is not known, for the one furthest behind.
func (x *explainer) pendingClick(partition int32, offset int64) bool {
	if x.source != nil {
		s, ok := x.snap.shards[x.source.partition]
		return !ok || !s.passed(partition, offset)
	}
	for _, s := range x.snap.shards {
		if !s.passed(partition, offset) {
			return true
		}
	}
	return len(x.snap.shards) == 0
}

func moment(micros int64) time.Time { return time.UnixMicro(micros).UTC() }
