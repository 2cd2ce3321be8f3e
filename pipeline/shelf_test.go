package pipeline

import "testing"

// What is asked for again and again stays, whatever was collected meanwhile; what nobody asks for goes.
func TestShelfTidiesUp(t *testing.T) {
	var s shelf[*int]
	small, large := roomy(10), roomy(1000)
	for range 5 {
		s.give(small, new(int))
		s.give(large, new(int))
	}
	for range 3 * lookEvery {
		one, ok := s.take(small)
		other, more := s.take(small)
		if !ok || !more || one == other {
			t.Fatal("what lay there is not lent")
		}
		s.give(small, one)
		s.give(small, other)
	}
	if n := len(s.lying[class(small)]); n != 2 {
		t.Errorf("%d of the small ones are kept, want the two that are used", n)
	}
	if n := len(s.lying[class(large)]); n != 0 {
		t.Errorf("%d of the large ones are kept, which nobody asked for", n)
	}
	if _, ok := s.take(large); ok {
		t.Error("something of nobody was lent")
	}
	if s.kept != 2*small {
		t.Errorf("%d are counted, %d lie there", s.kept, 2*small)
	}
}

// No more is kept than may be.
func TestShelfIsBounded(t *testing.T) {
	s := shelf[*int]{most: 3 * roomy(100)}
	for range 5 {
		s.give(roomy(100), new(int))
	}
	if n := len(s.lying[class(roomy(100))]); n != 3 || s.kept != s.most {
		t.Errorf("%d are kept, counted as %d; want three", n, s.kept)
	}
}

func TestSizesOfClasses(t *testing.T) {
	for n := 4; n < 1<<20; n += 1 + n/7 {
		if size := sizeOf(class(n)); size > n || roomy(size) != size || class(size) != class(n) {
			t.Fatalf("class %d of %d begins at %d", class(n), n, size)
		}
	}
}
