//go:build prometheus

package grafana_test

import (
	"bufio"
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
	"syscall"
	"testing"
	"time"

	"firstclick/internal/pgtest"
	"firstclick/internal/ports"
	"firstclick/tools/testbed"
)

// patience is for servers to start, and for data to come, on a busy machine.
const patience = 2 * time.Minute

// program finds a program of Prometheus.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: it is in Debian's and Ubuntu's package prometheus (apt-get install "+
			"--no-install-recommends prometheus), and in Homebrew's", name)
	}
	return path
}

func promtool(t *testing.T, input io.Reader, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, "promtool"), args...)
	cmd.Stdin = input
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "error while linting") {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestRulesAndTheirTests(t *testing.T) {
	promtool(t, nil, "check", "config", "../../docker/prometheus/prometheus.yml")
	promtool(t, nil, "check", "rules", "../../docker/prometheus/rules/firstclick.yml")
	promtool(t, nil, "test", "rules", "../../docker/prometheus/tests/firstclick_test.yml")
	rules, err := os.ReadFile("../../docker/prometheus/rules/firstclick.yml")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("../../docker/prometheus/tests/firstclick_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	operations, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		name := m[1]
		if !strings.Contains(string(tests), "alertname: "+name+"\n        exp_alerts:\n") ||
			!strings.Contains(string(tests), "alertname: "+name+"\n        exp_alerts: []") {
			t.Errorf("%s: no test that it fires, or none that it does not", name)
		}
		if !strings.Contains(string(operations), "\n### "+name+"\n") ||
			!strings.Contains(string(rules), "runbook: docs/operations.md#"+strings.ToLower(name)+"\n") {
			t.Errorf("%s: no runbook in docs/operations.md, or not named in the rule", name)
		}
	}
}

// run starts a program that ends with the test. It is told to stop, so that it stops what it has
// started itself.
func run(t *testing.T, path string, args ...string) io.Reader {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	reader, writer := io.Pipe()
	cmd.Stdout, cmd.Stderr = writer, writer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		writer.CloseWithError(cmd.Wait())
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return reader
}

// await reads what a program says until pattern is found, and goes on reading.
func await(t *testing.T, said io.Reader, pattern string) string {
	t.Helper()
	var all strings.Builder
	want := regexp.MustCompile(pattern)
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		fmt.Fprintln(&all, lines.Text())
		if m := want.FindStringSubmatch(lines.Text()); m != nil {
			go func() { _, _ = io.Copy(io.Discard, said) }() // ends with the program
			return m[1]
		}
	}
	t.Fatalf("ended without %s (%v): %s", pattern, lines.Err(), all.String())
	return ""
}

func startDemo(t *testing.T) (address string) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "firstclick")
	if err := testbed.Build(t.Context(), binary); err != nil {
		t.Fatal(err)
	}
	return await(t, run(t, binary, "demo", "--dir", pgtest.Dir(t), "--kafka-port", "0", "--database-port", "0",
		"--listen", "127.0.0.1:0"), `Metrics +http://(\S+)/metrics`)
}

