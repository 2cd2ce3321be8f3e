package pipeline

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"firstclick/pipeline/engine"
	"firstclick/pipeline/sink"
)

// filler fills in the names of users who appeared after their checkouts.
type filler struct {
	mu   sync.Mutex
	ids  map[int32]struct{} // changed since the last time
	full bool               // fill in all that can be filled
	wake chan struct{}
}

// maxFillIDs bounds the ids that are kept. Past it everything is filled in.
const maxFillIDs = 10_000

// changed says that users changed.
func (f *filler) changed(ids []int32) {
	f.mu.Lock()
	for _, id := range ids {
		f.ids[id] = struct{}{}
	}
	full := f.full || len(f.ids) > maxFillIDs
	f.mu.Unlock()
	if full {
		f.all()
		return
	}
	f.wakeUp()
}

// all says that any user may have changed.
func (f *filler) all() {
	f.mu.Lock()
	f.full = true
	clear(f.ids)
	f.mu.Unlock()
	f.wakeUp()
}

func (f *filler) wakeUp() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// take gives the ids to fill in; nil: all. ok is false where there is nothing to do.
func (f *filler) take() (ids []int32, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	full := f.full
	f.full = false
	for id := range f.ids {
		ids = append(ids, id)
	}
	clear(f.ids)
	if full {
		return nil, true
	}
	return ids, len(ids) > 0
}

// run fills in whenever woken and every minute, until ctx ends.
func (f *filler) run(ctx context.Context, s *sink.Sink, log *slog.Logger) error {
	minute := time.NewTicker(time.Minute)
	defer minute.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-minute.C:
			f.all()
		case <-f.wake:
			ids, ok := f.take()
			if !ok {
				continue
			}
			_, err := s.FillUnknown(ctx, ids)
			if err != nil && ctx.Err() == nil && !failing {
				logUnfilled(log, err)
			}
			failing = err != nil
		}
	}
}

func logUnfilled(log *slog.Logger, err error) {
	log.Warn("names of users that appeared later are not filled in for now", "cause", err)
}

// timedNames measures how long names are waited for.
type timedNames struct {
	names   sink.Names
	waiting *engine.WallTime
}

func (n timedNames) Names(ctx context.Context, ids []int32, names map[int32]string) (edition string, err error) {
	defer n.waiting.Start()()
	return n.names.Names(ctx, ids, names)
}

func (n timedNames) Outdated(edition string) { n.names.Outdated(edition) }
