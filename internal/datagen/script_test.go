package datagen

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"
)

// fact is what a test reads of an event.
type fact struct {
	ClickID    string      `json:"click_id"`
	CheckoutID string      `json:"checkout_id"`
	User       int64       `json:"user_id"`
	Product    string      `json:"product_id"`
	Amount     json.Number `json:"total_amount"`
	Occured    string      `json:"datetime_occured"`
}

func (f fact) micros(t testing.TB) int64 {
	t.Helper()
	at, err := time.Parse("2006-01-02 15:04:05.000", f.Occured)
	if err != nil {
		t.Fatal(err)
	}
	return at.UnixMicro()
}

func factOf(t testing.TB, value []byte) fact {
	t.Helper()
	var f fact
	if err := json.Unmarshal(value, &f); err != nil {
		t.Fatalf("%s: %v", value, err)
	}
	return f
}

func TestSameSeedSameRecords(t *testing.T) {
	all := Config{
		Seed: 7, UnknownUser: 0.05, HotKey: 0.05, Future: 0.05, OutOfOrder: 0.05, Late: 0.05, Duplicate: 0.05,
		Conflict: 0.05, Poison: 0.05,
		TooLarge: 0.001,
	}
	a, b := made(all, 5_000), made(all, 5_000)
	if !bytes.Equal(a.arena, b.arena) || !slices.Equal(a.records, b.records) {
		t.Error("the same seed gives other records")
	}
	all.Seed++
	if c := made(all, 5_000); bytes.Equal(a.arena, c.arena) {
		t.Error("another seed gives the same records")
	}
}

// The values of a seed are the same in every release: tests depend on them.
func TestFirstEventsOfASeed(t *testing.T) {
	b := made(Config{Seed: 1}, 3)
	for i, want := range []string{
		`{"click_id": "e9ba58c4-3547-4cdc-890f-4dcaf8a509c5", "user_id": 100, ` +
			`"product_id": "1a3d1e60-1c11-4a0b-9d1a-8567d1b67dac", ` +
			`"product": "woman", "price": 81.24, "url": "https://www.peterson.com/wp-content/tag/searchlogin.html", ` +
			`"user_agent": "Mozilla/5.0 (X11; Linux i686) AppleWebKit/5351 (KHTML, like Gecko) ` +
			`Chrome/40.0.887.0 Mobile Safari/5351", ` +
			`"ip_address": "18.155.27.135", "datetime_occured": "2026-11-23 00:46:50.811"}`,
		`{"click_id": "8d72c79c-55b2-4673-8bed-81895646bf1c", "user_id": 100, ` +
			`"product_id": "1a3d1e60-1c11-4a0b-9d1a-8567d1b67dac", ` +
			`"product": "time", "price": 98.55, "url": "http://holt-navarro.net/mainhomepage.jsp", ` +
			`"user_agent": "Opera/9.92.(Macintosh; U; Intel Mac OS X 10_10_8; ko-KR) Presto/2.9.183 Version/10.00", ` +
			`"ip_address": "5.219.212.224", "datetime_occured": "2026-11-23 00:46:50.812"}`,
		`{"checkout_id": "59a28c48-7ce4-448f-af36-7192eefea57e", "user_id": 100, ` +
			`"product_id": "1a3d1e60-1c11-4a0b-9d1a-8567d1b67dac", ` +
			`"payment_method": "JCB 16 digit", "total_amount": 7.15, ` +
			`"shipping_address": "14924 Damion View Apt. 618\nPittsburgh, IN 30913", ` +
			`"billing_address": "8760 Maci Furt\nAnaheim, MA 66476", ` +
			`"user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 9_0_3 like Mac OS X; en-US) ` +
			`AppleWebKit/532.2.7 (KHTML, like Gecko) Version/3.0.5 Mobile/8B117 Safari/6532.2.7", ` +
			`"ip_address": "52.152.170.246", ` +
			`"datetime_occured": "2026-11-23 00:46:50.813"}`,
	} {
		if got := string(b.value(&b.records[i])); got != want {
			t.Errorf("event %d\ngot  %s\nwant %s", i, got, want)
		}
	}
}

