package main

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// produced is a checkout that was sent. Times are nanoseconds since the load began.
type produced struct {
	due, acked int64
	offset     int64
	session    int64
}

// load is an open loop: event number n is due at begin + n/rate, whatever became of the events
// before it, and its latency counts from then. A sender that falls behind so makes the figures
// worse, never better (no coordinated omission).
//
// Three events make a session: a click, a second click on the same product, and a checkout, which
// belongs to a session whose clicks were sent half a second before. So every checkout has a click
// that was acknowledged before it, and its answer is known: the first click of the session.
type load struct {
	topics topics
	rate   float64
	client *kgo.Client
	begin  time.Time // set before run: the watcher reads it too
	lag    int64     // sessions between the clicks and their checkout
	aside  int32     // partitions below it get no event

	failed atomic.Pointer[error]
	behind atomic.Int64 // the most that a send came after its time, in nanoseconds
	mu     sync.Mutex
	sent   [][]produced // by partition, in the order of their answers
}

// clicksBeforeCheckout is how long before its checkout a session's clicks are sent.
const clicksBeforeCheckout = 500 * time.Millisecond

func newLoad(addr string, t topics, rate float64, aside int32) (*load, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(1<<20),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return nil, fmt.Errorf("make a Kafka client: %w", err)
	}
	lag := int64(clicksBeforeCheckout.Seconds()*rate/3) + 1
	return &load{
		topics: t, rate: rate, client: client, lag: lag, aside: aside, sent: make([][]produced, t.partitions),
	}, nil
}

// wake is the least time between two sends: to wake up for each event would cost more than the
// event.
const wake = time.Millisecond

// run sends until ctx ends, and then waits until Kafka has answered for everything.
func (l *load) run(ctx context.Context) error {
	var next int64
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			if err := l.client.Flush(context.WithoutCancel(ctx)); err != nil {
				return fmt.Errorf("flush: %w", err)
			}
			if err := l.failed.Load(); err != nil {
				return fmt.Errorf("produce: %w", *err)
			}
			return nil
		case <-timer.C:
		}
		now := time.Since(l.begin)
		until := int64(now.Seconds()*l.rate) + 1
		l.behind.Store(max(l.behind.Load(), int64(now)-l.due(next)))
		l.send(context.WithoutCancel(ctx), next, until)
		next = until
		timer.Reset(max(time.Duration(l.due(next))-time.Since(l.begin), wake))
	}
}

// due is the time of event number n in nanoseconds since begin.
func (l *load) due(n int64) int64 { return int64(float64(n) / l.rate * 1e9) }

func (l *load) send(ctx context.Context, from, until int64) {
	slab := make([]byte, 0, (until-from)*512)
	records := make([]kgo.Record, until-from)
	spread := int64(l.topics.partitions - l.aside)
	for n := from; n < until; n++ {
		r := &records[n-from]
		session, part := n/3, n%3
		at := len(slab)
		stamp := l.begin.Add(time.Duration(l.due(n)))
		r.Topic, r.Partition, r.Timestamp = l.topics.clicks, l.aside+int32(n%spread), stamp
		if session < l.lag && part == 2 || part < 2 {
			if part == 2 {
				session = -session - 1 // nobody's: there is no checkout yet
			}
			slab = appendClick(slab, n, session, stamp)
			r.Value = slab[at:len(slab):len(slab)]
			l.client.Produce(ctx, r, l.answered)
			continue
		}
		session -= l.lag
		slab = appendCheckout(slab, session, stamp)
		r.Topic, r.Partition = l.topics.checkouts, l.aside+int32(session%spread)
		r.Value = slab[at:len(slab):len(slab)]
		due := l.due(n)
		l.client.Produce(ctx, r, func(r *kgo.Record, err error) {
			l.answered(r, err)
			if err != nil {
				return
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.sent[r.Partition] = append(l.sent[r.Partition],
				produced{due: due, acked: int64(time.Since(l.begin)), offset: r.Offset, session: session})
		})
	}
}

func (l *load) answered(_ *kgo.Record, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		l.failed.CompareAndSwap(nil, &err)
	}
}

