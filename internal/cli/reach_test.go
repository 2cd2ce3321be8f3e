package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"firstclick/internal/kafkaconn"
	"firstclick/internal/kafkatest"
)

func TestReachGivesUpAfterThirtySeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		began := time.Now()
		attempts := 0
		err := reachServer(
			t.Context(),
			slog.New(slog.NewTextHandler(&log, nil)),
			"Kafka",
			"a:1",
			func(context.Context) error {
				attempts++
				return syscall.ECONNREFUSED
			},
		)
		if err == nil || err.Error() != "Kafka at a:1 did not answer for 30s: connection refused" {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != reachWithin {
			t.Errorf("took %s", took)
		}
		if attempts < 50 {
			t.Errorf("only %d attempts", attempts)
		}
		if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "Kafka at a:1") {
			t.Errorf("want one line, got %q", log.String())
		}
	})
}

func TestReachLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := reachServer(t.Context(), slog.New(slog.DiscardHandler), "it", "a", func(ctx context.Context) error {
			if time.Since(began) < 12*time.Second {
				<-ctx.Done() // no answer at all: the attempt ends by itself
				return ctx.Err()
			}
			return nil
		})
		if err != nil || time.Since(began) > 16*time.Second {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}

func TestReachDoesNotRepeatWhatWasRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := reachServer(t.Context(), slog.New(slog.DiscardHandler), "Postgres", "a:2", func(context.Context) error {
			return &refusedError{errors.New("wrong password")}
		})
		if err == nil || err.Error() != "Postgres at a:2 refuses us: wrong password" || time.Since(began) != 0 {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}

// An untrusted certificate is refused without waiting.
func TestReachDoesNotWaitForCertificates(t *testing.T) {
	server := httptest.NewTLSServer(nil) // for its certificate
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		0o600); err != nil {
		t.Fatal(err)
	}
	open := &tls.Config{Certificates: server.TLS.Certificates}
	closed := &tls.Config{Certificates: server.TLS.Certificates, ClientAuth: tls.RequireAnyClientCert}
	for name, c := range map[string]struct {
		listener *tls.Config
		config   kafkaconn.Config
		want     string // empty: it is reached
	}{
		"trusted":           {open, kafkaconn.Config{TLS: true, CAFile: ca}, ""},
		"unknown authority": {open, kafkaconn.Config{TLS: true}, "certificate signed by unknown authority"},
		"none of ours":      {closed, kafkaconn.Config{TLS: true, CAFile: ca}, "certificate required"},
	} {
		c.config.Brokers = kafkatest.FakeCluster(t, kfake.TLS(c.listener)).ListenAddrs()
		err := reachKafka(t.Context(), slog.New(slog.DiscardHandler), c.config)
		var failed *reachError
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (!errors.As(err, &failed) || !strings.Contains(err.Error(), "refuses us: ") ||
			!strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// A silent server uses up the time of an attempt; the look-up of the next address then fails at
// once.
func TestReachSaysThatNothingIsSaid(t *testing.T) {
	late := &net.OpError{Op: "dial", Err: &net.DNSError{Err: "i/o timeout", Name: "broker", IsTimeout: true}}
	if got := rootCause(late); got != "no answer within 5s" {
		t.Errorf("got %q", got)
	}
	if got := rootCause(&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "broker",
		IsNotFound: true}}); got != "lookup broker: no such host" {
		t.Errorf("got %q", got)
	}
}

// After Ctrl-C the message does not quote an error of Go.
func TestStoppedBeforeItWasDone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := invoke(
		ctx,
		map[string]string{"KAFKA_BROKERS": "127.0.0.1:1", "DATABASE_URL": "postgres://127.0.0.1:1/x"},
		"verify",
	)
	if err == nil || err.Error() != "stopped before it was done" {
		t.Errorf("got %v", err)
	}
	if err := stopped(fmt.Errorf("read clicks: %w", context.Canceled)); !errors.Is(err, errStopped) ||
		!strings.Contains(err.Error(), "read clicks") {
		t.Errorf("got %v", err)
	}
}

func TestReachIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, cancel)
		err := reachServer(ctx, slog.New(slog.DiscardHandler), "it", "a", func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}
