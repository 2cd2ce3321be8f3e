package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
)

// gaps shows what an instance does that finds records gone. Each step stands on the ones before.
type gaps struct {
	world *world
	alone *slot
	from  time.Time // of the events that are sent here
}

// The partitions of what is sent here.
const (
	gapClicks    = 3
	gapCheckouts = 2
	gapUnread    = 4 // of clicks
)

// noneNeeded: everything has been read and is deleted; what comes later than a window after it needs nothing of it.
func (g *gaps) noneNeeded(ctx context.Context) error {
	if err := g.deleteAll(ctx); err != nil {
		return err
	}
	if err := g.send(ctx, clicksTopic, gapClicks, 0, "after"); err != nil {
		return err
	}
	if err := g.send(ctx, checkoutsTopic, gapCheckouts, 1, "after"); err != nil {
		return err
	}
	if err := g.run(ctx, "all that was read is deleted, and nobody needs it", 0, group); err != nil {
		return err
	}
	return g.expectClick(ctx, "after")
}

// clickNeeded: a click that was read is deleted, and then a checkout comes that it may belong to.
func (g *gaps) clickNeeded(ctx context.Context) error {
	if err := g.deleteAll(ctx); err != nil {
		return err
	}
	if err := g.send(ctx, checkoutsTopic, gapCheckouts, 2, "needs"); err != nil {
		return err
	}
	return g.run(ctx, "a click that an unreleased checkout needs is deleted", 4, group, fmt.Sprintf("data gap in %s[%d]", clicksTopic, gapClicks),
		fmt.Sprintf("the checkout at %s[%d]", checkoutsTopic, gapCheckouts), "needs clicks from before")
}

// checkoutUnread: that checkout is deleted too, unread.
func (g *gaps) checkoutUnread(ctx context.Context) error {
	ends, err := g.ends(ctx)
	if err == nil {
		err = g.world.deleteBefore(ctx, map[string]map[int32]int64{checkoutsTopic: {gapCheckouts: ends[checkoutsTopic][gapCheckouts]}})
	}
	if err != nil {
		return err
	}
	last := ends[checkoutsTopic][gapCheckouts] - 1
	return g.run(ctx, "an unread checkout is deleted", 4, group, fmt.Sprintf("data gap in %s[%d]: offsets %d to %d were never read and are gone", checkoutsTopic, gapCheckouts, last, last))
}

// clickUnread: and an unread click.
func (g *gaps) clickUnread(ctx context.Context) error {
	if err := g.send(ctx, clicksTopic, gapUnread, 3, "unread"); err != nil {
		return err
	}
	if err := g.deleteAll(ctx); err != nil {
		return err
	}
	ends, err := g.ends(ctx)
	if err != nil {
		return err
	}
	last := ends[clicksTopic][gapUnread] - 1
	return g.run(ctx, "an unread click is deleted", 4, group, fmt.Sprintf("data gap in %s[%d]: offsets %d to %d were never read and are gone", clicksTopic, gapUnread, last, last))
}

// anew: what the message says is the way out.
func (g *gaps) anew(ctx context.Context) error {
	if err := g.send(ctx, clicksTopic, gapClicks, 4, "anew"); err != nil {
		return err
	}
	if err := g.send(ctx, checkoutsTopic, gapCheckouts, 5, "anew"); err != nil {
		return err
	}
	if err := g.run(ctx, "the way out: another group", 0, group+"-anew"); err != nil {
		return err
	}
	return g.expectClick(ctx, "anew")
}

// run runs an instance to its end: it has to exit with the code, and to say what it should; then it has written nothing.
func (g *gaps) run(ctx context.Context, what string, code int, group string, says ...string) error {
	before, err := g.world.written(ctx)
	if err != nil {
		return err
	}
	got, err := g.alone.runAlone(ctx, "--until-caught-up", "--group", group, "--start", "earliest")
	if err != nil {
		return err
	}
	text := g.alone.said(3)
	g.world.out.say("%s: exit code %d\n%s", what, got, text)
	if got != code {
		g.world.blame("%s: exit code %d, want %d\n%s", what, got, code, text)
		return nil
	}
	if code == 0 {
		return nil
	}
	g.expectSaid(what, text, append(says, "--group with --start earliest"))
	after, err := g.world.written(ctx)
	if err == nil && after.passed != before.passed {
		g.world.blame("%s: positions moved from %d to %d", what, before.passed, after.passed)
	}
	return err
}

// ends are the ends by topic and partition.
func (g *gaps) ends(ctx context.Context) (map[string]map[int32]int64, error) {
	listed, err := g.world.admin.ListEndOffsets(ctx, clicksTopic, checkoutsTopic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("ask for the ends: %w", err)
	}
	ends := map[string]map[int32]int64{clicksTopic: {}, checkoutsTopic: {}}
	listed.Each(func(o kadm.ListedOffset) { ends[o.Topic][o.Partition] = o.Offset })
	return ends, nil
}

func (g *gaps) deleteAll(ctx context.Context) error {
	ends, err := g.ends(ctx)
	if err != nil {
		return err
	}
	return g.world.deleteBefore(ctx, ends)
}

// send sends one event, so many seconds later than the first one.
func (g *gaps) send(ctx context.Context, topic string, partition int32, seconds int, name string) error {
	cl, err := g.world.producer()
	if err != nil {
		return err
	}
	defer cl.Close()
	at := g.from.Add(time.Duration(seconds) * second)
	if err := cl.ProduceSync(ctx, event(topic, partition, at, name, 1, "gap")).FirstErr(); err != nil {
		return fmt.Errorf("send %s %s: %w", topic, name, err)
	}
	return nil
}

// expectClick wants the row of a checkout to have the click of the same name.
func (g *gaps) expectClick(ctx context.Context, name string) error {
	var click string
	err := g.world.withDatabase(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT coalesce(max(click_id), 'none') FROM commerce.attributed_checkouts WHERE checkout_id = $1`, name).Scan(&click)
	})
	if err != nil {
		return fmt.Errorf("read the row of %s: %w", name, err)
	}
	if click != name {
		g.world.blame("the row of checkout %s has the click %s", name, click)
	}
	return nil
}

func (g *gaps) expectSaid(what string, text []byte, says []string) {
	for _, part := range says {
		if !strings.Contains(string(text), part) {
			g.world.blame("%s: the instance does not say %q\n%s", what, part, text)
		}
	}
}

// runAlone runs an instance to its end and gives its exit code.
func (s *slot) runAlone(ctx context.Context, more ...string) (code int, err error) {
	p, err := s.run(more...)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if p.Wait(ctx) != nil {
		s.w.blame("the instance does not end: %v\n%s", more, s.said(5))
		return -1, errors.Join(p.Signal(syscall.SIGKILL), p.Wait(context.Background()))
	}
	exit := &exec.ExitError{}
	if errors.As(p.Result(), &exit) {
		return exit.ExitCode(), nil
	}
	return 0, p.Result()
}
