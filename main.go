// Command firstclick answers, for every checkout: which click led to it?
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"firstclick/internal/cli"
	"firstclick/pipeline"
)

// Exit codes. A second signal ends the process with 128 plus its number, as a shell shows it.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitFenced = 3
	exitGap    = 4
	exitUnsure = 5
)

func main() {
	ctx, stop := untilSignal(context.Background())
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		cli.PrintError(os.Stderr, os.LookupEnv, err)
	}
	os.Exit(exitCode(err))
}

func run(ctx context.Context, args []string) error {
	return cli.Run(ctx, args, cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.LookupEnv})
}

func exitCode(err error) int {
	var usage *cli.UsageError
	var config *pipeline.ConfigError
	var gap *pipeline.GapError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage), errors.As(err, &config):
		return exitUsage
	case errors.Is(err, pipeline.ErrFencedAgain):
		return exitFenced
	case errors.As(err, &gap):
		return exitGap
	case errors.Is(err, cli.ErrCannotTell):
		return exitUnsure
	}
	return exitFailed
}

// sameSignal is the time within which a second signal is taken for the first one. A wrapper
// (timeout, a shell, a supervisor) may send it to this process and to its process group.
const sameSignal = 100 * time.Millisecond

// untilSignal returns a context that ends at the first signal to stop: what is under way then
// finishes. The second signal ends the process at once. SIGHUP stays ignored if it is ignored
// (nohup).
func untilSignal(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(parent)
	stopping := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		stopping = append(stopping, syscall.SIGHUP)
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, stopping...)
	finished := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var first time.Time
		for {
			select {
			case s := <-signals:
				if first.IsZero() {
					first = time.Now()
					cancel()
				} else if number, ok := s.(syscall.Signal); ok && time.Since(first) > sameSignal {
					os.Exit(128 + int(number))
				}
			case <-finished:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(finished)
		<-ended
		cancel()
	}
}
