//go:build realkafka && prometheus

package docker_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkabroker"
	"firstclick/internal/pgserver"
	"firstclick/internal/pgtest"
	"firstclick/internal/ports"
)

// patience is for servers to start, and for data to come, on a busy machine.
const patience = 2 * time.Minute

// stage is the compose file's services as processes of this machine. Addresses in their commands
// and variables are put where they listen here.
type stage struct {
	project *types.Project
	image   image
	dir     string
	java    string
	jars    string
	ports   map[string]string // of this machine, by the service's name and its own port, "kafka:9092"
}

func (s *stage) port(t *testing.T, of string) string {
	t.Helper()
	if s.ports[of] == "" {
		free, err := ports.Free(1 + len(s.ports)) // so many that one of them is none of the others'
		if err != nil {
			t.Fatal(err)
		}
		others := slices.Collect(maps.Values(s.ports))
		for _, port := range free {
			if s.ports[of] = strconv.Itoa(port); !slices.Contains(others, s.ports[of]) {
				break
			}
		}
	}
	return s.ports[of]
}

// here replaces what a service knows of others by where they are here.
func (s *stage) here(t *testing.T, name, text string) string {
	t.Helper()
	pairs := []string{
		"//kafka:9092", "//127.0.0.1:" + s.port(t, "kafka:9092"), "kafka:9092", "127.0.0.1:" + s.port(t, "kafka:9092"),
		"localhost:9093", "127.0.0.1:" + s.port(t, "kafka:9093"), "@localhost:9094", "@127.0.0.1:" +
			s.port(t, "kafka:9094"),
		"@postgres:5432", "@127.0.0.1:" + s.port(t, "postgres:5432"),
		"/var/lib/kafka/data", filepath.Join(s.dir, "kafka"), "/opt/kafka/bin/", filepath.Join(s.dir, "bin") + "/",
		"http://localhost:9090", "http://127.0.0.1:" + s.port(t, "prometheus:9090"),
	}
	if name == "kafka" {
		for _, port := range []string{"9092", "9093", "9094"} {
			pairs = append(pairs, "//:"+port, "//127.0.0.1:"+s.port(t, "kafka:"+port), "localhost/"+port,
				"127.0.0.1/"+s.port(t, "kafka:"+port))
		}
	}
	if strings.HasPrefix(name, "firstclick") {
		pairs = append(pairs, ":8081", "127.0.0.1:"+s.port(t, name+":8081"))
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func (s *stage) service(t *testing.T, name string) (command []string, vars map[string]string) {
	t.Helper()
	service := s.project.Services[name]
	vars = environment(service)
	for variable, value := range vars {
		vars[variable] = s.here(t, name, value)
	}
	for _, word := range service.Command {
		command = append(command, s.here(t, name, word))
	}
	return command, vars
}

// healthcheck runs the service's own check, CMD and the rest, until it says that all is well.
func (s *stage) healthcheck(t *testing.T, name string) {
	t.Helper()
	_, vars := s.service(t, name)
	test := s.project.Services[name].HealthCheck.Test
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		var command *exec.Cmd
		if test[1] == "/firstclick" {
			command = s.image.command(vars, test[2:]...)
		} else {
			var words []string
			for _, word := range test[1:] {
				words = append(words, s.here(t, name, word))
			}
			command = exec.CommandContext(ctx, words[0], words[1:]...)
		}
		said, err := command.CombinedOutput()
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("%s is not healthy: %v: %s", name, err, said)
		}
	}
}

