package ingest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/pipeline/ending"
)

// An instance that starts while the network to Kafka ends connections waits and does not end. Chaos
// found this with seed 100.
func TestTransientErrors(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for _, c := range []struct {
		err    error
		passes bool
	}{
		{&kgo.ErrFirstReadEOF{}, true},
		{refused, true},
		{&net.DNSError{Err: "no such host", Name: "broker", IsNotFound: true}, true},
		{kerr.LeaderNotAvailable, true},
		{context.DeadlineExceeded, true},
		{kerr.TopicAuthorizationFailed, false},
		{kerr.SaslAuthenticationFailed, false},
		{&ending.GapError{}, false},
		{&ending.ConfigError{}, false},
		{errors.New("anything else"), false},
	} {
		if got := Transient(fmt.Errorf("ask Kafka for its topics: %w", c.err)); got != c.passes {
			t.Errorf("%v passes: %v, want %v", c.err, got, c.passes)
		}
	}
}
