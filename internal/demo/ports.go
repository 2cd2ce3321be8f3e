package demo

import (
	"context"
	"errors"
	"net"
	"strconv"
	"syscall"

	"firstclick/internal/ports"
)

// choosePorts returns the wanted ports of the loopback. A free port replaces one that is taken, and
// one that is 0.
func choosePorts(ctx context.Context, wanted ...int) ([]int, error) {
	chosen, err := ports.Free(len(wanted))
	if err != nil {
		return nil, err
	}
	for i, port := range wanted {
		taken := port == 0
		// People connect to localhost, which may mean ::1, and must not reach another server there.
		for _, host := range []string{"127.0.0.1", "::1", ""} {
			listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
			if err == nil {
				err = listener.Close()
			}
			// Other errors: no IPv6, which is no obstacle, or a port for root only, which its
			// server reports.
			taken = taken || errors.Is(err, syscall.EADDRINUSE) || host == "127.0.0.1" && err != nil
		}
		if !taken {
			chosen[i] = port
		}
	}
	return chosen, nil
}