// answer is the first click of a session. Events carry milliseconds: of two clicks in the same one,
// the lesser id is first.
func (l *load) answer(session int64) string {
	at := func(n int64) time.Time { return l.begin.Add(time.Duration(l.due(n))).Truncate(time.Millisecond) }
	first, second := clickID(3*session), clickID(3*session+1)
	if at(3 * session).Equal(at(3*session + 1)) {
		return min(first, second)
	}
	return first
}

// newestBelow is the last session whose checkout lies below an offset of a partition, by Kafka's
// answers so far.
func (l *load) newestBelow(partition int32, offset int64) (session int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	of := l.sent[partition]
	for i := len(of) - 1; i >= 0 && i > len(of)-1000; i-- {
		if of[i].offset < offset {
			return of[i].session, true
		}
	}
	return 0, false
}

// Ids and products come from numbers, so that the answer is known without keeping them.
const (
	saltClick uint64 = iota + 1
	saltCheckout
	saltProduct
)

func clickID(n int64) string          { return string(appendUUID(nil, n, saltClick)) }
func checkoutID(session int64) string { return string(appendUUID(nil, session, saltCheckout)) }

// appendUUID writes a UUID of version 4 that depends on n and salt only.
func appendUUID(dst []byte, n int64, salt uint64) []byte {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:], mix(uint64(n)^salt<<56))
	binary.BigEndian.PutUint64(id[8:], mix(uint64(n)^salt<<56^0x5851f42d4c957f2d))
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	dst = append(hex.AppendEncode(dst, id[:4]), '-')
	dst = append(hex.AppendEncode(dst, id[4:6]), '-')
	dst = append(hex.AppendEncode(dst, id[6:8]), '-')
	dst = append(hex.AppendEncode(dst, id[8:10]), '-')
	return hex.AppendEncode(dst, id[10:])
}

// mix is a bijection that looks random.
func mix(x uint64) uint64 {
	x ^= bits.RotateLeft64(x, 25) ^ bits.RotateLeft64(x, 50)
	x *= 0xa24baed4963ee407
	x ^= bits.RotateLeft64(x, 24) ^ bits.RotateLeft64(x, 49)
	x *= 0x9fb21c651e98df25
	return x ^ x>>28
}

// liveUsers is how many users there are; ids from 1.
const liveUsers = 100

// appendEvent writes a click or a checkout of a session as the shop does: the id, what both have,
// and members in between.
func appendEvent(dst []byte, kind string, n int64, salt uint64, session int64, members string, at time.Time) []byte {
	dst = append(append(append(dst, `{"`...), kind...), `_id": "`...)
	dst = append(appendUUID(dst, n, salt), `", "user_id": `...)
	dst = strconv.AppendUint(dst, 1+mix(uint64(session))%liveUsers, 10)
	dst = append(dst, `, "product_id": "`...)
	dst = append(append(appendUUID(dst, session, saltProduct), `", `...), members...)
	dst = append(dst,
		`, "user_agent": "Mozilla/5.0 (Macintosh; PPC Mac OS X 10_11_5) AppleWebKit/531.0 (KHTML, like Gecko) `+
			`Chrome/30.0.819.0 Safari/531.0", "ip_address": "168.135.111.71", "datetime_occured": "`...)
	return append(at.UTC().AppendFormat(dst, "2006-01-02 15:04:05.000"), '"', '}')
}

func appendClick(dst []byte, n, session int64, at time.Time) []byte {
	const members = `"product": "purpose", "price": 14.3, "url": "https://www.yang.com/wp-contentterms.html"`
	return appendEvent(dst, "click", n, saltClick, session, members, at)
}

func appendCheckout(dst []byte, session int64, at time.Time) []byte {
	const members = `"payment_method": "JCB 16 digit", "total_amount": 896.92, ` +
		`"shipping_address": "148 Eric Track\nNew Stephanie, NC 00575", ` +
		`"billing_address": "15430 Natalie Common Apt. 718\nEast Donna, OH 22144"`
	return appendEvent(dst, "checkout", session, saltCheckout, session, members, at)
}
