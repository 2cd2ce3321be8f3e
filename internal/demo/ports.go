package demo

import (
	"context"
	"errors"
	"net"
	"strconv"
	"syscall"

	"firstclick/internal/ports"
)

// choosePorts are the wanted ports of the loopback; in the place of one that is taken or 0, a free one.
func choosePorts(ctx context.Context, wanted ...int) ([]int, error) {
	chosen, err := ports.Free(len(wanted))
	if err != nil {
		return nil, err
	}
	for i, port := range wanted {
		if port != 0 && portFree(ctx, port) {
			chosen[i] = port
		}
	}
	return chosen, nil
}

// portFree says whether nobody answers on the port of any loopback address, nor of all addresses: people connect to localhost, which
// may mean ::1, and should not meet a stranger there.
func portFree(ctx context.Context, port int) bool {
	for _, host := range []string{"127.0.0.1", "::1", ""} {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err == nil {
			err = listener.Close()
		}
		// No IPv6, or a port for root only: the first is no obstacle, the second will be said by who takes it.
		if errors.Is(err, syscall.EADDRINUSE) || host == "127.0.0.1" && err != nil {
			return false
		}
	}
	return true
}