// Faults that do not change an event's content leave the other events alone.
func TestKnobsLeaveEventsAlone(t *testing.T) {
	plain := events(made(Config{Seed: 9}, 4_000))
	spoilt := events(
		made(Config{Seed: 9, OutOfOrder: 0.1, Late: 0.1, Duplicate: 0.2, Conflict: 0.2, Poison: 0.3}, 4_000),
	)
	slices.Sort(plain)
	slices.Sort(spoilt)
	if !slices.Equal(plain, spoilt) {
		t.Error("the events differ")
	}
}

func events(b *batch) []string {
	var all []string
	for i := range b.records {
		if r := &b.records[i]; r.mark.role == roleEvent {
			all = append(all, string(b.value(r)))
		}
	}
	return all
}

func TestSessionsAreTheOriginals(t *testing.T) {
	const n, users = 300_000, 50
	b := made(Config{Seed: 11, Users: users}, n)
	type session struct {
		user              int64
		clicks, checkouts int
		last              int
	}
	sessions := map[string]*session{}
	byUser := map[int64]int{}
	var count [topics]int
	for i := range b.records {
		r := &b.records[i]
		f := factOf(t, b.value(r))
		s := sessions[f.Product]
		if s == nil {
			if r.topic != clicks {
				t.Fatal("a session begins with a checkout")
			}
			s = &session{user: f.User, last: i - 1}
			sessions[f.Product] = s
			byUser[f.User]++
		}
		if s.user != f.User || s.last != i-1 {
			t.Fatal("a session has two users, or is not in one piece")
		}
		s.last = i
		count[r.topic]++
		if r.topic == clicks {
			s.clicks++
		} else if s.checkouts++; s.clicks != s.checkouts+1 {
			t.Fatalf("checkout %d follows click %d", s.checkouts, s.clicks)
		}
	}
	// In the sample: 1,060 checkouts after 2,060 clicks in 1,000 sessions, 484 of them a single
	// click; in the million: 509,924.
	ratio := float64(count[checkouts]) / float64(count[clicks])
	if math.Abs(ratio-0.51) > 0.005 {
		t.Errorf("%.4f checkouts a click, want 0.51", ratio)
	}
	single := 0
	for _, s := range sessions {
		if s.clicks == 1 {
			single++
		}
	}
	if share := float64(single) / float64(len(sessions)); math.Abs(share-0.49) > 0.01 {
		t.Errorf("%.3f of the sessions are one click, want 0.49", share)
	}
	if len(byUser) != users || byUser[0] != 0 || byUser[users] == 0 {
		t.Errorf(
			"%d users, %d sessions of user 0, %d of user %d: want 1..%d each",
			len(byUser),
			byUser[0],
			byUser[users],
			users,
			users,
		)
	}
	for u, k := range byUser {
		if mean := float64(len(sessions)) / users; math.Abs(float64(k)-mean) > 6*math.Sqrt(mean) {
			t.Errorf("user %d has %d sessions, the mean is %.0f", u, k, mean)
		}
	}
}

func TestPartitionsTakeTurns(t *testing.T) {
	b := made(Config{Seed: 2, Poison: 0.1}, 10_000)
	last := [topics]int32{-1, -1}
	of := [topics]int32{4, 3}
	for i := range b.records {
		r := &b.records[i]
		if last[r.topic] >= 0 && r.partition != (last[r.topic]+1)%of[r.topic] {
			t.Fatalf("partition %d after %d of %d", r.partition, last[r.topic], of[r.topic])
		}
		last[r.topic] = r.partition
	}
}

