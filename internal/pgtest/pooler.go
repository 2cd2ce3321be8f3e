package pgtest

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Pooler stands between clients and the database, as pgbouncer does in front of each server
// connection that it lends: it passes on only the settings that it keeps track of, and gives out
// process ids of its own. A strict one refuses other settings, as pgbouncer does by default; one
// that is not drops them (ignore_startup_parameters). It returns the database's address by way of
// it.
func Pooler(t testing.TB, dsn string, strict bool) string {
	t.Helper()
	address, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	server := address.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var clients sync.WaitGroup
	t.Cleanup(clients.Wait)
	t.Cleanup(func() { _ = listener.Close() })
	clients.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			clients.Go(func() {
				defer client.Close()
				if err := pool(client, server, strict); err != nil && !errors.Is(err, io.EOF) &&
					!errors.Is(err, net.ErrClosed) {
					t.Logf("pooler: %v", err)
				}
			})
		}
	})
	address.Host = listener.Addr().String()
	return address.String()
}

// tracked are the settings that pgbouncer keeps per client.
// https://www.pgbouncer.org/config.html#track_extra_parameters
var tracked = []string{"user", "database", "client_encoding", "datestyle", "timezone", "standard_conforming_strings",
	"application_name", "intervalstyle"}

func pool(client net.Conn, server string, strict bool) error {
	message, err := pgproto3.NewBackend(client, client).ReceiveStartupMessage()
	if err != nil {
		return err
	}
	start, ok := message.(*pgproto3.StartupMessage)
	if !ok {
		return nil // a request to cancel
	}
	for name := range start.Parameters {
		if slices.Contains(tracked, strings.ToLower(name)) {
			continue
		}
		if strict {
			refusal, err := (&pgproto3.ErrorResponse{Severity: "FATAL", Code: "08P01",
				Message: "unsupported startup parameter: " + name}).Encode(nil)
			if err == nil {
				_, err = client.Write(refusal)
			}
			return err
		}
		delete(start.Parameters, name)
	}
	backend, err := net.Dial("tcp", server)
	if err != nil {
		return err
	}
	defer backend.Close()
	first, err := start.Encode(nil)
	if err != nil {
		return err
	}
	if _, err := backend.Write(first); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(backend, client)
		_ = backend.Close()
	}()
	err = answers(client, backend)
	_ = client.Close()
	<-done
	return err
}

// answers passes the server's messages on, with another process id.
func answers(client io.Writer, backend io.Reader) error {
	for {
		head := make([]byte, 5)
		if _, err := io.ReadFull(backend, head); err != nil {
			return err
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(backend, body); err != nil {
			return err
		}
		if head[0] == 'K' { // BackendKeyData
			binary.BigEndian.PutUint32(body, 1)
		}
		if _, err := client.Write(append(head, body...)); err != nil {
			return err
		}
	}
}
