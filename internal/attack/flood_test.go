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

// Somebody with the right to produce sends what is no event, as fast as it goes. Good rows come on time, every letter has place, size and hash, and
// of payloads no more is kept than allowed.
func TestPoisonFlood(t *testing.T) {
	const (
		rate  = 16_000 // records a second
		lasts = 15 * time.Second
		keep  = 16 << 20 // bytes of payload, of a reason in an hour
	)
	s := begin(t, props{args: []string{"--dead-letter-payloads", "16MiB"}})
	client, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	flooding, enough := context.WithTimeout(t.Context(), lasts)
	var flood sync.WaitGroup
	defer func() {
		enough()
		flood.Wait()
	}()
	sent := 0
	flood.Go(func() {
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for began := time.Now(); ; {
			for ; sent < int(time.Since(began).Seconds()*rate); sent++ {
				topic := []string{"clicks", "checkouts"}[sent%2]
				client.Produce(t.Context(), &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "poison %d %s", sent, strings.Repeat("x", 300))}, nil)
			}
			select {
			case <-ticker.C:
			case <-flooding.Done():
				return
			}
		}
	})
	var late []time.Duration
	for flooding.Err() == nil {
		began := time.Now()
		s.writes()
		late = append(late, time.Since(began))
	}
	flood.Wait()
	if err := client.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.await("every poisoned record is a dead letter", func() bool { return s.count(`SELECT count(*) FROM firstclick.dead_letters`) == int64(sent) })
	after := time.Since(began)
	slices.Sort(late)
	half, latest := late[len(late)/2], late[len(late)-1]
	t.Logf("%d letters, the last %v after the flood; %d good rows meanwhile, half of them within %v, the latest %v; %d bytes of table a letter",
		sent, after.Round(time.Millisecond), len(late), half.Round(time.Millisecond), latest.Round(time.Millisecond),
		s.count(`SELECT pg_total_relation_size('firstclick.dead_letters')`)/int64(sent))
	if kept := s.count(`SELECT coalesce(sum(octet_length(payload)), 0) FROM firstclick.dead_letters`); kept == 0 || kept > 2*keep { // the hour may turn
		t.Errorf("%d bytes of payloads are kept, with a limit of %d", kept, keep)
	}
	if n := s.count(`SELECT count(*) FROM firstclick.dead_letters WHERE payload_sha256 IS NULL OR payload_size = 0`); n > 0 {
		t.Errorf("of %d letters neither size nor hash is known", n)
	}
	if half > time.Second {
		t.Errorf("half of the good rows came more than %v late", half)
	}
	s.end()
}
