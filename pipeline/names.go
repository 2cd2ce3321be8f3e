package pipeline

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"firstclick/pipeline/engine"
	"firstclick/pipeline/sink"
)

// filler fills in the names of users who appeared after their checkouts.
type filler struct {
	mu   sync.Mutex
	ids  map[int32]struct{} // users who changed since the last time; nil: any may have
	wake chan struct{}
}

// maxFillIDs bounds the ids that are kept.
const maxFillIDs = 10_000

func newFiller() *filler { return &filler{ids: map[int32]struct{}{}, wake: make(chan struct{}, 1)} }

// changed says that users changed.
func (f *filler) changed(ids []int32) {
	f.mu.Lock()
	if f.ids != nil {
		for _, id := range ids {
			f.ids[id] = struct{}{}
		}
		if len(f.ids) > maxFillIDs {
			f.ids = nil
		}
	}
	f.mu.Unlock()
	f.wakeUp()
}

// all says that any user may have changed.
func (f *filler) all() {
	f.mu.Lock()
	f.ids = nil
	f.mu.Unlock()
	f.wakeUp()
}

func (f *filler) wakeUp() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
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
			continue
		case <-f.wake:
		}
		f.mu.Lock()
		ids := f.ids
		f.ids = map[int32]struct{}{}
		f.mu.Unlock()
		if ids != nil && len(ids) == 0 {
			continue
		}
		_, err := s.FillUnknown(ctx, slices.Collect(maps.Keys(ids))) // of a nil map: nil, which is all
		if err != nil && ctx.Err() == nil && !failing {
			logUnfilled(log, err)
		}
		failing = err != nil
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