// startPrometheus scrapes target every second and knows the rules. It returns the server's address.
func startPrometheus(t *testing.T, target string, args ...string) string {
	t.Helper()
	rules, err := filepath.Abs("../../docker/prometheus/rules/firstclick.yml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\nscrape_configs: "+
		"[{job_name: firstclick, static_configs: [{targets: [%q]}]}]\n", rules, target)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	free, err := ports.Free(1)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", free[0])
	said := run(t, program(t, "prometheus"), append(args, "--config.file", filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", address)...)
	await(t, said, `(Server is ready)`)
	return address
}

// ask returns how many series an answer of Prometheus has.
func ask(t *testing.T, address, path string, query url.Values) (int, error) {
	t.Helper()
	answer, err := http.PostForm("http://"+address+path, query)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	var body struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		return 0, err
	}
	if body.Status != "success" {
		return 0, fmt.Errorf("%s", body.Error)
	}
	var series []json.RawMessage
	if json.Unmarshal(body.Data, &series) == nil {
		return len(series), nil
	}
	var result struct{ Result []json.RawMessage }
	err = json.Unmarshal(body.Data, &result)
	return len(result.Result), err
}

// question is a query of a panel or a variable, or a metric of an alert.
type question struct {
	from, path, expr string
	mayBeEmpty       bool
}

type board struct {
	Panels []struct {
		Title, Type string
		Targets     []struct{ Expr string }
	}
	Templating struct {
		List []struct {
			Name  string
			Query struct{ Query string }
		}
	}
}

// questions are read from the files that Grafana and Prometheus read.
func questions(t *testing.T) []question {
	t.Helper()
	var all []question
	files, err := filepath.Glob("../../grafana/dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no dashboards", err)
	}
	settle := strings.NewReplacer("$group", ".*", "$instance", ".*", "$topic", ".*", "$__rate_interval", "15s")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var b board
		if err := json.Unmarshal(text, &b); err != nil {
			t.Fatal(err)
		}
		for _, p := range b.Panels {
			for _, q := range p.Targets {
				path := "/api/v1/query_range"
				if p.Type == "table" {
					path = "/api/v1/query"
				}
				// What only lists the causes that there are is empty while all is well.
				all = append(all, question{file + ": " + p.Title, path, settle.Replace(q.Expr),
					strings.HasSuffix(q.Expr, "> 0")})
			}
		}
		for _, v := range b.Templating.List {
			metric := regexp.MustCompile(`^label_values\((.*), \w+\)$`).FindStringSubmatch(v.Query.Query)
			if metric == nil {
				t.Fatalf("%s: variable %s: %s", file, v.Name, v.Query.Query)
			}
			all = append(all, question{file + ": variable " + v.Name, "/api/v1/series", settle.Replace(metric[1]),
				false})
		}
	}
	rules, err := os.ReadFile("../../docker/prometheus/rules/firstclick.yml")
	if err != nil {
		t.Fatal(err)
	}
	expressions := regexp.MustCompile(`(?m)^        expr: (?:>-\n((?:          `+
		`.*\n)+)|(.*)\n)`).FindAllStringSubmatch(string(rules), -1)
	for _, e := range expressions {
		expr := strings.Join(strings.Fields(e[1]+e[2]), " ")
		all = append(all, question{"alert", "/api/v1/query", expr, true})
		for _, metric := range regexp.MustCompile(`\bfirstclick_\w+|\bup\b`).FindAllString(expr, -1) {
			all = append(all, question{"metric of alert " + expr, "/api/v1/query", metric, false})
		}
	}
	if n := strings.Count(string(rules), "- alert:"); len(expressions) != n {
		t.Fatalf("%d expressions of %d alerts", len(expressions), n)
	}
	return all
}

// Every query of every dashboard and every alert answers in a Prometheus that scrapes a demo,
// whichever kind of histogram it takes; and no alert fires there.
func TestEveryQueryAnswers(t *testing.T) {
	target := startDemo(t)
	all := questions(t)
	for name, args := range map[string][]string{"classic histograms": nil,
		"native histograms": {"--enable-feature=native-histograms"}} {
		t.Run(name, func(t *testing.T) {
			answers(t, startPrometheus(t, target, args...), all)
		})
	}
	metrics, err := http.Get("http://" + target + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer metrics.Body.Close()
	promtool(t, metrics.Body, "check", "metrics")
	becomesReady(t, target)
}

// becomesReady waits until the demo says that it is ready. On a busy machine a check may miss its
// time just now.
func becomesReady(t *testing.T, target string) {
	t.Helper()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(patience); ; {
		ready, err := http.Get("http://" + target + "/readyz?verbose")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(ready.Body)
		ready.Body.Close()
		if ready.StatusCode == http.StatusOK && err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("readyz: %d %s %v", ready.StatusCode, text, err)
		}
	}
}

func answers(t *testing.T, server string, all []question) {
	t.Helper()
	deadline := time.After(patience)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for open := all; ; {
		var empty []question
		for _, q := range open {
			now := time.Now()
			stamp := func(t time.Time) string { return fmt.Sprint(t.Unix()) }
			n, err := ask(t, server, q.path, url.Values{"query": {q.expr}, "match[]": {q.expr},
				"start": {stamp(now.Add(-10 * time.Second))}, "end": {stamp(now)}, "step": {"1"}})
			if err != nil {
				t.Fatalf("%s: %s: %v", q.from, q.expr, err)
			}
			if n == 0 && !q.mayBeEmpty {
				empty = append(empty, q)
			}
		}
		if open = empty; len(open) == 0 {
			break
		}
		select {
		case <-ticker.C:
		case <-deadline:
			for _, q := range open {
				t.Errorf("%s: no data: %s", q.from, q.expr)
			}
			return
		}
	}
	if firing, err := ask(t, server, "/api/v1/query",
		url.Values{"query": {`ALERTS{alertstate="firing"}`}}); err != nil || firing > 0 {
		t.Errorf("%d alerts fire in a demo that is well, %v", firing, err)
	}
	t.Logf("%d queries", len(all))
}
