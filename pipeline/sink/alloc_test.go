package sink

import (
	"errors"
	"io"
	"testing"
)

// The sink's part of what a checkout may allocate: rows are put in order and encoded for COPY.
func TestRowsAllocateLittle(t *testing.T) {
	const n = 10_000
	batches := []*Batch{{Claim: &Claim{}, Rows: randomRows(1, n)}}
	names := benchNames().known
	buf := make([]byte, 65531)
	per := testing.AllocsPerRun(5, func() {
		w, err := newCommitSet(batches)
		if err != nil {
			t.Fatal(err)
		}
		for r := (&rowReader{rows: w.rows, fields: w.fields, names: names}); !errors.Is(err, io.EOF); {
			if _, err = r.Read(buf); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
		}
	}) / n
	t.Logf("%.4f allocations a row", per)
	if per > 1 {
		t.Errorf("%.2f allocations a row", per)
	}
}
