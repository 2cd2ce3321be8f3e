package engine

import (
	"context"
	"time"

	"firstclick/join"
	"firstclick/join/event"
	"firstclick/pipeline/chunk"
	"firstclick/pipeline/sink"
)

// Inbox is where other goroutines hand messages to the engine. Each method waits until the engine
// takes the message, or ctx ends.
type Inbox struct {
	clicks       chan clicksRead
	room         chan struct{}
	checkouts    chan []*chunk.Chunk
	ends         chan clicksEnds
	checkoutEnds chan checkoutEnds
	assigned     chan assignment
	revoked      chan *revocation
	restored     chan restored
	committed    chan *commitResult
	stored       chan []sink.State
	freezes      chan (<-chan struct{})
	left         chan struct{}
}

// clicksRead is what one poll brought. The clicks themselves are in the window already.
type clicksRead struct {
	reads []*join.ClicksRead
	dead  []event.DeadLetter
}

type clicksEnds struct {
	request      uint64
	began        int64
	ends, stable []int64
	checkouts    int // partitions
}

type checkoutEnds struct {
	began int64
	ends  []int64
}

// assignment is shards that were claimed, or the error that ends the attempt.
type assignment struct {
	shards []sink.State
	err    error
	done   chan<- error
}

// revocation is partitions that go to another member. done is closed when they have been handed
// back.
type revocation struct {
	partitions []int32
	lost       bool // they have gone already
	done       chan struct{}
}

// NewInbox makes an empty inbox.
func NewInbox() *Inbox {
	return &Inbox{
		clicks: make(chan clicksRead), room: make(chan struct{}), checkouts: make(chan []*chunk.Chunk),
		ends: make(chan clicksEnds), checkoutEnds: make(chan checkoutEnds),
		assigned: make(chan assignment), revoked: make(chan *revocation), restored: make(chan restored),
		committed: make(chan *commitResult), stored: make(chan []sink.State),
		freezes: make(chan (<-chan struct{})), left: make(chan struct{}),
	}
}

func send[T any](ctx context.Context, to chan<- T, message T) (sent bool) {
	select {
	case to <- message:
		return true
	case <-ctx.Done():
		return false
	}
}

// Clicks hands over what was read of clicks.
func (in *Inbox) Clicks(ctx context.Context, reads []*join.ClicksRead, dead []event.DeadLetter) {
	send(ctx, in.clicks, clicksRead{reads, dead})
}

// Room waits until there is memory for another poll of checkouts. false: ctx ended.
func (in *Inbox) Room(ctx context.Context) bool {
	return send(ctx, in.room, struct{}{}) && ctx.Err() == nil
}

// Checkouts hands over what was read of checkouts.
func (in *Inbox) Checkouts(ctx context.Context, chunks []*chunk.Chunk) {
	send(ctx, in.checkouts, chunks)
}

// Ends hands over the ends of all clicks partitions, and the number of checkouts partitions.
func (in *Inbox) Ends(ctx context.Context, request uint64, began int64, clicks, stable []int64, checkouts int) {
	send(ctx, in.ends, clicksEnds{request, began, clicks, stable, checkouts})
}

// CheckoutEnds hands over the ends of the checkouts partitions; a negative one is not known.
func (in *Inbox) CheckoutEnds(ctx context.Context, began int64, ends []int64) {
	send(ctx, in.checkoutEnds, checkoutEnds{began, ends})
}

// Stored hands over what Postgres holds of all shards of the group.
func (in *Inbox) Stored(ctx context.Context, shards []sink.State) { send(ctx, in.stored, shards) }

// Left says that the group has been left and nothing more comes.
func (in *Inbox) Left() { close(in.left) }

// assign hands over shards that were claimed, and waits until the engine has them.
func (in *Inbox) assign(ctx context.Context, shards []sink.State, failed error) error {
	done := make(chan error, 1)
	if !send(ctx, in.assigned, assignment{shards, failed, done}) {
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Revoke gives partitions up. It returns when what was released of them is written; at once, where
// they were lost.
func (in *Inbox) Revoke(ctx context.Context, partitions []int32, lost bool) {
	r := &revocation{partitions, lost, make(chan struct{})}
	if send(ctx, in.revoked, r) {
		select {
		case <-r.done:
		case <-ctx.Done():
		}
	}
}

// Freeze makes the engine stand still for d, or until ctx ends, like a process that gets no
// processor: membership and sessions live on. It is for demonstrations and tests.
func (in *Inbox) Freeze(ctx context.Context, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if !send(ctx, in.freezes, ctx.Done()) {
		return context.Cause(ctx)
	}
	<-ctx.Done()
	return nil
}
