package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"firstclick/join/decode"
	"firstclick/join/event"
	"firstclick/tools/testbed"
)

// read measures reading both topics, and calling each.
func (p *place) read(ctx context.Context, each func(kgo.FetchTopicPartition) error) (Figures, error) {
	runtime.GC()
	cpu, began := ownCPU(), time.Now()
	records, err := testbed.Read(ctx, p.kafka.Addr, p.ends, each)
	figures := Figures{Wall: time.Since(began).Seconds(), CPU: ownCPU() - cpu}
	if err == nil && records != p.expected.Records {
		err = fmt.Errorf("read %d records of %d", records, p.expected.Records)
	}
	return figures, err
}

// decode measures reading with every record decoded, on as many goroutines as there are cores, as
// the pipeline does it.
func (p *place) decode(ctx context.Context) (Figures, error) {
	work := make(chan []*kgo.Record, 64)
	errs := make(chan error, runtime.GOMAXPROCS(0))
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			errs <- decodeAll(work, p.topics.clicks)
			for range work {
				continue // what is left after an error
			}
		})
	}
	figures, err := p.read(ctx, func(part kgo.FetchTopicPartition) error {
		work <- part.Records
		return nil
	})
	began, cpu := time.Now(), ownCPU()
	close(work)
	workers.Wait()
	figures.Wall += time.Since(began).Seconds()
	figures.CPU += ownCPU() - cpu
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	return figures, err
}

func decodeAll(work <-chan []*kgo.Record, clicks string) error {
	decoder, slab := decode.New(time.UTC), []byte(nil)
	for records := range work {
		for _, r := range records {
			var err error
			if r.Topic == clicks {
				var click decode.Click
				err = decoder.Click(r.Value, &click)
			} else {
				var checkout event.Checkout
				slab, err = decoder.Checkout(r.Value, &checkout, slab[:0])
			}
			if err != nil {
				return fmt.Errorf("decode %s/%d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
			}
		}
	}
	return nil
}

// copyRows measures a binary COPY of the finished rows in the files into the emptied table, with a
// connection and a transaction for each file.
func (p *place) copyRows(ctx context.Context, paths ...string) (Figures, error) {
	if err := p.empty(ctx); err != nil {
		return Figures{}, err
	}
	before := testbed.FamilyCPU(p.postgres.PID())
	query := fmt.Sprintf(`COPY commerce.attributed_checkouts (%s) FROM STDIN (FORMAT binary)`, columns)
	var copies []func() error
	for _, path := range paths {
		conn, err := p.Connect(ctx)
		if err != nil {
			return Figures{}, err
		}
		defer conn.Close(ctx) //nolint:gocritic // one or two, until all are copied
		file, err := os.Open(path)
		if err != nil {
			return Figures{}, fmt.Errorf("open the file of rows: %w", err)
		}
		defer file.Close() //nolint:gocritic // likewise
		copies = append(copies, func() error { _, err := conn.PgConn().CopyFrom(ctx, file, query); return err })
	}
	var g errgroup.Group
	began := time.Now()
	for _, do := range copies {
		g.Go(do)
	}
	if err := g.Wait(); err != nil {
		return Figures{}, fmt.Errorf("copy the finished rows: %w", err)
	}
	figures := Figures{Wall: time.Since(began).Seconds(), Postgres: testbed.FamilyCPU(p.postgres.PID()) - before}
	return figures, p.check(ctx)
}

// ownCPU is the processor time of this process so far, in seconds.
func ownCPU() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return cpuOf(&usage)
}

func cpuOf(usage *syscall.Rusage) float64 {
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}
