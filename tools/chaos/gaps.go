package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"firstclick/tools/testbed"
)

// gaps shows what an instance does that finds records gone. Each step builds on the ones before.
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

func (g *gaps) show(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		g.deleteAll,
		g.send(clicksTopic, gapClicks, 0, "after"),
		g.send(checkoutsTopic, gapCheckouts, 1, "after"),
		g.run("all that was read is deleted, and nobody needs it", 0, group),
		g.expectClick("after"),

		g.deleteAll,
		g.send(checkoutsTopic, gapCheckouts, 2, "needs"),
		g.run("a click that an unreleased checkout needs is deleted", 4, group,
			fmt.Sprintf("data gap in %s[%d]", clicksTopic, gapClicks),
			fmt.Sprintf("the checkout at %s[%d]", checkoutsTopic, gapCheckouts), "needs clicks from before"),

		g.deleteUnread("an unread checkout is deleted", checkoutsTopic, gapCheckouts),

		g.send(clicksTopic, gapUnread, 3, "unread"),
		g.deleteUnread("an unread click is deleted", clicksTopic, gapUnread),

		g.send(clicksTopic, gapClicks, 4, "anew"),
		g.send(checkoutsTopic, gapCheckouts, 5, "anew"),
		g.run("the way out: another group", 0, group+"-anew"),
		g.expectClick("anew"),
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// deleteUnread deletes everything, the last record of a partition unread. An instance has to miss
// it.
func (g *gaps) deleteUnread(what, topic string, partition int32) func(context.Context) error {
	return func(ctx context.Context) error {
		ends, err := g.ends(ctx)
		if err != nil {
			return err
		}
		if err := g.world.deleteBefore(ctx, ends); err != nil {
			return err
		}
		last := ends[topic][partition] - 1
		says := fmt.Sprintf("data gap in %s[%d]: offsets %d to %d were never read and are gone", topic, partition,
			last, last)
		return g.run(what, 4, group, says)(ctx)
	}
}

// run runs an instance to its end. It has to exit with the code. With another one than 0 it has to
// say what is the matter and the way out, and to write nothing.
func (g *gaps) run(what string, code int, group string, says ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		before, err := g.world.written(ctx)
		if err != nil {
			return err
		}
		got, err := g.alone.runAlone(ctx, "--until-caught-up", "--group", group, "--start", "earliest")
		if err != nil {
			return err
		}
		text := g.alone.said(3)
		g.world.out.Say("%s: exit code %d\n%s", what, got, text)
		if got != code {
			g.world.blame("%s: exit code %d, want %d\n%s", what, got, code, text)
		}
		if got != code || code == 0 {
			return nil
		}
		for _, part := range append(says, "--group with --start earliest") {
			if !strings.Contains(string(text), part) {
				g.world.blame("%s: the instance does not say %q\n%s", what, part, text)
			}
		}
		after, err := g.world.written(ctx)
		if err == nil && after != before {
			g.world.blame("%s: positions moved from %d to %d", what, before, after)
		}
		return err
	}
}

// ends are the ends by topic and partition.
func (g *gaps) ends(ctx context.Context) (map[string]map[int32]int64, error) {
	listed, err := testbed.Ends(ctx, g.world.admin, clicksTopic, checkoutsTopic)
	ends := map[string]map[int32]int64{clicksTopic: {}, checkoutsTopic: {}}
	listed.Each(func(o kadm.ListedOffset) { ends[o.Topic][o.Partition] = o.Offset })
	return ends, err
}

func (g *gaps) deleteAll(ctx context.Context) error {
	ends, err := g.ends(ctx)
	if err != nil {
		return err
	}
	return g.world.deleteBefore(ctx, ends)
}

// send sends one event, so many seconds later than the first one.
func (g *gaps) send(topic string, partition int32, seconds int, name string) func(context.Context) error {
	return func(ctx context.Context) error {
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
}

// expectClick wants the row of a checkout to have the click of the same name.
func (g *gaps) expectClick(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		var click string
		err := g.world.db.Row(ctx, `SELECT coalesce(max(click_id), 'none') FROM commerce.attributed_checkouts
			WHERE checkout_id = $1`, []any{name}, &click)
		if err != nil {
			return fmt.Errorf("read the row of %s: %w", name, err)
		}
		if click != name {
			g.world.blame("the row of checkout %s has the click %s", name, click)
		}
		return nil
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
