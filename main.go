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

// What the process ends with. A second signal ends it with 128 and the signal's number, as a shell
// would say it.
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

// sameSignal is how soon after the first signal another one is taken for the same: what wraps us
// (timeout, a shell, a supervisor) may send it to us and to our process group. Nobody presses
// Ctrl-C twice that fast.
const sameSignal = 100 * time.Millisecond

// untilSignal ends the context at the first signal that asks to stop: what is under way is
// finished. The second one ends the process at once. Where hanging up is ignored (nohup) it stays
// ignored.
func untilSignal(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(parent)
	asked := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		asked = append(asked, syscall.SIGHUP)
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, asked...)
	finished := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-signals:
			cancel()
		case <-finished:
			return
		}
		first := time.Now()
		for {
			select {
			case s := <-signals:
				if number, ok := s.(syscall.Signal); ok && time.Since(first) > sameSignal {
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
