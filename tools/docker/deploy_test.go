package docker_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// manifest is what of a Kubernetes object is compared with the program; .ci/deploy checks the rest
// against the types of its owners.
type manifest struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string
	Strings  map[string]string `yaml:"stringData"`
	Spec     struct {
		Ports    []struct{ Port int }
		Egress   []struct{ Ports []struct{ Port int } }
		Template struct {
			Spec struct {
				Containers []container
				Volumes    []struct {
					Name   string
					Secret struct {
						Name string `yaml:"secretName"`
					}
				}
			}
		}
	}
}

type container struct {
	Args  []string
	Env   []struct{ Name, Value string }
	Ports []struct {
		Port int `yaml:"containerPort"`
	}
	Mounts []struct {
		Name string
		Path string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
	Startup   probe `yaml:"startupProbe"`
	Liveness  probe `yaml:"livenessProbe"`
	Readiness probe `yaml:"readinessProbe"`
}

type probe struct {
	Get struct{ Path string } `yaml:"httpGet"`
}

func manifests(t *testing.T) map[string]manifest {
	t.Helper()
	all := map[string]manifest{}
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(read(t, "deploy/kubernetes/firstclick.yml"))))
	for {
		var m manifest
		err := decoder.Decode(&m)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all[m.Kind] = m
	}
}

// On Kubernetes the program is told what it understands, finds its password where it looks, and is
// asked where it listens.
func TestKubernetes(t *testing.T) {
	all := manifests(t)
	pod := all["Deployment"].Spec.Template.Spec
	if len(pod.Containers) != 1 || len(pod.Containers[0].Mounts) != 1 || len(pod.Volumes) != 1 {
		t.Fatalf("pods: %+v", pod)
	}
	c := pod.Containers[0]
	vars := maps.Clone(all["ConfigMap"].Data)
	for _, v := range c.Env {
		vars[v.Name] = v.Value
	}
	checkVariables(t, c.Args, vars)
	for name, value := range vars {
		if strings.HasSuffix(name, "_FILE") {
			if _, kept := all["Secret"].Strings[path.Base(value)]; !kept || path.Dir(value) != c.Mounts[0].Path ||
				pod.Volumes[0].Secret.Name != all["Secret"].Metadata.Name {
				t.Errorf("%s=%s: not in the Secret, or not mounted there", name, value)
			}
		}
	}
	// Passwords go over the wire to Postgres and page; who scrapes must be one who may look.
	if token := all["Secret"].Strings["scrape-token"]; token == "" ||
		!slices.Contains(strings.Split(all["Secret"].Strings["who-may-look"], "\n"), token) ||
		vars["LISTEN_AUTH_FILE"] == "" {
		t.Errorf("the token %q of Prometheus opens nothing", token)
	}
	if !strings.Contains(vars["DATABASE_URL"], "sslmode=verify-full") {
		t.Errorf("%s: not by TLS", vars["DATABASE_URL"])
	}
	allowed := map[int]bool{}
	for _, rule := range all["NetworkPolicy"].Spec.Egress {
		for _, p := range rule.Ports {
			allowed[p.Port] = true
		}
	}
	for _, address := range []string{vars["KAFKA_BROKERS"], strings.Split(vars["DATABASE_URL"], "@")[1]} {
		port := regexp.MustCompile(`:(\d+)`).FindStringSubmatch(address)
		if n, err := strconv.Atoi(port[1]); err != nil || !allowed[n] {
			t.Errorf("the NetworkPolicy does not let %s be reached: %v", address, allowed)
		}
	}
	if vars["LISTEN"] != ":8081" || c.Ports[0].Port != 8081 || all["Service"].Spec.Ports[0].Port != 8081 {
		t.Errorf("listens on %s, ports %v and %v", vars["LISTEN"], c.Ports, all["Service"].Spec.Ports)
	}
	if c.Startup.Get.Path != "/livez" || c.Liveness.Get.Path != "/livez" || c.Readiness.Get.Path != "/readyz" {
		t.Errorf("probes: %+v", c)
	}
	if all["Service"].Metadata.Name != "firstclick" {
		t.Errorf("the job would be called %s; alerts and dashboards know firstclick", all["Service"].Metadata.Name)
	}
}

// checkVariables asserts that a command is given what it reads.
func checkVariables(t *testing.T, args []string, vars map[string]string) {
	t.Helper()
	takes := help(t, args[0])
	for name := range vars {
		if !takes.variables[name] {
			t.Errorf("firstclick %s reads no %s", args[0], name)
		}
	}
	if err := understands(t, args, vars); err != nil {
		t.Errorf("firstclick %v refuses what it is given: %v", args, err)
	}
}

// The unit starts what there is; its variables, also those that are only suggested, are read.
func TestSystemd(t *testing.T) {
	unit := read(t, "deploy/systemd/firstclick.service")
	exec := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/firstclick (.*)$`).FindStringSubmatch(unit)
	if exec == nil {
		t.Fatal("the unit starts something else")
	}
	lines := regexp.MustCompile(`(?m)^#?([A-Z][A-Z_]+)=(.*)$`)
	set := map[string]string{}
	takes := help(t, "run")
	for _, m := range lines.FindAllStringSubmatch(read(t, "deploy/systemd/firstclick.env"), -1) {
		if !takes.variables[m[1]] {
			t.Errorf("firstclick run reads no %s", m[1])
		}
		if !strings.HasPrefix(m[0], "#") {
			set[m[1]] = m[2]
		}
	}
	if len(set) < 2 {
		t.Fatalf("the file sets %v", set)
	}
	password := regexp.MustCompile(`(?m)^Environment=(\w+)=%d/(\S+)$`).FindStringSubmatch(unit)
	if password == nil || !takes.variables[password[1]] || !strings.Contains(unit,
		"\nLoadCredential="+password[2]+":/etc/firstclick/") {
		t.Errorf("the password: %v", password)
	}
	checkVariables(t, strings.Fields(exec[1]), set)
	// Exit codes that another start does not mend are those of docs/operations.md.
	prevents := regexp.MustCompile(`(?m)^RestartPreventExitStatus=(.*)$`).FindStringSubmatch(unit)[1]
	for _, code := range strings.Fields(prevents) {
		if !slices.Contains([]string{"2", "4"}, code) || !strings.Contains(read(t, "docs/operations.md"),
			"\n| "+code+" | ") {
			t.Errorf("exit code %s keeps it down", code)
		}
	}
}
