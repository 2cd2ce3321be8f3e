package testbed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"firstclick/internal/childproc"
)

// Instance is a firstclick that runs, with a log in JSON.
type Instance struct {
	*childproc.Process
	LogFile string
	Began   time.Time

	mu      sync.Mutex
	address string // "": not yet in the log
}

// Start runs a binary with a log and an environment; nil is that of this process.
func Start(binary, logFile string, env []string, args ...string) (*Instance, error) {
	log, err := os.Create(logFile)
	if err != nil {
		return nil, fmt.Errorf("make the log: %w", err)
	}
	defer log.Close() // the process has its own
	args = append([]string{binary, "run", "--listen", "127.0.0.1:0", "--log-format", "json"}, args...)
	began := time.Now()
	process, err := childproc.Start(childproc.Config{Args: args, Log: log, EndSignal: "KILL", Env: env})
	if err != nil {
		return nil, err
	}
	return &Instance{Process: process, LogFile: logFile, Began: began}, nil
}

// Stop ends an instance by SIGTERM; it must end within the time, and well.
func (i *Instance) Stop(within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if err := i.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := i.Wait(ctx); err != nil {
		return errors.Join(err, i.Kill())
	}
	if err := i.Result(); err != nil {
		return fmt.Errorf("firstclick ended: %w\n%s", err, Tail(i.LogFile, 10))
	}
	return nil
}

// Kill ends an instance by SIGKILL.
func (i *Instance) Kill() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(i.Signal(syscall.SIGKILL), i.Wait(ctx))
}

// Poll is the function Poll for something that an instance does. It fails when the instance ends.
func (i *Instance) Poll(ctx context.Context, every time.Duration, done func() bool) error {
	err := Poll(ctx, every, func() (bool, error) {
		if done() {
			return true, nil
		}
		if i.Ended(0) {
			return false, fmt.Errorf("firstclick ended: %w", i.Result())
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("wait for firstclick: %w\n%s", err, Tail(i.LogFile, 10))
	}
	return nil
}

// Ready waits until /readyz answers well, and returns how long that took from the start.
func (i *Instance) Ready(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := i.Poll(ctx, 2*time.Millisecond, func() bool {
		answer, err := i.get(ctx, "/readyz")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	return time.Since(i.Began), err
}

// Metrics returns what an instance shows to Prometheus: by name the sum of its series, and by
// name{topic="..."} the sum of those of one topic.
func (i *Instance) Metrics(ctx context.Context) (map[string]float64, error) {
	answer, err := i.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("read the metrics: %w", err)
	}
	sums := map[string]float64{}
	for name, family := range families {
		for _, m := range family.Metric {
			v := m.GetGauge().GetValue() + m.GetCounter().GetValue()
			sums[name] += v
			for _, l := range m.Label {
				if l.GetName() == "topic" {
					sums[fmt.Sprintf("%s{topic=%q}", name, l.GetValue())] += v
				}
			}
		}
	}
	return sums, nil
}

func (i *Instance) get(ctx context.Context, path string) (*http.Response, error) {
	address, err := i.Address()
	if err != nil {
		return nil, err
	}
	return Get(ctx, "http://"+address+path, false)
}

// Get requests an address. To compress an answer costs an instance more than all else about it.
func Get(ctx context.Context, url string, compressed bool) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	if !compressed {
		request.Header.Set("Accept-Encoding", "identity")
	}
	return http.DefaultClient.Do(request)
}

// Address is where an instance serves its page, as its log says. A nil instance is an error.
func (i *Instance) Address() (string, error) {
	if i == nil {
		return "", errors.New("no instance runs")
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.address != "" {
		return i.address, nil
	}
	text, err := os.ReadFile(i.LogFile)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		var entry struct{ Msg, Address string }
		if json.Unmarshal([]byte(line), &entry) == nil && strings.HasPrefix(entry.Msg, "serving ") {
			i.address = entry.Address
			return i.address, nil
		}
	}
	return "", errors.New("the instance does not serve its page yet")
}

// Tail is the end of a log.
func Tail(path string, lines int) []byte {
	text, err := os.ReadFile(path)
	if err != nil {
		return []byte(err.Error())
	}
	parts := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return bytes.Join(parts[max(0, len(parts)-lines):], []byte("\n"))
}