// log keeps what a process says.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start starts a process, not bound to a context, that is told to stop at the end of the test as
// `docker compose stop` tells it, and then must end with one of the exit codes. stop does so
// earlier.
func start(t *testing.T, name string, command *exec.Cmd, exits ...int) (stop func()) {
	t.Helper()
	said := &log{}
	command.Stdout, command.Stderr = said, said
	if err := command.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = command.Wait() // its exit code is looked at below
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			select {
			case <-ended:
				t.Errorf("%s has ended by itself: %v\n%s", name, command.ProcessState, tail(said.String()))
				return
			default:
			}
			_ = command.Process.Signal(syscall.SIGTERM) // it may have ended just now
			select {
			case <-ended:
			case <-time.After(30 * time.Second):
				_ = command.Process.Kill()
				<-ended
				t.Errorf("%s did not stop\n%s", name, tail(said.String()))
			}
			for _, code := range exits {
				if code == command.ProcessState.ExitCode() {
					return
				}
			}
			t.Errorf("%s: %v, want exit code %v\n%s", name, command.ProcessState, exits, tail(said.String()))
		})
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, tail(said.String()))
		}
	})
	return stop
}

func tail(text string) string {
	const most = 3000
	return text[max(0, len(text)-most):]
}

// once runs a service that is there to end.
func once(t *testing.T, name string, command *exec.Cmd) string {
	t.Helper()
	said, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, said)
	}
	return string(said)
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, what string, ask func() (bool, error)) {
	t.Helper()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for {
		yes, err := ask()
		if yes && err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("%s: not within %v: %v", what, patience, err)
		}
	}
}

// The compose file's services side by side, each by the command, the variables and the health check
// that its container has. Rows come, Prometheus sees every instance, and all end in good order.
func TestComposeAsProcesses(t *testing.T) {
	s := &stage{project: everything(t), dir: t.TempDir(), ports: map[string]string{}}
	s.java, s.jars = kafkabroker.Programs(t)
	s.image = buildImage(t)
	s.image.check(t)

	dsn := s.postgres(t)
	s.kafka(t)
	s.topics(t)
	command, vars := s.service(t, "migrate")
	once(t, "migrate", s.image.command(vars, command...))
	var stops []func()
	for _, name := range []string{"firstclick", "firstclick-2"} {
		command, vars := s.service(t, name)
		stops = append(stops, start(t, name, s.image.command(vars, command...), 0))
		s.healthcheck(t, name)
	}
	prometheus := s.prometheus(t)
	command, vars = s.service(t, "generator")
	stops = append(stops, start(t, "generator", s.image.command(vars, command...), 0))

	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	eventually(t, "rows with clicks and names", func() (bool, error) {
		var rows int
		err := conn.QueryRow(t.Context(),
			`SELECT count(*) FROM commerce.attributed_checkouts WHERE click_id IS NOT NULL AND user_name IS NOT `+
				`NULL`).Scan(&rows)
		return rows >= 20, err
	})
	eventually(t, "Prometheus sees two instances, and what they say", func() (bool, error) {
		up, err := value(prometheus, `sum(up{job="firstclick"})`)
		if err != nil || up != "2" {
			return false, err
		}
		written, err := value(prometheus, `sum(firstclick_rows_total) > bool 0`)
		return written == "1", err
	})
	if firing, err := value(prometheus, `count(ALERTS{alertstate="firing"})`); err != nil || firing != "" {
		t.Errorf("%s alerts fire: %v", firing, err)
	}
	s.lag(t)
	s.watch(t)
	for _, stop := range stops {
		stop()
	}
}

// postgres starts the server of this machine with the compose file's parameters.
func (s *stage) postgres(t *testing.T) (dsn string) {
	t.Helper()
	words := s.project.Services["postgres"].Command
	settings := map[string]string{}
	for i := 1; i+1 < len(words); i += 2 {
		name, set, ok := strings.Cut(words[i+1], "=")
		if words[i] != "-c" || !ok {
			t.Fatalf("Postgres: %v", words)
		}
		settings[name] = set
	}
	if words[0] != "postgres" || settings["wal_level"] != "logical" {
		t.Fatalf("Postgres: %v", words)
	}
	server := pgtest.StartTemporary(t, pgserver.WithConfig(settings))
	s.ports["postgres:5432"] = fmt.Sprint(server.Port)
	return server.DSN("postgres")
}

