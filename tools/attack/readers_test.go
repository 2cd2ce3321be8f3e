//go:build attack

package attack

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const mostOfAnEvent = 64 << 10

// Sixteen checkouts with texts as long as a record may be, and the page is open: once with a
// reader, and with four that do not read.
func TestLongTextsOnThePage(t *testing.T) {
	s := begin(t, props{})
	long := strings.Repeat("a", 990_000)
	for i := range 16 {
		s.produce("checkouts", event{"checkout_id": fmt.Sprintf("long-%d", i), "user_id": i, "product_id": "p",
			"payment_method": long, "total_amount": 1, "datetime_occured": stamp(time.Now())})
	}
	s.await("the rows are there", func() bool {
		return s.count(`SELECT count(*) FROM commerce.attributed_checkouts WHERE checkout_id LIKE 'long-%'`) == 16
	})
	for range 4 {
		s.get("/api/events", "", nil) // and never reads
	}
	reader := s.get("/api/events", "", nil)
	var rows, largest, size atomic.Int64
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewReaderSize(reader.Body, 1<<20)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			if line == "event: rows\n" {
				rows.Add(1)
			}
			size.Add(int64(len(line)))
			largest.Store(max(largest.Load(), int64(len(line))))
		}
	}()
	s.pause(12 * time.Second)
	_ = reader.Body.Close()
	<-read
	t.Logf("%d events with rows, the largest event %d bytes, %d bytes in all", rows.Load(), largest.Load(), size.Load())
	if rows.Load() == 0 || largest.Load() > mostOfAnEvent {
		t.Errorf("%d events with rows, the largest event has %d bytes", rows.Load(), largest.Load())
	}
	if rows.Load() > 4 {
		t.Errorf("rows that had not changed were told %d times in 12 s", rows.Load())
	}
	s.end()
}

// Sixty-four pages that do not read keep nobody from looking.
func TestDeadReaders(t *testing.T) {
	s := begin(t, props{})
	for range 64 {
		if answer := s.get("/api/events", "", nil); answer.StatusCode != http.StatusOK {
			t.Fatalf("one of 64: %s", answer.Status)
		}
	}
	next := s.get("/api/events", "", nil)
	first := make([]byte, 512)
	n, err := io.ReadFull(next.Body, first)
	if next.StatusCode != http.StatusOK || err != nil || !strings.Contains(string(first[:n]), "event: hello") {
		t.Errorf("the 65th: %s %q, %v", next.Status, first[:n], err)
	}
	s.end()
}
