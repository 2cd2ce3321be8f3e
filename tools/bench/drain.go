package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"firstclick/tools/testbed"
)

// drain empties the tables, drains the backlog and compares the table with the answer.
func (p *place) drain(ctx context.Context, round int, flags ...string) (Figures, error) {
	return p.drainAs(ctx, p.topics.group+"-"+strconv.Itoa(round), "localhost:0", flags...)
}

// drainAs is drain under the name of a group, with the page and the metrics at an address.
func (p *place) drainAs(ctx context.Context, group, listen string, flags ...string) (Figures, error) {
	if err := p.empty(ctx); err != nil {
		return Figures{}, err
	}
	figures, err := p.drainInto(ctx, group, listen, flags...)
	if err != nil {
		return Figures{}, err
	}
	if err := p.check(ctx); err != nil {
		return Figures{}, fmt.Errorf("%w\n%s", err, testbed.Tail(filepath.Join(p.dir, "drain.log"), 20))
	}
	return figures, nil
}

// drainInto measures the pipeline: a process of its own with a fresh group, from its start to its
// exit.
func (p *place) drainInto(ctx context.Context, group, listen string, flags ...string) (Figures, error) {
	logFile := filepath.Join(p.dir, "drain.log")
	log, err := os.Create(logFile)
	if err != nil {
		return Figures{}, fmt.Errorf("make the log: %w", err)
	}
	defer log.Close()
	t := p.topics
	t.group = group
	args := append([]string{"run", "--until-caught-up", "--kafka", p.kafka.Addr, "--database", p.DSN,
		"--listen", listen, "--log-format", "json"}, append(t.flags(), flags...)...)
	child := exec.CommandContext(ctx, p.program, args...)
	child.Stdout, child.Stderr = log, log
	child.Cancel = func() error { return child.Process.Signal(syscall.SIGTERM) }
	child.WaitDelay = 30 * time.Second

	postgres := testbed.FamilyCPU(p.postgres.PID())
	began := time.Now()
	if err := child.Start(); err != nil {
		return Figures{}, fmt.Errorf("start firstclick: %w", err)
	}
	watching, stop := context.WithCancel(ctx)
	peak := make(chan float64, 1)
	go func() { peak <- watchMemory(watching, child.Process.Pid) }()
	err = child.Wait()
	figures := Figures{Wall: time.Since(began).Seconds()}
	stop()
	figures.Peak = <-peak
	if err != nil {
		return Figures{}, fmt.Errorf("run firstclick: %w\n%s", err, testbed.Tail(logFile, 20))
	}
	figures.Postgres = testbed.FamilyCPU(p.postgres.PID()) - postgres
	if usage, ok := child.ProcessState.SysUsage().(*syscall.Rusage); ok {
		figures.CPU = cpuOf(usage)
	}
	return figures, nil
}

// watchMemory returns the greatest resident memory of a process in MiB as the system keeps it. It
// reads that every 20 ms until ctx ends.
func watchMemory(ctx context.Context, pid int) (peak float64) {
	for testbed.Pause(ctx, 20*time.Millisecond) {
		_, most := testbed.Memory(pid)
		peak = max(peak, most/(1<<20))
	}
	return peak
}
