package cli

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHealthcheck(t *testing.T) {
	ready := true
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !ready {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte("[-] kafka: no answer\nnot ready\n"))
			return
		}
		_, _ = w.Write([]byte("ready\n"))
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(args ...string) (string, error) {
		vars := map[string]string{"LISTEN": "127.0.0.1:" + port, "http_proxy": "http://127.0.0.1:1"}
		out, _, err := invoke(t.Context(), vars, append([]string{"healthcheck"}, args...)...)
		return out, err
	}
	if out, err := ask(); err != nil || out != "ready\n" {
		t.Errorf("ready: %q, %v", out, err)
	}
	ready = false
	if out, err := ask(); err == nil || out != "" ||
		!strings.Contains(err.Error(), "503 Service Unavailable: [-] kafka: no answer; not ready") {
		t.Errorf("not ready: %q, %v", out, err)
	}
	if out, err := ask("--live"); err != nil || out != "ok\n" {
		t.Errorf("alive though not ready: %q, %v", out, err)
	}
	server.Close()
	if _, err := ask("--live"); err == nil ||
		!strings.Contains(err.Error(), "no answer from http://127.0.0.1:"+port+"/livez: ") {
		t.Errorf("nobody there: %v", err)
	}
}

func TestAddressOfAHealthcheck(t *testing.T) {
	for listen, want := range map[string]string{
		":8081": "127.0.0.1:8081", "0.0.0.0:8081": "127.0.0.1:8081", "[::]:8081": "[::1]:8081",
		"127.0.0.1:9": "127.0.0.1:9", "[::1]:9": "[::1]:9", "shop:80": "shop:80",
	} {
		if got, err := ownAddress(listen); got != want || err != nil {
			t.Errorf("%s: %s, %v", listen, got, err)
		}
	}
	_, _, err := invoke(t.Context(), nil, "healthcheck", "--listen", ":0")
	var usage *UsageError
	if !errors.As(err, &usage) {
		t.Errorf("port 0: %v", err)
	}
}