// kafka does what the image does at its start: the image's own program renders the variables to
// properties and formats the storage with StorageTool, then the broker starts with them.
func (s *stage) kafka(t *testing.T) {
	t.Helper()
	_, vars := s.service(t, "kafka")
	final := filepath.Join(s.dir, "config")
	for _, dir := range []string{"defaults", "mounted", "config", "kafka", "bin"} {
		if err := os.MkdirAll(filepath.Join(s.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	setup := exec.CommandContext(t.Context(), s.java, "-cp", s.jars, "kafka.docker.KafkaDockerWrapper", "setup",
		"--default-configs-dir", filepath.Join(s.dir, "defaults"), "--mounted-configs-dir", filepath.Join(s.dir,
			"mounted"), "--final-configs-dir", final)
	for name, set := range vars {
		setup.Env = append(setup.Env, name+"="+set)
	}
	if said := once(t, "kafka's setup", setup); !strings.Contains(said,
		"Formatting metadata directory "+filepath.Join(s.dir, "kafka")) {
		t.Errorf("the storage is not formatted: %s", tail(said))
	}
	properties := filepath.Join(final, "server.properties")
	rendered, err := os.ReadFile(properties)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"process.roles=broker,controller", "log.cleaner.dedupe.buffer.size=16777216",
		"auto.create.topics.enable=false",
		"advertised.listeners=INSIDE://127.0.0.1:" + s.port(t, "kafka:9092") + ",OUTSIDE://127.0.0.1:" +
			s.port(t, "kafka:9093")} {
		if !strings.Contains("\n"+string(rendered)+"\n", "\n"+want+"\n") {
			t.Errorf("the properties have no %s:\n%s", want, rendered)
		}
	}
	args := append(strings.Fields(vars["KAFKA_HEAP_OPTS"]), "-XX:TieredStopAtLevel=1",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-cp", s.jars, "kafka.Kafka", properties)
	start(t, "kafka", exec.Command(s.java, args...), 0, 143)
	s.healthcheck(t, "kafka")

	// Healthy is usable, inside and outside: one answer each, no second try.
	for _, port := range []string{"kafka:9092", "kafka:9093"} {
		client, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:"+s.port(t, port)), kgo.RequestRetries(0))
		if err != nil {
			t.Fatal(err)
		}
		brokers, err := kadm.NewClient(client).ListBrokers(t.Context())
		client.Close()
		if err != nil || len(brokers) != 1 || fmt.Sprint(brokers[0].Port) != s.port(t, port) {
			t.Errorf("%s answers %v, %v", port, brokers, err)
		}
	}
}

// tool puts a script of Kafka's where the service looks for it, which starts the same class.
func (s *stage) tool(t *testing.T, name, class string) {
	t.Helper()
	script := fmt.Sprintf("#!/bin/sh\nexec %s -Xmx96m -XX:TieredStopAtLevel=1 "+
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp '%s' %s \"$@\"\n", s.java, s.jars, class)
	if err := os.WriteFile(filepath.Join(s.dir, "bin", name), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
}

// topics makes them, and harms nobody the second time: it runs at every start.
func (s *stage) topics(t *testing.T) {
	t.Helper()
	s.tool(t, "kafka-topics.sh", "org.apache.kafka.tools.TopicCommand")
	for range 2 {
		command, vars := s.service(t, "topics")
		run := exec.CommandContext(t.Context(), command[0], command[1:]...)
		run.Env = []string{"PATH=" + os.Getenv("PATH")}
		for name, set := range vars {
			run.Env = append(run.Env, name+"="+set)
		}
		once(t, "topics", run)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:" + s.port(t, "kafka:9093")))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	found, err := kadm.NewClient(client).ListTopics(t.Context(), "clicks", "checkouts")
	if err != nil || len(found["clicks"].Partitions) != 4 || len(found["checkouts"].Partitions) != 4 {
		t.Errorf("topics: %v, %v", found, err)
	}
}
