package cdc

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
)

type hooks struct{}
type cache struct{}

func (*cache) len() int { return 0 }

type outage struct{}

func (*outage) report(*slog.Logger, bool, error) {}

func sleep(context.Context, time.Duration) bool { return false }

func (tuning) pause(int) time.Duration { return 0 }

func (m *Mirror) noteLost(error) {}

func (m *Mirror) session(ctx context.Context) (bool, error) { return false, errors.ErrUnsupported }

// Names sets names[id] for each id of ids that is a user.
func (m *Mirror) Names(ctx context.Context, ids []int32, names map[int32]string) error {
	return errors.ErrUnsupported
}

// EnsurePublication makes the publication firstclick_users what commerce.users needs.
func EnsurePublication(ctx context.Context, conn *pgx.Conn) error { return errors.ErrUnsupported }

// Check says what stands in the way of the mirror's replication.
func Check(ctx context.Context, conn *pgx.Conn) error { return errors.ErrUnsupported }
