//go:build realkafka

package kafkabroker_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"firstclick/internal/kafkabroker"
	"firstclick/internal/kafkatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRealIsOneBroker(t *testing.T) {
	first := kafkatest.Real(t)
	if second := kafkatest.Real(t); second != first {
		t.Errorf("two brokers: %s, %s", first, second)
	}
	brokers := []string{first}
	topic := kafkatest.Name(t, "clicks")
	if other := kafkatest.Name(t, "clicks"); other == topic {
		t.Errorf("one name twice: %s", other)
	}
	kafkatest.CreateTopics(t, brokers, 3, map[string]string{"retention.ms": "-1"}, topic)
	if first := kafkatest.Produce(t, brokers, topic, 2, []byte("a"), []byte("b")); first != 0 {
		t.Errorf("first offset %d", first)
	}
	if got := fmt.Sprint(kafkatest.Consume(t, brokers, topic, 2, 2)); got != "[a b]" {
		t.Errorf("read %s", got)
	}
}

func TestRealGroupAndTransaction(t *testing.T) {
	brokers := []string{kafkatest.Real(t)}
	topic := kafkatest.Name(t, "events")
	kafkatest.CreateTopics(t, brokers, 1, nil, topic)
	producer, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.TransactionalID(topic),
		kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	for _, end := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		if err := producer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := producer.ProduceSync(t.Context(), kgo.StringRecord(fmt.Sprint(end))).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := producer.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	consumer, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumerGroup(topic), kgo.ConsumeTopics(topic),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	records := consumer.PollFetches(ctx).Records()
	if len(records) != 1 || string(records[0].Value) != fmt.Sprint(kgo.TryCommit) {
		t.Errorf("read %v, want the committed record alone", records)
	}
}

// temporary runs a broker of the test's own.
func temporary(t *testing.T) *kafkabroker.Broker {
	t.Helper()
	broker, err := kafkabroker.Start(t.TempDir(), kafkabroker.Options{Quick: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := broker.Kill(); err != nil {
			t.Errorf("end the test's broker: %v", err)
		}
	})
	return broker
}

func TestRealKeepsItsDataThroughFaults(t *testing.T) {
	broker := temporary(t)
	brokers := []string{broker.Addr}
	kafkatest.CreateTopics(t, brokers, 1, nil, "clicks")
	kafkatest.Produce(t, brokers, "clicks", 0, []byte("before"))
	for _, fault := range []struct {
		name string
		end  func() error
	}{
		{"stop", func() error { return broker.Stop(t.Context()) }},
		{"kill", broker.Kill},
	} {
		t.Run(fault.name, func(t *testing.T) {
			began, pid := time.Now(), broker.PID()
			if err := fault.end(); err != nil {
				t.Fatal(err)
			}
			t.Logf("ended in %v", time.Since(began))
			if !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
				t.Error("the process is still there")
			}
			began = time.Now()
			if err := broker.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Logf("started in %v", time.Since(began))
			if broker.Addr != brokers[0] {
				t.Errorf("address %s became %s", brokers[0], broker.Addr)
			}
			if got := kafkatest.Consume(t, brokers, "clicks", 0, 1)[0]; got != "before" {
				t.Errorf("read %q", got)
			}
		})
	}
	t.Run("another start on the same data", func(t *testing.T) {
		if err := broker.Kill(); err != nil {
			t.Fatal(err)
		}
		again, err := kafkabroker.Start(broker.Dir, kafkabroker.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := again.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			if err := broker.Restart(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		if got := kafkatest.Consume(t, []string{again.Addr}, "clicks", 0, 1)[0]; got != "before" {
			t.Errorf("read %q", got)
		}
	})
	t.Run("pause", func(t *testing.T) {
		if err := broker.Pause(); err != nil {
			t.Fatal(err)
		}
		// the handshake does not heed the context
		client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RequestTimeoutOverhead(300*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := client.Ping(ctx); err == nil {
			t.Error("a paused broker answers")
		}
		if err := broker.Resume(); err != nil {
			t.Fatal(err)
		}
		// the other one's 300 ms are few for a broker that has just woken up
		patient, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
		if err != nil {
			t.Fatal(err)
		}
		defer patient.Close()
		if err := patient.Ping(t.Context()); err != nil {
			t.Errorf("after the pause: %v", err)
		}
	})
}

func TestRealSaysWhyItDoesNotStart(t *testing.T) {
	_, err := kafkabroker.Start(t.TempDir(),
		kafkabroker.Options{Settings: map[string]string{"log.segment.bytes": "many"}})
	if err == nil || !strings.Contains(err.Error(), "log.segment.bytes") {
		t.Errorf("error %v, want one that names the property", err)
	}
}

func TestRealPortInUse(t *testing.T) {
	_, port, err := net.SplitHostPort(kafkatest.Real(t))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	broker, err := kafkabroker.Start(t.TempDir(), kafkabroker.Options{Port: n})
	if err == nil {
		_ = broker.Kill()
	}
	if err == nil || !strings.Contains(err.Error(), "Address already in use") {
		t.Errorf("error %v", err)
	}
}

func TestRealWithoutJavaOrMaven(t *testing.T) {
	empty := t.TempDir()
	t.Run("java", func(t *testing.T) {
		t.Setenv("PATH", empty)
		t.Setenv("JAVA_HOME", "")
		_, err := kafkabroker.Start(t.TempDir(), kafkabroker.Options{})
		if err == nil || !strings.Contains(err.Error(), "install Java 17") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("old java", func(t *testing.T) {
		bin := t.TempDir()
		if err := os.WriteFile(filepath.Join(bin, "java"),
			[]byte("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", bin)
		t.Setenv("JAVA_HOME", "")
		_, err := kafkabroker.Start(t.TempDir(), kafkabroker.Options{})
		if err == nil || !strings.Contains(err.Error(), "is Java 11") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("maven", func(t *testing.T) {
		bin := t.TempDir()
		if err := os.WriteFile(filepath.Join(bin, "java"),
			[]byte("#!/bin/sh\necho 'openjdk version \"21.0.2\"' >&2\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", bin)
		t.Setenv("JAVA_HOME", "")
		t.Setenv("XDG_CACHE_HOME", empty) // without jars
		t.Setenv("HOME", empty)
		_, err := kafkabroker.Start(t.TempDir(), kafkabroker.Options{})
		if err == nil || !strings.Contains(err.Error(), "install Maven") {
			t.Errorf("error %v", err)
		}
	})
}
