package doctor

import (
	"context"
	"errors"
	"net"
	"os"

	"github.com/jackc/pgx/v5/pgconn"
)

// plainly is an error's innermost reason where the network gave it, or what Postgres said: the layers above repeat the address.
func plainly(err error) string {
	var sys *os.SyscallError
	var dns *net.DNSError
	var answer *pgconn.PgError
	var timeout net.Error
	switch {
	case errors.As(err, &answer):
		return answer.Message + " (SQLSTATE " + answer.Code + ")"
	case errors.As(err, &sys):
		return sys.Err.Error()
	case errors.As(err, &dns):
		return "no address for " + dns.Name
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	}
	var connecting *pgconn.ConnectError
	if errors.As(err, &connecting) {
		err = connecting.Unwrap()
	}
	return oneLine(err.Error())
}
