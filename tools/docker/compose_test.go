package docker_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	firstclick "firstclick/internal/cli"
	"firstclick/internal/kafkabroker"
)

func TestProfiles(t *testing.T) {
	core := []string{"firstclick", "kafka", "migrate", "postgres", "topics"}
	events := []string{"generator", "kafka", "migrate", "postgres", "topics"}
	watch := []string{"grafana", "prometheus"}
	three := append([]string{"firstclick-2", "firstclick-3"}, core...)
	union := func(lists ...[]string) []string {
		all := slices.Concat(lists...)
		slices.Sort(all)
		return slices.Compact(all)
	}
	for _, row := range []struct {
		profiles []string
		want     []string
	}{
		{nil, union(core, events, watch)}, // .env.example
		{[]string{"core"}, core},
		{[]string{"generator"}, events},
		{[]string{"monitoring"}, watch},
		{[]string{"scale"}, union(three)},
		{[]string{"core", "generator", "monitoring", "scale"}, union(three, events, watch)},
	} {
		project := load(t, nil, row.profiles...)
		if got := sorted(project.Services); !reflect.DeepEqual(got, row.want) {
			t.Errorf("profiles %v: %v, want %v", row.profiles, got, row.want)
		}
	}
}

// The names, ports and passwords that readers of the old pipeline know, reached from this machine
// only unless somebody says otherwise.
func TestPortsAndPasswordsThatPeopleKnow(t *testing.T) {
	project := everything(t)
	published := map[string]string{}
	for name, service := range project.Services {
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is bound to %q", name, port.Published, port.HostIP)
			}
			published[fmt.Sprintf("%s:%d", name, port.Target)] = port.Published
		}
	}
	want := map[string]string{"postgres:5432": "5432", "kafka:9093": "9093", "firstclick:8081": "8081",
		"firstclick-2:8081": "8082",
		"firstclick-3:8081": "8083", "prometheus:9090": "9090", "grafana:3000": "3000"}
	if !reflect.DeepEqual(published, want) {
		t.Errorf("ports %v, want %v", published, want)
	}
	kafka := environment(project.Services["kafka"])
	if got := kafka["KAFKA_ADVERTISED_LISTENERS"]; got != "INSIDE://kafka:9092,OUTSIDE://localhost:9093" {
		t.Errorf("Kafka says that it is at %s", got)
	}
	postgres := environment(project.Services["postgres"])
	if postgres["POSTGRES_USER"] != "postgres" || postgres["POSTGRES_PASSWORD"] != "postgres" ||
		postgres["POSTGRES_DB"] != "postgres" {
		t.Errorf("Postgres: %v", postgres)
	}
	grafana := environment(project.Services["grafana"])
	if grafana["GF_SECURITY_ADMIN_USER"] != "admin" || grafana["GF_SECURITY_ADMIN_PASSWORD"] != "flink" {
		t.Errorf("Grafana: %v", grafana)
	}

	other := load(t, map[string]string{"BIND": "0.0.0.0", "KAFKA_HOST": "shop.example", "KAFKA_PORT": "19093",
		"POSTGRES_PASSWORD": "p$1/@:",
		"GRAFANA_PASSWORD":  "g", "PARTITIONS": "12"})
	kafka = environment(other.Services["kafka"])
	if got := kafka["KAFKA_ADVERTISED_LISTENERS"]; got != "INSIDE://kafka:9092,OUTSIDE://shop.example:19093" ||
		other.Services["kafka"].Ports[0].Published != "19093" {
		t.Errorf("another port for Kafka: %s", got)
	}
	if got := environment(other.Services["firstclick"])["PGPASSWORD"]; got != "p$1/@:" ||
		environment(other.Services["postgres"])["POSTGRES_PASSWORD"] != got {
		t.Errorf("another password for Postgres: firstclick has %q", got)
	}
	if environment(other.Services["grafana"])["GF_SECURITY_ADMIN_PASSWORD"] != "g" ||
		environment(other.Services["topics"])["PARTITIONS"] != "12" ||
		other.Services["grafana"].Ports[0].HostIP != "0.0.0.0" {
		t.Error("what is set has no effect")
	}
}

// Every image has an exact version, the one that the other suites prove where they prove one.
func TestImagesArePinned(t *testing.T) {
	images := map[string]string{}
	for name, service := range everything(t).Services {
		images[name] = service.Image
		if service.Build == nil && !regexp.MustCompile(`^[a-z/]+:v?\d+\.\d+(\.\d+)?$`).MatchString(service.Image) {
			t.Errorf("%s: %s has no exact version", name, service.Image)
		}
	}
	if want := "apache/kafka:" + kafkabroker.Version; images["kafka"] != want || images["topics"] != want {
		t.Errorf("%s, but the suites run against %s", images["kafka"], want)
	}
	schema := regexp.MustCompile(`(?m)^schema=(.*)$`).FindStringSubmatch(read(t, ".ci/grafana-schema"))
	if want := "grafana/grafana:" + schema[1]; images["grafana"] != want {
		t.Errorf("%s, but dashboards are checked against %s", images["grafana"], want)
	}
}

