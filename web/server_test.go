package web_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"firstclick/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func get(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	answer, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func TestServesHealthAndMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "firstclick_sample", Help: "a sample"})
	registry.MustRegister(gauge)
	gauge.Set(42)
	server, err := web.New(web.Config{Listen: "127.0.0.1:0", Gatherer: registry})
	if err != nil {
		t.Fatal(err)
	}
	if server.Addr().Port == 0 {
		t.Fatal("port 0 stayed 0")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	base := "http://" + server.Addr().String()

	if code, body := get(t, client, base+"/livez"); code != 200 || body != "ok\n" {
		t.Errorf("livez: %d %q", code, body)
	}
	if code, body := get(t, client, base+"/metrics"); code != 200 || !strings.Contains(body, "firstclick_sample 42") {
		t.Errorf("metrics: %d %q", code, body)
	}
	if code, _ := get(t, client, base+"/nothing"); code != 404 {
		t.Errorf("nothing: %d", code)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
	if _, err := client.Get(base + "/livez"); err == nil {
		t.Error("still served after the end")
	}
}

func TestTakenPort(t *testing.T) {
	first, err := web.New(web.Config{Listen: "127.0.0.1:0", Gatherer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := web.New(web.Config{Listen: first.Addr().String(), Gatherer: prometheus.NewRegistry()}); !errors.Is(
		err,
		web.ErrPortTaken,
	) {
		t.Fatalf("got %v, want ErrPortTaken", err)
	}
}
