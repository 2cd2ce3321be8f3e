package doctor

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"firstclick/internal/kafkagroup"
)

// looks gathers the facts, those that move in an order in which they cannot lie.
type looks struct {
	kafka    *kafka
	postgres *postgres
}

// first asks everything.
func (l *looks) first(ctx context.Context, f *facts) {
	var asked sync.WaitGroup
	if f.sides&kafkaSide != 0 {
		asked.Go(func() { l.kafka.ask(ctx, f) })
	}
	if f.sides&postgresSide != 0 {
		asked.Go(func() { l.postgres.ask(ctx, f) })
	}
	asked.Go(func() {
		l.moving(ctx, f)
		if f.sides&kafkaSide != 0 {
			l.kafka.times(ctx, f)
		}
		if f.sides == kafkaSide|postgresSide {
			l.kafka.askLag(ctx, f)
		}
	})
	asked.Wait()
}

// moving asks what instances change while it is asked. Logs begin and end ever later, and positions in them grow; rows of partitions come
// before their first record is read, and go never. So for
//
//	start of a log <= stored position <= end of the log, and members of the group <= rows that are stored for what they have
//
// what must be the less is asked first: where it holds, it holds of what was seen too, whatever happens in between. (Invariant: this is the
// only place where what both systems say of positions is asked.)
func (l *looks) moving(ctx context.Context, f *facts) {
	within := l.kafka.cfg.askWithin
	if f.sides&kafkaSide != 0 {
		f.ask(ctx, within, askMetadata, func(ctx context.Context) (err error) {
			f.kafka.metadata, err = l.kafka.admin.Metadata(ctx, l.kafka.topics()...)
			return err
		})
		f.ask(ctx, within, askGroup, func(ctx context.Context) error { return l.kafka.describeGroup(ctx, &f.kafka) })
		f.ask(ctx, within, askStarts, func(ctx context.Context) (err error) {
			f.kafka.starts, err = placed(l.kafka.admin.ListStartOffsets(ctx, l.kafka.topics()...))
			return err
		})
	}
	database := ""
	if f.sides&postgresSide != 0 {
		f.ask(ctx, within, askStored, func(ctx context.Context) error { return l.postgres.stored(ctx, &f.postgres.stored) })
		f.ask(ctx, within, askDatabase, func(ctx context.Context) error {
			return l.postgres.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) (err error) {
				database, err = kafkagroup.DatabaseOf(ctx, conn.Conn())
				return err
			})
		})
	}
	if f.sides&kafkaSide != 0 {
		f.ask(ctx, within, askEnds, func(ctx context.Context) (err error) {
			f.kafka.ends, err = placed(l.kafka.admin.ListEndOffsets(ctx, l.kafka.topics()...))
			return err
		})
		checkouts := l.kafka.cfg.CheckoutsTopic
		f.kafka.members = kafkagroup.Judge(f.kafka.group, database, checkouts, len(f.kafka.metadata.Topics[checkouts].Partitions))
	}
}

// lookAgain is how long after the first look the second one is taken.
const lookAgain = 300 * time.Millisecond

// second looks again at what moves, where the first look found something wrong with it; nil: it did not.
func (l *looks) second(ctx context.Context, f *facts) *facts {
	if f.sides != kafkaSide|postgresSide || !slices.ContainsFunc(checks(), func(c check) bool {
		return c.moves() && slices.ContainsFunc(c.judge(f), func(f Finding) bool { return f.about != "" })
	}) {
		return nil
	}
	select {
	case <-ctx.Done():
	case <-time.After(lookAgain):
	}
	again := &facts{cfg: f.cfg, sides: f.sides}
	l.moving(ctx, again)
	return again
}

// agreed are the findings of the first look. Those that say what they are about are left out where the second look does not find the same.
func agreed(first []Finding, again *facts, judge func(*facts) []Finding) (found []Finding) {
	if again == nil {
		return first
	}
	if len(again.errs) > 0 {
		for _, f := range first {
			if f.about != "" {
				f.Status, f.Text = Warn, f.Text+" (a second look was not possible)"
			}
			found = append(found, f)
		}
		return found
	}
	second := judge(again)
	for _, f := range first {
		if f.about == "" || slices.ContainsFunc(second, func(s Finding) bool { return s.about == f.about }) {
			found = append(found, f)
		}
	}
	if found != nil {
		return found
	}
	for _, f := range second {
		if f.about == "" {
			found = append(found, f)
		}
	}
	return found
}
