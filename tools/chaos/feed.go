package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"firstclick/internal/datagen"
	"firstclick/internal/kafkaconn"
	"firstclick/tools/testbed"
)

const (
	users = 100

	heldFor         = 20 * second
	transactionTime = 50 * second // of Kafka: an open transaction of a producer that died is aborted
	sendTime        = 2 * time.Minute
)

// fed is what was sent, as acknowledged (transactions: as committed).
type fed struct {
	rows   int64                    // one per checkout_id
	dead   map[datagen.Letter]int64 // by topic and reason
	unsure int64                    // transactions of which it is not known how they ended; they hold no poison
	sum    datagen.Summary
	pairs  int64 // of sentinels
	quick  int64 // checkouts of transactions
	held   int64 // checkouts of transactions held open
}

// feed produces until ctx ends. Everything goes to Kafka straight.
func (w *world) feed(ctx context.Context) (*fed, error) {
	f := &fed{dead: map[datagen.Letter]int64{}}
	g, failed := errgroup.WithContext(context.WithoutCancel(ctx))
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(failed, stop)()
	g.Go(func() (err error) {
		f.sum, err = datagen.Run(ctx, w.generator())
		return err
	})
	if w.opts.rate <= maxRate {
		g.Go(func() (err error) {
			f.pairs, err = w.sendSentinels(ctx)
			return err
		})
	}
	if !w.opts.plain {
		g.Go(func() (err error) {
			f.quick, err = w.sendTransactions(ctx, f, "quick", 0)
			return err
		})
		g.Go(func() (err error) {
			f.held, err = w.sendTransactions(ctx, f, "held", heldFor)
			return err
		})
	}
	g.Go(func() error { return w.changeUsers(ctx) })
	err := g.Wait()
	for letter, n := range f.sum.DeadLetters {
		f.dead[letter] += n
	}
	w.mu.Lock()
	ahead := w.wrongClocks
	w.mu.Unlock()
	f.rows = f.sum.Rows() + f.pairs + f.quick + f.held + ahead
	w.out.Say("fed: %d records of the generator (%d dead letters among them), %d sentinels, %d checkouts in "+
		"transactions, %d in transactions held open, "+
		"%d by a wrong clock, %d unsure", f.sum.Records, f.sum.Dead(), f.pairs, f.quick, f.held, ahead, f.unsure)
	return f, err
}

// generator has every knob of bad input on.
func (w *world) generator() datagen.Config {
	tooLarge := min(0.0003, 0.1/w.opts.rate) // megabytes each
	return datagen.Config{
		Kafka: kafkaconn.Config{Brokers: []string{w.kafka.Addr}}, Database: w.db.DSN,
		ClicksTopic: clicksTopic, CheckoutsTopic: checkoutsTopic, Users: users,
		Rate: w.opts.rate, Seed: w.opts.seed, Start: w.epoch(), Speed: timeLapse,
		OutOfOrder: 0.2, Late: 0.05, Duplicate: 0.02, Conflict: 0.01, Poison: 0.02, TooLarge: tooLarge,
		UnknownUser: 0.02, Future: 0.02, HotKey: 0.02, Renames: 5,
		ConnectTimeout: sendTime, StopTimeout: sendTime, Logger: w.log,
	}
}

// producer is a client that sends records to the partitions they name.
func (w *world) producer(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(opts, kgo.SeedBrokers(w.kafka.Addr), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0), kgo.MetadataMinAge(100*ms))...)
}

func event(topic string, partition int32, at time.Time, id string, user int, product string) *kgo.Record {
	value := fmt.Sprintf(`{"%s_id":%q,"user_id":%d,"product_id":%q,"datetime_occured":%q`,
		strings.TrimSuffix(topic, "s"), id, user, product,
		at.UTC().Format("2006-01-02 15:04:05.000000"))
	if topic == checkoutsTopic {
		value += `,"payment_method":"card","total_amount":"12.34"`
	}
	return &kgo.Record{Topic: topic, Partition: partition, Value: []byte(value + "}"), Timestamp: at}
}

// sentinelPrefix begins the checkout_id of a checkout that was produced after its click had been
// acknowledged, and of which no other click is earlier: its row must have the click from the first
// moment on.
const sentinelPrefix = "sentinel-"

