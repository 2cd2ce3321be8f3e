//go:build attack

package attack

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A checkout that was sent 300 times, with a text as long as a record may be, is explained on the
// page.
func TestExplainOfLargeRecords(t *testing.T) {
	s := begin(t, props{})
	long := strings.Repeat("a", 950_000)
	now := time.Now()
	for i := range 300 {
		s.produce("checkouts", event{
			"checkout_id": "large", "user_id": 1, "product_id": "p", "total_amount": 1, "user_agent": fmt.Sprint(i) +
				long, "shipping_address": "somewhere",
			"datetime_occured": stamp(now.Add(-time.Second)),
		})
	}
	s.writes()
	t.Logf("with 300 records read: peak of resident memory %d MiB", s.peak()>>20)
	for range 2 {
		answer := s.get("/api/explain?id=large", "", map[string]string{"Sec-Fetch-Site": "same-origin"})
		text, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("%s %.300s, %v", answer.Status, text, err)
		}
		t.Logf("explained in %d bytes", len(text))
		if len(text) > 4<<20 {
			t.Errorf("the explanation has %d bytes", len(text))
		}
	}
	s.end()
}