// The counts are those of the records themselves.
func TestCountsAreWhatIsSent(t *testing.T) {
	cfg, err := Config{
		Seed: 13, Users: 40, UnknownUser: 0.1, HotKey: 0.1, Future: 0.06, OutOfOrder: 0.1, Late: 0.1, Duplicate: 0.1,
		Conflict: 0.1, Poison: 0.1,
	}.checked()
	if err != nil {
		t.Fatal(err)
	}
	const n = 40_000
	b := made(cfg, n)
	tally := newTally(cfg)
	tally.add(b)
	var want Summary
	want.Poison, want.DeadLetters = tally.sum.Poison, tally.sum.DeadLetters // see the tests of poison
	seen := map[string]string{}
	poison := int64(0)
	hot := map[string]int64{}
	for i := range b.records {
		r := &b.records[i]
		want.Records++
		if r.mark.role == rolePoison {
			poison++
			continue
		}
		value := b.value(r)
		f := factOf(t, value)
		id := f.ClickID + f.CheckoutID
		if before, ok := seen[id]; ok {
			switch {
			case before == string(value):
				pick(r.topic, &want.DuplicateClicks, &want.DuplicateCheckouts)
			case r.topic == checkouts && factOf(t, []byte(before)).Amount != f.Amount:
				want.Conflicts++
			default:
				t.Fatalf("%s again: %s, before %s", id, value, before)
			}
			continue
		}
		seen[id] = string(value)
		count(t, &want, r, f, int64(cfg.Users), hot)
	}
	want.HotKey = slices.Max(slices.Collect(maps.Values(hot)))
	want.First, want.Last = tally.sum.First, tally.sum.Last
	if got, want := fmt.Sprintf("%+v", tally.sum), fmt.Sprintf("%+v", want); got != want {
		t.Errorf("\ngot  %s\nwant %s", got, want)
	}
	if want.Clicks+want.Checkouts != n || mapSum(tally.sum.Poison) != poison {
		t.Errorf(
			"%d events and %d poison, want %d and %d",
			want.Clicks+want.Checkouts,
			mapSum(tally.sum.Poison),
			n,
			poison,
		)
	}
	checkShares(t, tally.sum, n)
	refused := tally.sum.FutureRefusedClicks + tally.sum.FutureRefusedCheckouts
	if got := tally.sum.Dead(); got != poison+refused+want.Conflicts {
		t.Errorf("%d dead letters, want %d poison, %d refused and %d conflicts", got, poison, refused, want.Conflicts)
	}
}

func pick(t topic, click, checkout *int64) {
	addIf(t == clicks, click)
	addIf(t == checkouts, checkout)
}

// count counts a distinct event by its own members, as tally does by marks.
func count(t *testing.T, s *Summary, r *record, f fact, users int64, hot map[string]int64) {
	late := r.clock - f.micros(t)
	refused := late < -5*minute
	pick(r.topic, &s.Clicks, &s.Checkouts)
	hot[f.Product]++
	switch {
	case late == 0:
	case late < 0 && !refused:
		s.Future++
	case refused:
		pick(r.topic, &s.FutureRefusedClicks, &s.FutureRefusedCheckouts)
	case late <= 10*second+1000:
		s.OutOfOrder++
	case r.topic == clicks && late >= 20*second && late <= 20*minute+1000:
		s.Late++
	default:
		t.Fatalf("an event is %d µs late", late)
	}
	if f.User >= users {
		s.UnknownUserEvents++
		if r.topic == checkouts && !refused {
			s.UnknownUserCheckouts++
		}
	}
}

func checkShares(t *testing.T, s Summary, n float64) {
	t.Helper()
	for _, c := range []struct {
		what      string
		got, want float64
	}{
		{"out of order", float64(s.OutOfOrder) / n, 0.1},
		{"late", float64(s.Late) / float64(s.Clicks), 0.1},
		{"future", float64(s.Future) / n, 0.04},
		{"future, refused", float64(s.FutureRefusedClicks+s.FutureRefusedCheckouts) / n, 0.02},
		{"duplicates", float64(s.DuplicateClicks+s.DuplicateCheckouts) / n, 0.095},
		{"conflicts", float64(s.Conflicts) / float64(s.Checkouts), 0.1},
		{"poison", float64(mapSum(s.Poison)) / n, 0.1},
		{"hot", float64(s.HotKey) / n, 0.1},
		{"unknown", float64(s.UnknownUserEvents) / n, 0.9*0.1 + 0.9*0.9/40},
	} {
		if math.Abs(c.got-c.want) > 0.012 {
			t.Errorf("share of %s is %.4f, want %.4f", c.what, c.got, c.want)
		}
	}
}

func mapSum[K comparable](m map[K]int64) (n int64) {
	for v := range maps.Values(m) {
		n += v
	}
	return n
}
