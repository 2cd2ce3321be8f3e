package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"firstclick/tools/testbed"
)

// patience is how long an instance may take to end in good order, faults at the servers included.
const patience = 90 * second

// slot is the place of one instance, as a supervisor would have it: what ends in it is started
// again.
type slot struct {
	w      *world
	number int
	static bool // a static member of the group

	mu      sync.Mutex
	process *testbed.Instance // nil: none, or ended by the suite
	life    int
	log     string
	held    bool // a fault is at work on it: the supervisor does nothing
}

// start begins a new life.
func (s *slot) start() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = false
	if s.process == nil || s.process.Ended(0) {
		s.process, err = s.run()
	}
	return err
}

// instance is the slot's process; nil: none.
func (s *slot) instance() *testbed.Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

// name is the instance's, as its sessions in Postgres have it.
func (s *slot) name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nameNow()
}

func (s *slot) nameNow() string { return fmt.Sprintf("chaos-%d-%d", s.number, s.life) }

// run starts the binary as the slot's next life. s.mu is held. The clock of the last lasting
// instance, and of one that comes and goes, is ten minutes wrong.
func (s *slot) run(more ...string) (*testbed.Instance, error) {
	s.life++
	opts := &s.w.opts
	name := s.nameNow()
	s.log = filepath.Join(s.w.dir, "logs", name+".log")
	kafka, database := s.w.toKafka.Listen, s.w.farSide
	if opts.straight {
		kafka, database = s.w.kafka.Addr, s.w.db.DSN
	}
	binary, env := s.w.binary, append(slices.Clone(s.w.env), "DATABASE_URL="+database)
	if s.w.hooked != "" && (s.number == opts.instances-1 || s.number == opts.instances) {
		binary, env = s.w.hooked, append(env, clockVariable+"="+wrongClock)
	}
	args := []string{"--kafka", kafka, "--clicks-topic", clicksTopic, "--checkouts-topic", checkoutsTopic,
		"--group", group, "--window", opts.window, "--lateness", opts.late, "--instance", name,
		"--users-cache", "50", "--no-migrate"}
	if opts.memory != "" {
		args = append(args, "--memory-limit", opts.memory)
	}
	if s.static {
		args = append(args, "--group-instance", fmt.Sprintf("static-%d", s.number))
	}
	return testbed.Start(binary, s.log, env, append(args, more...)...)
}

// hold keeps the supervisor away until start or letGo, and gives the process; nil: none runs.
func (s *slot) hold() *testbed.Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = true
	return s.process
}

func (s *slot) letGo() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = false
}

// kill ends the instance by SIGKILL.
func (s *slot) kill() error {
	p := s.hold()
	if p == nil {
		return nil
	}
	defer s.clear()
	return p.Kill()
}

// clear forgets a process that was ended by us.
func (s *slot) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process = nil
}

// stop ends the instance by SIGTERM: it has to end by itself, in good order.
func (s *slot) stop() error {
	p := s.hold()
	if p == nil {
		return nil
	}
	defer s.clear()
	ended := p.Ended(0) // by itself: the supervisor has not seen it yet
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if p.Wait(ctx) != nil {
		s.w.blame("instance %s has not ended %v after SIGTERM\n%s", s.log, patience, s.said(5))
		return s.kill()
	}
	if err := p.Result(); err != nil && ended {
		s.judge(err)
	} else if exit := (&exec.ExitError{}); err != nil && // too young to have a handler: SIGTERM itself ended it
		!(errors.As(err, &exit) && exit.ExitCode() == 128+int(syscall.SIGTERM)) {
		s.w.blame("instance %s ended with %v after SIGTERM\n%s", s.log, err, s.said(5))
	}
	return nil
}

// judge tells whether an instance may end by itself: before it has begun to work that is the way to
// say that a server does not answer.
func (s *slot) judge(result error) {
	text, _ := os.ReadFile(s.log)
	exit := &exec.ExitError{}
	young := !bytes.Contains(text, []byte(`"msg":"connected"`))
	if errors.As(result, &exit) && exit.ExitCode() == 1 && young && !bytes.Contains(text, []byte("panic:")) {
		s.w.count("starts that found no server")
		return
	}
	s.w.blame("instance %s ended by itself: %v\n%s", s.log, result, s.said(6))
}

