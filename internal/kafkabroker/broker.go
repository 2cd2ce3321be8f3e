package kafkabroker

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/internal/childproc"
	"firstclick/internal/ports"
)

// startTime is how long a broker may take until it answers.
const startTime = 90 * time.Second

// Options change how Start runs a broker.
type Options struct {
	Port     int               // of 127.0.0.1; 0 picks a free one
	Heap     string            // of Java, like "1g"; "": 512m
	Java     []string          // more options of the Java machine
	Settings map[string]string // broker properties, above those of this package
	Quick    bool              // quick to start rather than quick for long

	Temporary bool // the directory goes with this process
}

// Broker is one real Kafka broker, a cluster by itself. Its methods are for one goroutine at a
// time.
type Broker struct {
	Addr string // host:port for clients
	Dir  string // holds data/, server.properties and broker.log

	java       string
	jars       string
	port       int
	controller int // port
	options    Options
	process    *childproc.Process
}

// Start runs a broker with its data in dir, which it makes where it is missing, and returns
// when the broker answers. It takes over the data of an earlier run. The broker ends at the latest
// with this process. https://kafka.apache.org/41/documentation.html#brokerconfigs
func Start(dir string, o Options) (_ *Broker, err error) {
	b := &Broker{Dir: dir, options: o}
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	if err := b.prepare(context.WithoutCancel(ctx)); err != nil {
		return nil, fmt.Errorf("prepare a Kafka broker in %s: %w", dir, err)
	}
	for attempt := 1; ; attempt++ {
		free, err := ports.Free(2)
		if err != nil {
			return nil, err
		}
		b.port, b.controller = cmp.Or(o.Port, free[0]), free[1]
		b.Addr = fmt.Sprintf("127.0.0.1:%d", b.port)
		if err = b.start(ctx); err == nil {
			return b, nil
		}
		// Another process may take a port of our choice in between.
		if o.Port != 0 || attempt == 5 || !strings.Contains(err.Error(), "Address already in use") {
			return nil, fmt.Errorf("start a Kafka broker: %w", err)
		}
	}
}

func (b *Broker) data() string       { return filepath.Join(b.Dir, "data") }
func (b *Broker) properties() string { return filepath.Join(b.Dir, "server.properties") }
func (b *Broker) logFile() string    { return filepath.Join(b.Dir, "broker.log") }

func (b *Broker) prepare(ctx context.Context) (err error) {
	if b.Dir, err = filepath.Abs(b.Dir); err != nil {
		return err
	}
	if b.java, err = java(ctx); err != nil {
		return err
	}
	if b.jars, err = jars(ctx); err != nil {
		return err
	}
	return os.MkdirAll(b.Dir, 0o755)
}

// start writes the properties, formats the storage where there is none, and starts the process. The
// same data may have had another start in between: the properties are written each time.
func (b *Broker) start(ctx context.Context) (err error) {
	if err := b.writeProperties(); err != nil {
		return fmt.Errorf("write the broker's properties: %w", err)
	}
	if _, err := os.Stat(filepath.Join(b.data(), "meta.properties")); errors.Is(err, os.ErrNotExist) {
		var id [16]byte
		_, _ = rand.Read(id[:]) // never fails
		id[0] &= 0x7f           // no leading dash, which would be read as an option
		command := exec.CommandContext(ctx, b.java, b.javaArgs(true, "kafka.tools.StorageTool", "format",
			"--cluster-id", base64.RawURLEncoding.EncodeToString(id[:]), "--config", b.properties())...)
		command.Dir = b.Dir
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("format the storage: %w\n%s", err, tail(out, 4000))
		}
	}
	log, err := os.OpenFile(b.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }() // the broker has its own
	config := childproc.Config{Args: append([]string{b.java},
		b.javaArgs(b.options.Quick, "kafka.Kafka", b.properties())...),
		Dir: b.Dir, Log: log, EndSignal: "KILL"}
	if b.options.Temporary {
		config.RemoveDir = b.Dir
	}
	if b.process, err = childproc.Start(config); err != nil {
		return err
	}
	return b.waitUntilReady(ctx)
}

func (b *Broker) javaArgs(light bool, main string, args ...string) []string {
	machine := []string{"-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"}
	if light { // most of a start is compiling
		machine = []string{"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"}
	}
	return slices.Concat(machine, b.options.Java, []string{"-Xmx" + cmp.Or(b.options.Heap, "512m"),
		"-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-cp", filepath.Join(b.jars, "*"), main}, args)
}

