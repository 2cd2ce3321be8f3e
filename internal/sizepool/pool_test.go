package sizepool

import "testing"

func TestUnusedValuesAreDropped(t *testing.T) {
	var p Pool[*int]
	small, large := Round(10), Round(1000)
	for range 5 {
		p.Put(small, new(int))
		p.Put(large, new(int))
	}
	for range 3 * trimEvery {
		one, ok := p.Get(small)
		other, more := p.Get(small)
		if !ok || !more || one == other {
			t.Fatal("a value that was put is not given out")
		}
		p.Put(small, one)
		p.Put(small, other)
	}
	if n := len(p.values[class(small)]); n != 2 {
		t.Errorf("%d of the small ones are kept, want the two that are used", n)
	}
	if n := len(p.values[class(large)]); n != 0 {
		t.Errorf("%d of the large ones are kept, which nobody took", n)
	}
	if _, ok := p.Get(large); ok {
		t.Error("a value that nobody put was given out")
	}
	if p.kept != 2*small {
		t.Errorf("%d are counted, %d are kept", p.kept, 2*small)
	}
}

func TestLimit(t *testing.T) {
	p := Pool[*int]{Limit: 3 * Round(100)}
	for range 5 {
		p.Put(Round(100), new(int))
	}
	if n := len(p.values[class(Round(100))]); n != 3 || p.kept != p.Limit {
		t.Errorf("%d are kept, counted as %d; want three", n, p.kept)
	}
}

func TestSizesOfClasses(t *testing.T) {
	for n := 4; n < 1<<20; n += 1 + n/7 {
		if size := sizeOf(class(n)); size > n || Round(size) != size || class(size) != class(n) {
			t.Fatalf("class %d of %d begins at %d", class(n), n, size)
		}
	}
}
