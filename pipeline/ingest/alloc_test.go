package ingest

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/join/decode"
	"firstclick/join/event"
	"firstclick/pipeline/chunk"
)

// A checkout may cost two allocations from Kafka to its row, not counting what all checkouts of a
// fetch share. This test measures decoding. The sink's own test measures the rest.
func TestCheckoutAllocates(t *testing.T) {
	const n = 1000
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Offset: int64(i), Timestamp: time.UnixMilli(1_795_100_000_000), Value: fmt.Appendf(nil,
			`{"checkout_id": "3218ef9f-0bb1-4069-acd3-%012x", "user_id": 4, `+
				`"product_id": "34bce580-de0a-4348-8a6d-660745e66b89", `+
				`"payment_method": "JCB 16 digit", "total_amount": 896.92, `+
				`"shipping_address": "a\nb", "billing_address": "c\nd", `+
				`"user_agent": "Mozilla", "ip_address": "1.2.3.4", "datetime_occured": "2026-11-18 13:06:50.813"}`, i)}
	}
	r := &checkoutsReader{chunks: chunk.NewPool(0), hasher: event.NewHasher(1), decoder: decode.New(time.UTC)}
	per := testing.AllocsPerRun(20, func() {
		r.read(0, records, 1)
		if r.out.Checkouts[n-1].Skip {
			t.Fatal("not decoded")
		}
		r.chunks.Put(r.out)
	}) / n
	t.Logf("%.3f allocations a checkout", per)
	if per > 1 {
		t.Errorf("%.2f allocations a checkout are made by reading it", per)
	}
}