func (b *Broker) writeProperties() error {
	settings := map[string]string{
		"process.roles":            "broker,controller",
		"node.id":                  "1",
		"controller.quorum.voters": fmt.Sprintf("1@127.0.0.1:%d", b.controller),
		"listeners": fmt.Sprintf("PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d", b.port,
			b.controller),
		"advertised.listeners":           fmt.Sprintf("PLAINTEXT://127.0.0.1:%d", b.port),
		"controller.listener.names":      "CONTROLLER",
		"inter.broker.listener.name":     "PLAINTEXT",
		"log.dirs":                       b.data(),
		"auto.create.topics.enable":      "false",
		"offsets.topic.num.partitions":   "4",
		"transaction.state.log.min.isr":  "1",
		"log.cleaner.dedupe.buffer.size": "8388608", // of 128 MB by default, a quarter of the heap

		"offsets.topic.replication.factor":                 "1",
		"transaction.state.log.replication.factor":         "1",
		"transaction.state.log.num.partitions":             "4",
		"share.coordinator.state.topic.replication.factor": "1",
		"share.coordinator.state.topic.min.isr":            "1",
		"group.initial.rebalance.delay.ms":                 "0",
		// After a kill the controller lets the broker in again only when the session of its
		// predecessor has ended, by default 9 s.
		"broker.session.timeout.ms":    "4000",
		"broker.heartbeat.interval.ms": "500",
		"group.min.session.timeout.ms": "1000",
	}
	maps.Copy(settings, b.options.Settings)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&text, "%s=%s\n", name, settings[name])
	}
	return os.WriteFile(b.properties(), []byte(text.String()), 0o600)
}

func (b *Broker) waitUntilReady(ctx context.Context) error {
	for {
		err := b.ask(ctx)
		if b.process.Ended(20 * time.Millisecond) {
			return fmt.Errorf("the broker ended: %w\n%s", b.process.Result(), b.logTail())
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(fmt.Errorf("no answer within %v: %w\n%s", startTime, err, b.logTail()), b.Kill())
		}
	}
}

// ask succeeds when the broker takes part in its cluster: it names itself in the metadata only once
// its controller has let it in.
func (b *Broker) ask(ctx context.Context) error {
	conn, err := net.DialTimeout("tcp", b.Addr, time.Second) // a client of Kafka would first wait a while
	if err != nil {
		return err
	}
	_ = conn.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.RetryTimeout(2*time.Second))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	metadata, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, client)
	if err != nil {
		return err
	}
	if len(metadata.Brokers) == 0 {
		return errors.New("the broker is not yet in its cluster")
	}
	// Ours cannot listen where another broker does, and ends; until it has, the other must not be
	// taken for it.
	meta, err := os.ReadFile(filepath.Join(b.data(), "meta.properties"))
	if err != nil {
		return fmt.Errorf("read the cluster id: %w", err)
	}
	if metadata.ClusterID == nil || !strings.Contains(string(meta)+"\n", "cluster.id="+*metadata.ClusterID+"\n") {
		return fmt.Errorf("another broker answers at %s", b.Addr)
	}
	return nil
}

func (b *Broker) logTail() string {
	text, err := os.ReadFile(b.logFile())
	if err != nil {
		return err.Error()
	}
	return string(tail(text, 6000))
}

// PID is the process id of the broker's Java process.
func (b *Broker) PID() int { return b.process.PID() }

// Stop ends the broker in good order (SIGTERM) and returns when it has ended. When ctx ends before,
// it is killed. A broker that has ended is no error.
func (b *Broker) Stop(ctx context.Context) error {
	if err := b.process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := b.process.Wait(ctx); err != nil {
		return errors.Join(fmt.Errorf("stop the Kafka broker: %w", err), b.Kill())
	}
	return nil
}

// Kill ends the broker at once (SIGKILL) and returns when it has ended.
func (b *Broker) Kill() error {
	if err := b.process.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return b.process.Wait(ctx)
}

// Pause stops the broker where it stands (SIGSTOP) and returns when all its threads have stopped:
// its connections stay, and nothing answers.
func (b *Broker) Pause() error { return b.process.Pause() }

// Resume lets a paused broker go on.
func (b *Broker) Resume() error { return b.process.Resume() }

// Restart starts the broker again on the same port and data; one that runs is stopped first.
func (b *Broker) Restart(ctx context.Context) error {
	if err := b.Stop(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if err := b.start(ctx); err != nil {
		return fmt.Errorf("restart the Kafka broker at %s: %w", b.Addr, err)
	}
	return nil
}
