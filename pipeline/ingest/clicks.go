package ingest

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"firstclick/internal/kafkabatch"
	"firstclick/join"
	"firstclick/join/decode"
	"firstclick/join/event"
	"firstclick/join/window"
	"firstclick/pipeline/rules"
)

// clicksTaker takes what was read of clicks, which are in the window by then. It waits until it is
// taken, or ctx ends.
type clicksTaker interface {
	Clicks(ctx context.Context, reads []*join.ClicksRead, dead []event.DeadLetter)
}

// clickChecker refuses a click that the table cannot hold.
type clickChecker interface {
	Click(id event.ID) error
}

// Clicks reads the clicks topic: into the window, and what else came of it to the taker.
type Clicks struct {
	Kafka    *Kafka
	Clock    rules.Clock
	Hasher   event.Hasher
	Window   *window.Window
	Core     *join.Core // its methods that are safe for concurrent use
	Checker  clickChecker
	Payloads payloads
	Taker    clicksTaker
}

// Run reads with all clients until ctx ends.
func (c *Clicks) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, cl := range c.Kafka.readers {
		g.Go(func() error { return c.readClient(ctx, cl) })
	}
	return g.Wait()
}

// readClient reads the partitions of one client.
func (c *Clicks) readClient(ctx context.Context, cl *kgo.Client) error {
	k := c.Kafka
	partitions := map[int32]*clicksReader{}
	for {
		fetches, err := k.poll(ctx, cl, 0, k.reading.next)
		if err != nil || fetches == nil {
			return err
		}
		for piece := range pieces(fetches, clicksAtOnce) {
			used := readPoll(piece, partitions, func(p int32) *clicksReader {
				return &clicksReader{
					Clicks: c, partition: p, fresh: k.freshFrom(p),
					decoder: decode.New(k.cfg.Zone), batch: c.Window.NewBatch(),
				}
			}, func(r *clicksReader, f kgo.FetchTopicPartition) { r.read(f.Records) })
			var reads []*join.ClicksRead
			var dead []event.DeadLetter
			for _, r := range used {
				k.Metrics.Polled(k.cfg.ClicksTopic, r.partition, r.records, r.bytes, r.last)
				k.reading.moved(k.cfg.ClicksTopic, r.partition, r.out.Next, r.last)
				reads = append(reads, r.out)
				dead = append(dead, r.dead...)
			}
			if len(reads) > 0 {
				c.Taker.Clicks(ctx, reads, dead)
			}
		}
	}
}

// clicksReader decodes one partition.
type clicksReader struct {
	*Clicks
	partition int32
	fresh     int64 // the effect of every click below it was stored before the restart
	decoder   *decode.Decoder

	// What the last call of read brought.
	out            *join.ClicksRead
	dead           []event.DeadLetter
	records, bytes int64
	last           int64 // timestamp of the last record

	batch    *window.Batch
	batched  []arrival // the clicks of the batch
	products []byte    // their products, one after the other
}

// arrival is a click on its way into the window.
type arrival struct {
	join.Candidate
	product int // length; Candidate.Product is made for candidates only
}

// read decodes records into the window.
func (r *clicksReader) read(records []*kgo.Record) {
	r.out, r.dead, r.records, r.bytes = &join.ClicksRead{}, nil, 0, 0
	r.out.Reset(r.partition)
	r.out.SetLimits(r.Core.LimitsAt(rules.Wall().UnixMicro(), r.Clock.Now()))
	r.last = recordTime(records[len(records)-1])
	var c decode.Click
	for _, rec := range records {
		r.out.Next, r.out.Epoch = kafkabatch.Next(rec), rec.LeaderEpoch
		if bad := kafkabatch.Of(rec); bad != nil {
			if !bad.Aborted && rec.Offset >= r.fresh {
				r.reject(batchLetter(rec, bad, r.Kafka.Clicks.ID))
			}
		} else if !rec.Attrs.IsControl() {
			r.records++
			r.bytes += int64(len(rec.Value))
			if err := r.decode(rec, &c); err != nil && rec.Offset >= r.fresh {
				r.reject(deadLetter(rec, r.Kafka.Clicks.ID, err, r.Payloads))
			}
		}
		rec.Recycle()
	}
	r.decoder.LetGo()
	r.flush()
}

func (r *clicksReader) reject(d event.DeadLetter) {
	r.dead = append(r.dead, d)
	r.Kafka.Metrics.undecoded(d.Topic, d.Reason)
}

// decode decodes a click into the batch.
func (r *clicksReader) decode(rec *kgo.Record, c *decode.Click) error {
	if err := r.decoder.Click(rec.Value, c); err != nil {
		return err
	}
	if err := checkFuture(c.Time, rec, r.Kafka.cfg.Rule.MaxFutureSkew); err != nil {
		return err
	}
	if err := r.Checker.Click(c.ID); err != nil {
		return err
	}
	if r.batch.Full() {
		r.flush()
	}
	key := r.Hasher.Key(c.User, c.Product)
	r.batch.Add(key, c.Time, c.ID)
	r.out.Add(c.Time, rec.Offset)
	candidate := join.Candidate{Key: key, Time: c.Time, ID: c.ID, Offset: rec.Offset, User: c.User}
	r.batched = append(r.batched, arrival{candidate, len(c.Product)})
	r.products = append(r.products, c.Product...)
	return nil
}

// flush puts the batch into the window, and hands in those clicks that may change a checkout that
// is released, or that come too late.
func (r *clicksReader) flush() {
	r.batch.Flush()
	frontier, late := r.Core.Frontier(), r.Core.LateBefore() // after the insertion: see join.Core.Frontier
	products := r.products
	for n := range r.batched {
		c := &r.batched[n]
		product := products[:c.product]
		products = products[c.product:]
		if r.out.IsCandidate(c.Time, frontier, late, c.Offset >= r.fresh) {
			c.Product = string(product)
			r.out.Candidates = append(r.out.Candidates, c.Candidate)
		}
	}
	clear(r.batched)
	r.batched, r.products = r.batched[:0], r.products[:0]
}
