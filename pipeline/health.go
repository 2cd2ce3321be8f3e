package pipeline

import (
	"errors"
	"fmt"
	"time"
)

// Check is one check of a pipeline.
type Check struct {
	Name     string
	Err      error // nil: as it should be
	Advisory bool  // the pipeline is ready all the same
}

const (
	kafkaSilent    = 15 * time.Second // without an answer about the topics' ends
	postgresSilent = 30 * time.Second // without a transaction; positions alone are committed every 10 s
	enoughCaughtUp = time.Minute
)

// Health checks whether the pipeline is ready. Names of checks are stable.
func (p *Pipeline) Health() []Check {
	st, now := p.Stats(), time.Now()
	ago := func(t time.Time) time.Duration { return now.Sub(t).Round(time.Second) }
	var kafka, postgres, users, shards error
	switch {
	case st.EndsAt.IsZero():
		kafka = errors.New("has not answered yet")
	case now.Sub(st.EndsAt) > kafkaSilent:
		kafka = fmt.Errorf("has not said where the topics end for %v", ago(st.EndsAt))
	}
	switch {
	case st.Sink.LastError != "":
		postgres = errors.New(st.Sink.LastError)
	case st.Server.At.IsZero():
		postgres = errors.New("has not answered yet")
	case !st.Server.OK:
		postgres = fmt.Errorf("has not answered for %v", ago(st.Server.At))
	case len(st.Shards) > 0 && now.Sub(st.CommittedAt) > postgresSilent:
		postgres = fmt.Errorf("no transaction for %v", ago(st.CommittedAt))
	}
	switch {
	case st.Users.Connected:
	case st.Users.LastError != "":
		users = errors.New("names are read from the table: " + st.Users.LastError)
	default:
		users = errors.New("names are read from the table: the stream has not begun")
	}
	if len(st.Shards) == 0 && st.Assigned == 0 { // an instance that was assigned none is a hot standby
		shards = errors.New("the group has not answered yet")
	}
	return []Check{
		{Name: "kafka", Err: kafka},
		{Name: "postgres", Err: postgres},
		{Name: "users_mirror", Err: users, Advisory: true}, // without it names are read from the table
		{Name: "shards", Err: shards},
		{Name: "group", Err: p.ingest.Membership.Err()},
		{Name: "caught_up", Err: p.caughtUp(&st, now)},
	}
}

// caughtUp holds a fresh instance back until it has once been less than a minute behind: then a
// rolling restart goes on to the next one. Lag that comes later is a matter for alerts.
func (p *Pipeline) caughtUp(st *Stats, now time.Time) error {
	if p.wasCaughtUp.Load() {
		return nil
	}
	if st.EndsAt.IsZero() {
		return errors.New("not known yet")
	}
	worst := time.Duration(0)
	for i := range st.Clicks {
		lag, known := st.ClicksLag(i, now)
		if !known {
			return fmt.Errorf("nothing of %d records read yet", st.Backlog())
		}
		worst = max(worst, lag.Record)
	}
	for i := range st.Shards {
		lag, known := st.ShardLag(i, now)
		if !known {
			return fmt.Errorf("nothing of %d records written yet", st.Backlog())
		}
		worst = max(worst, lag.Record)
	}
	if worst > enoughCaughtUp {
		return fmt.Errorf("%v behind, %d records", worst.Round(time.Second), st.Backlog())
	}
	p.wasCaughtUp.Store(true)
	return nil
}
