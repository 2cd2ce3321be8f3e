//go:build attack

package attack

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Somebody with the right to produce sends what is no event, as fast as it goes. Good rows come on
// time, every letter has place, size and hash, and of payloads no more is kept than allowed.
func TestPoisonFlood(t *testing.T) {
	const (
		keep  = 16 << 20               // bytes of payload, of a reason in an hour
		tries = 3                      // the machine may become busy in between
		quiet = 150 * time.Millisecond // 90 ms were measured
	)
	s := begin(t, props{args: []string{"--dead-letter-payloads", "16MiB"}})
	client, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
		kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	sent := 0
	for try := 1; ; try++ {
		before := s.lateness(3*time.Second, nil)
		late := s.lateness(15*time.Second, func(ctx context.Context) { sent += flood(ctx, client) })
		if err := client.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		s.await("every poisoned record is a dead letter",
			func() bool { return s.count(`SELECT count(*) FROM firstclick.dead_letters`) == int64(sent) })
		t.Logf("%d letters, the last %v after the flood; %d bytes of table a letter; good rows: before the flood %s, "+
			"meanwhile %s", sent,
			time.Since(began).Round(time.Millisecond), s.count(`SELECT `+
				`pg_total_relation_size('firstclick.dead_letters')`)/int64(sent), before, late)
		// The same rows without a flood say whether the machine is busy with other things: then
		// rows are late by what these take, too.
		allowed := time.Second
		if busy := before.within(1); busy > quiet {
			allowed = 50 * busy
		}
		if late.within(1) <= allowed {
			break
		}
		if try == tries {
			t.Errorf("in %d floods a good row came %v late; allowed are %v", tries, late.within(1), allowed)
			break
		}
	}
	// the hour may turn
	if kept := s.count(`SELECT coalesce(sum(octet_length(payload)), 0) FROM firstclick.dead_letters`); kept == 0 ||
		kept > 2*keep {
		t.Errorf("%d bytes of payloads are kept, with a limit of %d", kept, keep)
	}
	if n := s.count(`SELECT count(*) FROM firstclick.dead_letters WHERE payload_sha256 IS NULL OR payload_size = ` +
		`0`); n > 0 {
		t.Errorf("of %d letters neither size nor hash is known", n)
	}
	s.end()
}

// flood sends 16,000 records a second until ctx ends, and says how many.
func flood(ctx context.Context, client *kgo.Client) (sent int) {
	const rate = 16_000
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for began := time.Now(); ; {
		for ; sent < int(time.Since(began).Seconds()*rate); sent++ {
			topic := []string{"clicks", "checkouts"}[sent%2]
			client.Produce(context.WithoutCancel(ctx), &kgo.Record{Topic: topic,
				Value: fmt.Appendf(nil, "poison %d %s", sent, strings.Repeat("x", 300))}, nil)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return sent
		}
	}
}

// delays are those of rows from being sent to being seen, the shortest first.
type delays []time.Duration

func (d delays) within(share float64) time.Duration {
	return d[int(share*float64(len(d)-1))].Round(time.Millisecond)
}

func (d delays) String() string {
	return fmt.Sprintf("%d, half of them within %v, 99 %% within %v, the latest %v", len(d), d.within(0.5),
		d.within(0.99), d.within(1))
}

// lateness writes rows, one after the other, for so long, while something else happens; nil:
// nothing does.
func (s *scene) lateness(lasts time.Duration, meanwhile func(context.Context)) (late delays) {
	s.t.Helper()
	ctx, enough := context.WithTimeout(s.t.Context(), lasts)
	var other sync.WaitGroup
	defer func() {
		enough()
		other.Wait()
		slices.Sort(late)
	}()
	if meanwhile != nil {
		other.Go(func() { meanwhile(ctx) })
	}
	for ctx.Err() == nil {
		began := time.Now()
		s.writes()
		late = append(late, time.Since(began))
	}
	return late
}
