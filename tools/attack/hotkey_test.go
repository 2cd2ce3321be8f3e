//go:build attack

package attack

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"firstclick/internal/kafkatest"
)

// A million clicks of one user on one product, in live traffic, some of them late: the memory that
// they take is bounded, and a checkout of that key is joined with the first of them.
func TestMillionClicksOfOneKey(t *testing.T) {
	s := begin(t, props{})
	const clicks, atOnce = 1_000_000, 100_000
	from := time.Now().Add(-10 * time.Minute)
	for first := 0; first < clicks; first += atOnce {
		events := make([]event, atOnce)
		for i := range events {
			n := (first + i) * 7 % clicks // not in order
			events[i] = event{
				"click_id": fmt.Sprintf("%08x-0000-4000-8000-000000000000", n), "user_id": 3, "product_id": "million",
				"datetime_occured": stamp(from.Add(time.Duration(n) * 500 * time.Microsecond)),
			}
		}
		s.produce("clicks", events...)
		s.writes()
	}
	s.produce("checkouts", event{"checkout_id": "million", "user_id": 3, "product_id": "million", "total_amount": 1,
		"datetime_occured": stamp(time.Now())})
	s.await("its checkout is a row", func() bool {
		return s.count(`SELECT count(*) FROM commerce.attributed_checkouts WHERE checkout_id = 'million'`) == 1
	})
	if s.count(`SELECT count(*) FROM commerce.attributed_checkouts WHERE checkout_id = 'million' AND click_id = `+
		`'00000000-0000-4000-8000-000000000000'`) != 1 {
		t.Error("joined with another click than the first")
	}
	s.end()
}

// Clicks of one key, the newest first, after many checkouts of it: each click is better than the
// one before, for all of the checkouts.
func TestClicksNewestFirst(t *testing.T) {
	s := begin(t, props{})
	const checkouts, clicks = 20_000, 500
	at := time.Now().Add(-time.Minute)
	bought := make([]event, checkouts)
	for n := range bought {
		bought[n] = event{"checkout_id": fmt.Sprint("newest-", n), "user_id": 3, "product_id": "newest",
			"total_amount": 1, "datetime_occured": stamp(at)}
	}
	s.produce("checkouts", bought...)
	rows := func(where string) func() bool {
		return func() bool {
			return s.count(`SELECT count(*) FROM commerce.attributed_checkouts WHERE checkout_id LIKE 'newest-%' AND `+
				``+where) == checkouts
		}
	}
	s.await("the checkouts are rows", rows(`true`))
	events := make([]event, clicks)
	for n := range events {
		events[n] = event{"click_id": fmt.Sprint("newest-", n), "user_id": 3, "product_id": "newest",
			"datetime_occured": stamp(at.Add(-time.Duration(n) * time.Second))}
	}
	s.produce("clicks", events...)
	s.writes()
	s.await("they have the earliest click", rows(fmt.Sprintf(`click_id = 'newest-%d'`, clicks-1)))
	s.end()
}

// Topics of 10,000 partitions.
func TestManyPartitions(t *testing.T) {
	s := begin(t, props{brokers: kafkatest.FakeCluster(t, kfake.SeedTopics(10_000, "clicks"),
		kfake.SeedTopics(4, "checkouts")).ListenAddrs()})
	s.pause(5 * time.Second)
	if answer := s.get("/metrics", "", nil); answer.StatusCode != http.StatusOK {
		t.Error(answer.Status)
	}
	s.get("/api/events", "", nil)
	s.end()
}
