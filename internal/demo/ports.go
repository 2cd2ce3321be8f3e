package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// choosePort is the wanted port of the loopback, or a free one where that is taken or 0.
func choosePort(ctx context.Context, wanted int) (port int, err error) {
	if wanted != 0 && portFree(ctx, wanted) {
		return wanted, nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port = listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	return port, nil
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
