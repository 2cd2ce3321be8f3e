package sink

import (
	"context"
	"errors"

	"firstclick/join"
)

// Sink writes to Postgres. Its methods may be called concurrently, Commit for disjoint sets of shards.
type Sink struct{}

var errTodo = errors.New("not built yet")

// New reads the configuration. It opens no connection.
func New(cfg Config, names Names) (*Sink, error) { return nil, errTodo }

// Close ends the sessions. No other method may be running or be called afterwards.
func (s *Sink) Close() {}

// AppendOwn appends the checkout's own columns as fields of a binary COPY tuple.
func AppendOwn(dst []byte, k *join.Checkout) []byte { return dst }

// Commit writes the batches, of different shards, in one transaction, and tries until it is known to have landed or ctx ends.
func (s *Sink) Commit(ctx context.Context, batches []*Batch) (Result, error) {
	return Result{}, errTodo
}

// Claim takes a shard over.
func (s *Sink) Claim(ctx context.Context, group, topic string, partition int32, fresh State) (State, error) {
	return State{}, errTodo
}

// Release lets a shard go in good order.
func (s *Sink) Release(ctx context.Context, c *Claim) error { return errTodo }

// Shards returns every stored shard of the group and topic, owned or not, by partition.
func (s *Sink) Shards(ctx context.Context, group, topic string) ([]State, error) { return nil, errTodo }

// EnsureProgress stores p where the group has no row yet, and returns the stored row.
func (s *Sink) EnsureProgress(ctx context.Context, p Progress) (Progress, error) {
	return p, errTodo
}

// SettleProgress moves the group's watermark and final_before up to the least over its shards, never back, and returns them.
func (s *Sink) SettleProgress(ctx context.Context, group string) (watermark, finalBefore int64, err error) {
	return 0, 0, errTodo
}

// FillUnknown fills in the names of rows whose user was unknown when they were written; ids nil: all that are noted.
func (s *Sink) FillUnknown(ctx context.Context, ids []int32) (filled int64, err error) {
	return 0, errTodo
}

// Announce writes this instance's row in firstclick.instances, and that it is alive.
func (s *Sink) Announce(ctx context.Context, a Announcement) error { return errTodo }

// Leave removes this instance's row.
func (s *Sink) Leave(ctx context.Context) error { return errTodo }

// Stats returns counts since New.
func (s *Sink) Stats() Stats { return Stats{} }