// sendSentinels produces pairs of a click and, when that is acknowledged, its checkout. It gives
// how many.
func (w *world) sendSentinels(ctx context.Context) (n int64, err error) {
	cl, err := w.producer()
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	random := rand.New(rand.NewPCG(w.opts.seed, 11))
	const each = 4
	for testbed.Pause(ctx, 100*ms) {
		sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTime)
		var clicks, checkouts []*kgo.Record
		for range each {
			name, user := fmt.Sprintf("%d-%d", w.opts.seed, n), 1+random.IntN(users-1)
			n++
			partition := heldPartitions + random.Int32N(clicksPartitions-heldPartitions)
			clicks = append(clicks, event(clicksTopic, partition, w.eventNow(), "click-"+name, user, "product-"+name))
			checkouts = append(checkouts, event(checkoutsTopic, random.Int32N(checkoutsPartitions), w.eventNow(),
				sentinelPrefix+name, user, "product-"+name))
		}
		err := cl.ProduceSync(sending, clicks...).FirstErr()
		if err == nil {
			err = cl.ProduceSync(sending, checkouts...).FirstErr()
		}
		cancel()
		if err != nil {
			return n, fmt.Errorf("send sentinels: %w", err)
		}
	}
	return n, nil
}

// sendTransactions sends pairs in transactions, one after the other, each open for a while; a
// quarter is aborted. Their clicks go to the held partitions only. It gives how many checkouts were
// committed.
func (w *world) sendTransactions(ctx context.Context, f *fed, name string, open time.Duration) (sent int64, err error) {
	var cl *kgo.Client
	defer func() {
		if cl != nil {
			cl.Close()
		}
	}()
	random := rand.New(rand.NewPCG(w.opts.seed, uint64(20+len(name))))
	rest := 150*ms + open/4
	if w.opts.rate > maxRate {
		rest += 4 * open // while one is open checkouts wait, for 15 s: that must not be most of the time
	}
	for n := 0; testbed.Pause(ctx, rest); n++ {
		if cl == nil {
			cl, err = w.producer(kgo.TransactionalID("chaos-"+name), kgo.TransactionTimeout(transactionTime))
			if err != nil {
				return sent, err
			}
		}
		end := kgo.TransactionEndTry(random.IntN(4) > 0)
		const each = 4
		var records []*kgo.Record
		for i := range each {
			name, user := fmt.Sprintf("%s-%d-%d-%d", name, w.opts.seed, n, i), 1+random.IntN(users-1)
			now := w.eventNow()
			records = append(records,
				event(clicksTopic, random.Int32N(heldPartitions), now, "click-"+name, user, "product-"+name),
				event(checkoutsTopic, random.Int32N(checkoutsPartitions), now, "checkout-"+name, user, "product-"+name))
		}
		if err := transact(ctx, cl, records, open, end); err != nil {
			// The producer may be fenced by its own epoch, or the transaction aborted by time: how
			// it ended is not known. Begin again.
			w.log.Warn("transaction in doubt", "name", name, "cause", err)
			w.mu.Lock() // two producers may do so at once
			f.unsure++
			w.mu.Unlock()
			cl.Close()
			cl = nil
			continue
		}
		if end == kgo.TryCommit {
			sent += each
		}
	}
	return sent, nil
}

func transact(ctx context.Context, cl *kgo.Client, records []*kgo.Record, open time.Duration,
	end kgo.TransactionEndTry) error {
	sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTime)
	defer cancel()
	if err := cl.BeginTransaction(); err != nil {
		return err
	}
	err := cl.ProduceSync(sending, records...).FirstErr()
	if err != nil {
		return errors.Join(err, cl.EndTransaction(sending, kgo.TryAbort))
	}
	testbed.Pause(ctx, open)
	return cl.EndTransaction(sending, end)
}

// changeUsers deletes users, renames them and brings them back. At the end all are there.
func (w *world) changeUsers(ctx context.Context) error {
	random := rand.New(rand.NewPCG(w.opts.seed, 12))
	for n := 0; testbed.Pause(ctx, 200*ms); n++ {
		id := 1 + random.IntN(users-1)
		statement := `DELETE FROM commerce.users WHERE id = $1 AND $2 <> ''`
		if random.IntN(3) > 0 {
			statement = `INSERT INTO commerce.users (id, username, password) VALUES ($1, $2, 'secret') ON CONFLICT ` +
				`(id) DO UPDATE SET username = excluded.username`
		}
		w.tryUsers(ctx, statement, id, fmt.Sprintf("user %d, the %dth", id, n))
	}
	for testbed.Pause(context.WithoutCancel(ctx), 200*ms) {
		if w.tryUsers(context.WithoutCancel(ctx), `INSERT INTO commerce.users (id, username, password)
			SELECT id, 'back ' || id, 'secret' FROM generate_series(0, $1::int - 1) id WHERE $2 <> '' ON CONFLICT DO
				NOTHING`, users, "all") {
			break
		}
	}
	return nil
}

// tryUsers says whether it succeeded: the server may be down just now.
func (w *world) tryUsers(ctx context.Context, statement string, args ...any) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*second)
	defer cancel()
	if err := w.db.With(ctx, func(conn *pgx.Conn) error {
		_,
			err := conn.Exec(ctx, statement, args...)
		return err
	}); err != nil {
		w.log.Debug("users stay as they are", "cause", err)
		return false
	}
	return true
}
