package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// The range that ports are chosen from.
const (
	first = 10_000
	last  = 32_767
)

// attempts is how many taken ports end the search.
const attempts = 1000

// Free finds n different ports of 127.0.0.1 on which nobody listens.
func Free(n int) (found []int, err error) {
	var open []net.Listener
	defer func() { // closed only at the end: else a port could be found twice
		for _, l := range open {
			err = errors.Join(err, l.Close())
		}
	}()
	var taken error
	for range n + attempts {
		if len(found) == n {
			return found, nil
		}
		port := first + rand.IntN(last-first+1)
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			taken = err
			continue
		}
		open, found = append(open, listener), append(found, port)
	}
	return nil, fmt.Errorf("find a free port: %w", taken)
}
