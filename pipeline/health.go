package pipeline

import (
	"errors"
	"fmt"
	"time"
)

// Check is one question about the state of a pipeline.
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

// Health answers whether the pipeline is ready. Names of checks are stable.
func (p *Pipeline) Health() []Check {
	st, now := p.Stats(), time.Now()
	return []Check{
		{Name: "kafka", Err: kafkaHealth(&st, now)},
		{Name: "postgres", Err: postgresHealth(&st, now)},
		{Name: "users_mirror", Err: usersHealth(&st), Advisory: true}, // without it names are read from the table
		{Name: "shards", Err: shardsHealth(&st)},
		{Name: "group", Err: p.groupHealth()},
		{Name: "caught_up", Err: p.caughtUpHealth(&st, now)},
	}
}

func kafkaHealth(st *Stats, now time.Time) error {
	if st.EndsAt.IsZero() {
		return errors.New("has not answered yet")
	}
	if silent := now.Sub(st.EndsAt); silent > kafkaSilent {
		return fmt.Errorf("has not said where the topics end for %v", silent.Round(time.Second))
	}
	return nil
}

func postgresHealth(st *Stats, now time.Time) error {
	switch {
	case st.Sink.LastError != "":
		return errors.New(st.Sink.LastError)
	case st.Server.At.IsZero():
		return errors.New("has not answered yet")
	case !st.Server.OK:
		return fmt.Errorf("has not answered for %v", now.Sub(st.Server.At).Round(time.Second))
	case len(st.Shards) > 0 && now.Sub(st.CommittedAt) > postgresSilent:
		return fmt.Errorf("no transaction for %v", now.Sub(st.CommittedAt).Round(time.Second))
	}
	return nil
}

func usersHealth(st *Stats) error {
	switch {
	case st.Users.Connected:
		return nil
	case st.Users.LastError != "":
		return errors.New("names are read from the table: " + st.Users.LastError)
	}
	return errors.New("names are read from the table: the stream has not begun")
}

// shardsHealth: an instance that was given none is a hot standby, and well.
func shardsHealth(st *Stats) error {
	if len(st.Shards) == 0 && st.Assigned == 0 {
		return errors.New("the group has not answered yet")
	}
	return nil
}

// caughtUpHealth holds a fresh instance back until it has once been less than a minute behind: a rolling restart goes on to the next one
// then. Lag that comes later is a matter for alerts, and no reason to call the instance not ready.
func (p *Pipeline) caughtUpHealth(st *Stats, now time.Time) error {
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
