package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"firstclick/internal/ports"
)

// instance is a firstclick that runs.
type instance struct {
	command *exec.Cmd
	log     string
	address string
	began   time.Time
	ended   chan struct{}
	err     error // good when ended is closed
}

// launch starts `firstclick run` with a port of its own.
func (p *place) launch(name string, args ...string) (*instance, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	i := &instance{log: filepath.Join(p.dir, name+".log"), address: address, ended: make(chan struct{})}
	log, err := os.Create(i.log)
	if err != nil {
		return nil, fmt.Errorf("make the log: %w", err)
	}
	defer log.Close()
	all := append([]string{"run", "--kafka", p.kafka.Addr, "--database", p.database, "--listen", address, "--log-format", "json", "--pprof"}, args...)
	i.command = exec.Command(p.program, all...)
	i.command.Stdout, i.command.Stderr = log, log
	i.began = time.Now()
	if err := i.command.Start(); err != nil {
		return nil, fmt.Errorf("start firstclick: %w", err)
	}
	go func() {
		i.err = i.command.Wait()
		close(i.ended)
	}()
	return i, nil
}

func freeAddress() (string, error) {
	free, err := ports.Free(1)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(free[0])), nil
}

func (i *instance) pid() int { return i.command.Process.Pid }

// ready waits until /readyz says so, and returns how long that took from the start of the process.
func (i *instance) ready(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for {
		if i.asks(ctx) {
			return time.Since(i.began), nil
		}
		select {
		case <-ticker.C:
		case <-i.ended:
			return 0, fmt.Errorf("firstclick ended: %w\n%s", i.err, tail(i.log))
		case <-ctx.Done():
			return 0, fmt.Errorf("wait for firstclick: %w\n%s", ctx.Err(), tail(i.log))
		}
	}
}

func (i *instance) asks(ctx context.Context) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+i.address+"/readyz", http.NoBody)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// stop ends it in good order.
func (i *instance) stop() error {
	if err := i.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop firstclick: %w", err)
	}
	select {
	case <-i.ended:
	case <-time.After(30 * time.Second):
		return errors.Join(errors.New("firstclick does not end"), i.kill())
	}
	if i.err != nil {
		return fmt.Errorf("firstclick ended: %w\n%s", i.err, tail(i.log))
	}
	return nil
}

// kill ends it at once.
func (i *instance) kill() error {
	if err := i.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill firstclick: %w", err)
	}
	<-i.ended
	return nil
}