// All of it at once, three instances too, fits in 4 GB: 4e9 bytes.
func TestLimitsFitIn4GB(t *testing.T) {
	var sum types.UnitBytes
	for name, service := range everything(t).Services {
		if service.Deploy == nil || service.Deploy.Resources.Limits == nil ||
			service.Deploy.Resources.Limits.MemoryBytes <= 0 || service.Deploy.Resources.Limits.NanoCPUs <= 0 {
			t.Errorf("%s has no limits", name)
			continue
		}
		sum += service.Deploy.Resources.Limits.MemoryBytes
		if service.Logging == nil || service.Logging.Options["max-size"] == "" ||
			service.Logging.Options["max-file"] == "" {
			t.Errorf("%s: its log may fill the disk", name)
		}
	}
	if sum > 4e9 || sum < 2e9 {
		t.Errorf("%d bytes in all", sum)
	}
	t.Logf("%d MiB in all", sum>>20)
}

// Who waits for somebody waits for what that one can tell: its health, or its end.
func TestDependenciesWaitForHealth(t *testing.T) {
	project := everything(t)
	for name, service := range project.Services {
		once := service.Restart == "no"
		if !once && service.Restart != "unless-stopped" {
			t.Errorf("%s: restart: %q", name, service.Restart)
		}
		if healthy := service.HealthCheck != nil && len(service.HealthCheck.Test) > 1 &&
			service.HealthCheck.Test[0] == "CMD"; !healthy && !once && name != "generator" {
			t.Errorf("%s has no health check", name)
		}
		for on, how := range service.DependsOn {
			target, known := project.Services[on]
			switch {
			case !known:
				t.Errorf("%s depends on %s, which is not there", name, on)
			case how.Condition == types.ServiceConditionHealthy && target.HealthCheck == nil:
				t.Errorf("%s waits for the health of %s, which has no check", name, on)
			case how.Condition == types.ServiceConditionCompletedSuccessfully && target.Restart != "no":
				t.Errorf("%s waits for the end of %s, which is started again and again", name, on)
			case how.Condition == types.ServiceConditionStarted:
				t.Errorf("%s does not wait for %s to be of use", name, on)
			}
		}
	}
	for _, name := range []string{"firstclick", "firstclick-2", "firstclick-3", "generator"} {
		if got := sorted(project.Services[name].DependsOn); !reflect.DeepEqual(got,
			[]string{"kafka", "migrate", "postgres", "topics"}) {
			t.Errorf("%s waits for %v", name, got)
		}
	}
}

// Every file and folder that a service is given is there, and every volume is declared.
func TestEveryPathExists(t *testing.T) {
	project := everything(t)
	for name, service := range project.Services {
		for _, volume := range service.Volumes {
			switch volume.Type {
			case types.VolumeTypeBind:
				if _, err := os.Stat(volume.Source); err != nil || !strings.HasPrefix(volume.Source, top(t)+"/") {
					t.Errorf("%s mounts %s: %v", name, volume.Source, err)
				}
				if !volume.ReadOnly {
					t.Errorf("%s may write to %s", name, volume.Source)
				}
			case types.VolumeTypeVolume:
				if _, declared := project.Volumes[volume.Source]; !declared {
					t.Errorf("%s: no volume %s", name, volume.Source)
				}
			default:
				t.Errorf("%s: volume of type %s", name, volume.Type)
			}
		}
		if service.Build != nil {
			if _, err := os.Stat(filepath.Join(service.Build.Context, service.Build.Dockerfile)); err != nil ||
				service.Build.Context != top(t) {
				t.Errorf("%s is built from %s, %s: %v", name, service.Build.Context, service.Build.Dockerfile, err)
			}
		}
	}
}

// What firstclick is told it understands: every flag, every variable, every value.
func TestCommandsAndVariablesOfFirstclick(t *testing.T) {
	services := ours(everything(t))
	if len(services) != 5 {
		t.Fatalf("services of firstclick: %v", sorted(services))
	}
	for name, service := range services {
		command := service.Command[0]
		takes := help(t, command)
		for _, word := range service.Command[1:] {
			if flag, ok := strings.CutPrefix(word, "--"); ok && !takes.flags[strings.SplitN(flag, "=", 2)[0]] {
				t.Errorf("%s: firstclick %s has no %s", name, command, word)
			}
		}
		vars := environment(service)
		for variable := range vars {
			if !takes.variables[variable] {
				t.Errorf("%s: firstclick %s reads no %s", name, command, variable)
			}
		}
		if err := understands(t, service.Command, vars); err != nil {
			t.Errorf("%s: firstclick %s refuses what it is given: %v", name, command, err)
		}
		vars["DATABASE_URL"] = "postgres://[" // the test is tested
		if err := understands(t, service.Command, vars); err == nil {
			t.Errorf("%s: a value that makes no sense is not noticed", name)
		}
	}
}

