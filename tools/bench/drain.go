package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
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
		return Figures{}, fmt.Errorf("%w\n%s", err, tail(filepath.Join(p.dir, "drain.log")))
	}
	return figures, nil
}

// drainInto measures the pipeline: a process of its own with a fresh group, from its start to its exit.
func (p *place) drainInto(ctx context.Context, group, listen string, flags ...string) (Figures, error) {
	logPath := filepath.Join(p.dir, "drain.log")
	log, err := os.Create(logPath)
	if err != nil {
		return Figures{}, fmt.Errorf("make the log: %w", err)
	}
	defer log.Close()
	child := exec.CommandContext(ctx, p.program, append([]string{"run", "--until-caught-up",
		"--kafka", p.kafka.Addr, "--database", p.database,
		"--clicks-topic", p.topics.clicks, "--checkouts-topic", p.topics.checkouts,
		"--group", group, "--listen", listen, "--log-format", "json"}, flags...)...)
	child.Stdout, child.Stderr = log, log
	child.Cancel = func() error { return child.Process.Signal(syscall.SIGTERM) }
	child.WaitDelay = 30 * time.Second

	postgres := cpuOfFamily(p.postgres.PID())
	began := time.Now()
	if err := child.Start(); err != nil {
		return Figures{}, fmt.Errorf("start firstclick: %w", err)
	}
	watched, ended := make(chan float64, 1), make(chan struct{})
	go func() { watched <- watchMemory(child.Process.Pid, ended) }()
	err = child.Wait()
	wall := time.Since(began).Seconds()
	close(ended)
	peak := <-watched
	if err != nil {
		return Figures{}, fmt.Errorf("run firstclick: %w\n%s", err, tail(logPath))
	}
	figures := Figures{Wall: wall, Peak: peak, Postgres: cpuOfFamily(p.postgres.PID()) - postgres}
	if usage, ok := child.ProcessState.SysUsage().(*syscall.Rusage); ok {
		figures.CPU = seconds(usage.Utime) + seconds(usage.Stime)
	}
	return figures, nil
}

// watchMemory returns the greatest resident memory of a process in MiB as the system keeps it, last read at most 20 ms before
// the process ended; 0 where the system does not tell.
// https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
func watchMemory(pid int, ended <-chan struct{}) (peak float64) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ended:
			return peak
		case <-ticker.C:
			peak = max(peak, peakMemory(pid))
		}
	}
}

func peakMemory(pid int) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 64)
			if err != nil {
				return 0
			}
			return kib / 1024
		}
	}
	return 0
}
