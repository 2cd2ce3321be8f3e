//go:build realkafka && prometheus

package docker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// prometheus runs with the service's arguments on its files, where the instances are found by their
// addresses instead of by Docker's DNS.
func (s *stage) prometheus(t *testing.T) (address string) {
	t.Helper()
	service := s.project.Services["prometheus"]
	config := read(t, "docker/prometheus/prometheus.yml")
	discovery := regexp.MustCompile(`(?m)^    dns_sd_configs:\n(?:      .*\n)+`)
	if !discovery.MatchString(config) {
		t.Fatalf("the configuration looks for nobody:\n%s", config)
	}
	config = discovery.ReplaceAllString(config,
		fmt.Sprintf("    static_configs: [{targets: ['127.0.0.1:%s', '127.0.0.1:%s']}]\n",
			s.port(t, "firstclick:8081"), s.port(t, "firstclick-2:8081")))
	if err := os.CopyFS(filepath.Join(s.dir, "prometheus", "rules"),
		os.DirFS(onHost(service, "/etc/prometheus/rules"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "prometheus", "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	moved := strings.NewReplacer("=/etc/prometheus/", "="+filepath.Join(s.dir, "prometheus")+"/", "=/prometheus",
		"="+filepath.Join(s.dir, "prometheus-data"))
	address = "127.0.0.1:" + s.port(t, "prometheus:9090")
	args := []string{"--web.listen-address=" + address}
	for _, word := range service.Command {
		args = append(args, moved.Replace(word))
	}
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatalf("Debian's package prometheus is needed: %v", err)
	}
	start(t, "prometheus", exec.Command(program, args...), 0)
	check := service.HealthCheck.Test
	ready := s.here(t, "prometheus", check[len(check)-1])
	eventually(t, ready, func() (bool, error) {
		answer, err := http.Get(ready)
		if err != nil {
			return false, err
		}
		defer answer.Body.Close()
		return answer.StatusCode == http.StatusOK, nil
	})
	return address
}

// value is the one number that a query answers, empty where it answers nothing.
func value(address, query string) (string, error) {
	answer, err := http.PostForm("http://"+address+"/api/v1/query", url.Values{"query": {query}})
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	var body struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s: %s", query, answer.Status, text)
	}
	if err := json.Unmarshal(text, &body); err != nil {
		return "", fmt.Errorf("%s: %s: %w", query, text, err)
	}
	if len(body.Data.Result) == 0 {
		return "", nil
	}
	return fmt.Sprint(body.Data.Result[0].Value[1]), nil
}

// lag is make lag: Kafka's own tool sees how far the group is.
func (s *stage) lag(t *testing.T) {
	t.Helper()
	s.tool(t, "kafka-consumer-groups.sh", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand")
	recipe := regexp.MustCompile(`(?m)^lag: .*\n\t@\$\(COMPOSE\) exec kafka (.*)$`).FindStringSubmatch(read(t,
		"Makefile"))
	if recipe == nil {
		t.Fatal("no recipe of make lag")
	}
	line := strings.ReplaceAll(s.here(t, "", recipe[1]), "$(call setting,KAFKA_GROUP,firstclick)", "firstclick")
	eventually(t, "Kafka's tool knows the group's offsets", func() (bool, error) {
		said, err := exec.CommandContext(t.Context(), "sh", "-c", line).CombinedOutput()
		if err != nil { // it gives the broker 5 s for an answer
			return false, fmt.Errorf("run Kafka's tool: %w: %s", err, said)
		}
		if all := regexp.MustCompile(`(?m)^firstclick +checkouts +\d+ +\d+ +\d+ +\d+ `).FindAll(said,
			-1); len(all) < 3 {
			return false, fmt.Errorf("it says: %s", said)
		}
		return true, nil
	})
}

// watch is make watch: what it asks, Postgres answers with five rows.
func (s *stage) watch(t *testing.T) {
	t.Helper()
	query := regexp.MustCompile(`(?m)^LATEST := (.*)$`).FindStringSubmatch(read(t, "Makefile"))
	conn, err := pgx.Connect(t.Context(), "postgres://postgres:postgres@127.0.0.1:"+s.port(t,
		"postgres:5432")+"/postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	rows, err := conn.Query(t.Context(), query[1])
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for rows.Next() {
		n++
	}
	if rows.Err() != nil || n != 5 {
		t.Errorf("%d rows, %v", n, rows.Err())
	}
}