// understands lets the program read its arguments and variables, without running: the variable that
// it reads last, which must not be set already, makes no sense. When it complains of that one, all
// the others are well.
func understands(t *testing.T, args []string, vars map[string]string) error {
	t.Helper()
	last := help(t, args[0]).last
	if vars[last] != "" {
		t.Fatalf("%s=%s is not checked by this test", last, vars[last])
	}
	lookup := func(name string) (string, bool) {
		if name == last {
			return "no such value", true
		}
		v, ok := vars[name]
		return v, ok
	}
	var out strings.Builder
	err := firstclick.Run(t.Context(), args, firstclick.Streams{Out: &out, Err: &out, Env: lookup})
	var usage *firstclick.UsageError
	if !errors.As(err, &usage) {
		t.Fatalf("%v: %v", args, err)
	}
	if strings.HasPrefix(usage.Message, last+": ") {
		return nil
	}
	return err
}

// A process that is broken into finds nothing to write to and nothing to become.
func TestFirstclickIsConfined(t *testing.T) {
	for name, service := range ours(everything(t)) {
		if !service.ReadOnly || !reflect.DeepEqual(service.CapDrop, []string{"ALL"}) ||
			!slices.Contains(service.SecurityOpt, "no-new-privileges:true") ||
			service.Privileged || service.User == "root" || len(service.Volumes) > 0 {
			t.Errorf("%s: read only %v, without %v, %v", name, service.ReadOnly, service.CapDrop, service.SecurityOpt)
		}
	}
	dockerfile := read(t, "docker/Dockerfile")
	for _, want := range []string{"\nFROM scratch\n", "\nUSER 65532:65532\n", "\nENTRYPOINT [\"/firstclick\"]\n",
		"\nCMD [\"run\"]\n",
		" CMD [\"/firstclick\", \"healthcheck\"]\n", "org.opencontainers.image.licenses=\"Apache-2.0\""} {
		if !strings.Contains(dockerfile, want) {
			t.Errorf("the Dockerfile has no %q", want)
		}
	}
}

// .env.example names every variable of the compose file with the default that it has there or in
// the program, and no other.
func TestEnvExample(t *testing.T) {
	defaults := map[string]string{"COMPOSE_PROFILES": "core,generator,monitoring"}
	for _, m := range regexp.MustCompile(`\$\{([A-Z0-9_]+):-([^}]*)\}`).FindAllStringSubmatch(read(t,
		"docker-compose.yml"), -1) {
		if known, twice := defaults[m[1]]; twice && known != m[2] {
			t.Errorf("%s is %q here and %q there", m[1], known, m[2])
		}
		defaults[m[1]] = m[2]
	}
	if bare := regexp.MustCompile(`[^$]\$\{[A-Z0-9_]+\}|[^$]\$[A-Z]`).FindString(read(t,
		"docker-compose.yml")); bare != "" {
		t.Errorf("%s has no default", bare)
	}
	own := map[string]string{"LOG_FORMAT": "json"} // what auto is in a container
	var out strings.Builder
	none := func(string) (string, bool) { return "", false }
	if err := firstclick.Run(t.Context(), []string{"run", "--help"},
		firstclick.Streams{Out: &out, Err: &out, Env: none}); err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`\[([A-Z_]+)\] \(default ([^)]*)\)`).FindAllStringSubmatch(out.String(), -1) {
		if _, set := own[m[1]]; !set {
			own[m[1]] = strings.Trim(m[2], `"`)
		}
	}
	shown := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^#?([A-Z0-9_]+)=(.*)$`).FindAllStringSubmatch(read(t, ".env.example"),
		-1) {
		shown[m[1]] = m[2]
	}
	for name, image := range images(t, read(t, "docker/images.env")) {
		shown[name] = image[0]
	}
	for name, value := range defaults {
		if value == "" {
			value = own[name]
		}
		if shown[name] != value {
			t.Errorf(".env.example says %s=%s, the default is %q", name, shown[name], value)
		}
	}
	for name := range shown {
		if _, used := defaults[name]; !used {
			t.Errorf(".env.example has %s, which nothing reads", name)
		}
	}
}