// said is the last lines of the instance's log.
func (s *slot) said(lines int) []byte { return testbed.Tail(s.log, lines) }

// supervise starts what ended by itself again, a second later, until ctx ends.
func (s *slot) supervise(ctx context.Context) error {
	for testbed.Pause(ctx, 200*ms) {
		s.mu.Lock()
		p, held := s.process, s.held
		s.mu.Unlock()
		if held || p == nil || !p.Ended(0) {
			continue
		}
		s.judge(p.Result())
		if !testbed.Pause(ctx, time.Second) {
			return nil
		}
		s.mu.Lock()
		again := !s.held && s.process == p
		s.mu.Unlock()
		if again {
			if err := s.start(); err != nil {
				return err
			}
		}
	}
	return nil
}

// storms are the slots of instances that come and go.
const storms = 2

func (w *world) makeSlots() {
	for n := range w.opts.instances + storms {
		w.slots = append(w.slots, &slot{w: w, number: n, static: n == 0 && w.opts.seed%2 == 0})
	}
}

func (w *world) lasting() []*slot { return w.slots[:w.opts.instances] }

// mortal are the lasting instances that may be ended.
func (w *world) mortal() []*slot { return w.slots[w.opts.spared:w.opts.instances] }

// instanceFaults are the faults at instances.
func instanceFaults(o *options) []fault {
	stormy := [2]time.Duration{6 * second, 12 * second}
	if o.storm > 0 {
		stormy = [2]time.Duration{o.storm, o.storm}
	}
	pick := func(l *lane) *slot {
		l.slot = l.world.lasting()[l.random.IntN(l.world.opts.instances)]
		return l.slot
	}
	mortal := func(l *lane) *slot {
		l.slot = l.world.mortal()[l.random.IntN(len(l.world.mortal()))]
		return l.slot
	}
	freeze := func(l *lane) error {
		if p := pick(l).hold(); p != nil {
			return p.Signal(syscall.SIGSTOP)
		}
		return nil
	}
	thaw := func(l *lane) error {
		defer l.slot.letGo()
		if p := l.slot.hold(); p != nil {
			return p.Signal(syscall.SIGCONT)
		}
		return nil
	}
	start := func(l *lane) error { return l.slot.start() }
	return []fault{
		{name: "instance SIGKILL", weight: 6, least: 0, most: 3 * second,
			do: func(l *lane) error { return mortal(l).kill() }, heal: start},
		{name: "instance SIGTERM", weight: 3, least: 0, most: 8 * second,
			do: func(l *lane) error { return mortal(l).stop() }, heal: start},
		{name: "instance SIGSTOP", weight: 6, least: 12 * second, most: 18 * second, do: freeze, heal: thaw},
		{name: "instance SIGSTOP, short", weight: 2, least: 500 * ms, most: 5 * second, do: freeze, heal: thaw},
		{name: "all instances SIGKILL", weight: 2, least: 0, most: 2 * second, do: killAll, heal: startAll},
		{name: "rebalance storm", weight: 3, least: stormy[0], most: stormy[1], during: storm, heal: calm},
	}
}

func killAll(l *lane) error {
	for _, s := range l.world.mortal() {
		if err := s.kill(); err != nil {
			return err
		}
	}
	return nil
}

func startAll(l *lane) error {
	for _, s := range l.world.lasting() {
		if err := s.start(); err != nil {
			return err
		}
	}
	return nil
}

// storm lets an instance join or leave every second.
func storm(ctx context.Context, l *lane) error {
	extra := l.world.slots[l.world.opts.instances:]
	for n := 0; testbed.Pause(ctx, time.Second); n++ {
		s := extra[n%len(extra)]
		var err error
		switch {
		case n/len(extra)%2 == 0:
			err = s.start()
		case l.random.IntN(2) == 0:
			err = s.kill()
		default:
			err = s.stop()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func calm(l *lane) error {
	for _, s := range l.world.slots[l.world.opts.instances:] {
		if err := s.stop(); err != nil {
			return err
		}
	}
	return nil
}
