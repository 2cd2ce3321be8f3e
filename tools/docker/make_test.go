package docker_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// desk is a PATH of a test's own: what make and the shell need, and stand-ins that write down how
// they were called.
type desk struct {
	dir, calls string
	env        []string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{dir: t.TempDir()}
	d.calls = filepath.Join(t.TempDir(), "calls")
	for _, name := range []string{"sh", "make", "sed", "awk", "printf", "cat"} {
		program, err := exec.LookPath(name)
		if err != nil {
			t.Fatalf("%s is needed: %v", name, err)
		}
		if err := os.Symlink(program, filepath.Join(d.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// program puts a stand-in on the PATH, which ends as the shell line says.
func (d *desk) program(t *testing.T, name, ends string) {
	t.Helper()
	script := "#!/bin/sh\necho \"" + name + " $*${PGPASSWORD:+ by $PGPASSWORD}\" >>" + d.calls + "\n" + ends + "\n"
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
}

// make runs a target and returns what it said and whom it called.
func (d *desk) make(t *testing.T, target ...string) (said string, called []string, err error) {
	t.Helper()
	if err := os.WriteFile(d.calls, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(d.dir, "make"),
		append([]string{"--no-print-directory", "ENV_FILE=.env.example"}, target...)...)
	cmd.Dir = top(t)
	cmd.Env = append([]string{"PATH=" + d.dir, "MAKEFLAGS="}, d.env...)
	out, err := cmd.CombinedOutput()
	text, readErr := os.ReadFile(d.calls)
	if readErr != nil {
		t.Fatal(readErr)
	}
	return string(out), strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' }), err
}

// called asserts the calls of a target, each given by how it begins.
func (d *desk) called(t *testing.T, target string, want ...string) string {
	t.Helper()
	said, calls, err := d.make(t, strings.Fields(target)...)
	if err != nil {
		t.Errorf("make %s: %v\n%s", target, err, said)
	}
	calls = drop(calls, "docker compose version", "docker info", "uname ")
	if len(calls) != len(want) {
		t.Errorf("make %s calls %q, want %q", target, calls, want)
		return said
	}
	for i := range want {
		if !regexp.MustCompile("^" + want[i] + "$").MatchString(calls[i]) {
			t.Errorf("make %s calls %q, want %q", target, calls[i], want[i])
		}
	}
	return said
}

func drop(lines []string, prefixes ...string) (rest []string) {
	for _, line := range lines {
		keep := true
		for _, prefix := range prefixes {
			keep = keep && !strings.HasPrefix(line, prefix)
		}
		if keep {
			rest = append(rest, line)
		}
	}
	return rest
}

func TestMakeWithDocker(t *testing.T) {
	d := newDesk(t)
	d.program(t, "docker", "exit 0")
	const compose = `docker compose --env-file docker/images\.env --env-file \.env\.example`
	said := d.called(t, "run", compose+` --profile \* down --remove-orphans`, compose+" up -d --build --remove-orphans")
	for _, want := range []string{"http://localhost:8081", "http://localhost:3000", "make watch"} {
		if !strings.Contains(said, want) {
			t.Errorf("make run does not say %s: %s", want, said)
		}
	}
	d.called(t, "up", compose+" up -d --build")
	d.called(t, "scale", compose+" up -d --build")
	d.called(t, "down", compose+` --profile \* down --remove-orphans`)
	d.called(t, "clean-data", compose+` --profile \* down --remove-orphans --volumes`)
	d.called(t, "logs", compose+` --profile \* logs --follow --tail 100`)
	d.called(t, "logs SERVICE=kafka", compose+` --profile \* logs --follow --tail 100 kafka`)
	d.called(t, "lag",
		compose+" exec kafka /opt/kafka/bin/kafka-consumer-groups.sh --bootstrap-server kafka:9092 --describe "+
			"--group firstclick")
	d.called(t, "psql", compose+" exec +postgres psql -U postgres -d postgres by postgres")
	d.called(t, "watch", compose+" exec -T postgres psql -U postgres -d postgres by postgres")
}

// The database is the same for containers and for the demo; what readers always typed.
func TestMakeOpensTheDatabase(t *testing.T) {
	d := newDesk(t)
	asked := filepath.Join(t.TempDir(), "asked")
	d.program(t, "psql", "cat >"+asked)
	d.program(t, "pgcli", "exit 0")
	const where = "-h localhost -p 5432 -U postgres -d postgres by postgres"
	d.called(t, "psql", "psql "+where)
	d.called(t, "pgcli", "pgcli "+where)
	d.called(t, "watch", "psql "+where)
	text, err := os.ReadFile(asked)
	if err != nil {
		t.Fatal(err)
	}
	const query = "SELECT checkout_id, click_id, checkout_time, click_time, user_name FROM " +
		"commerce.attributed_checkouts ORDER BY checkout_time DESC LIMIT 5 \\watch 2\n"
	if string(text) != query {
		t.Errorf("make watch asks %q", text)
	}
}

// Where something is missing, one line says what, and what there is instead.
func TestMakeWithoutDocker(t *testing.T) {
	d := newDesk(t)
	for _, target := range []string{"run", "up", "down", "logs", "lag", "scale", "clean-data", "images"} {
		if said, _, err := d.make(t, target); err == nil || !strings.Contains(said, "Docker is not installed") ||
			!strings.Contains(said, "make demo") {
			t.Errorf("make %s without Docker: %v, %q", target, err, said)
		}
	}
	if said, _, err := d.make(t, "pgcli"); err == nil || !strings.Contains(said, "make psql") {
		t.Errorf("make pgcli without pgcli: %v, %q", err, said)
	}
	d.program(t, "docker", `[ "$1" != compose ]`)
	if said, _, err := d.make(t, "run"); err == nil || !strings.Contains(said, "no compose plugin") ||
		!strings.Contains(said, "make demo") {
		t.Errorf("make run without Compose: %v, %q", err, said)
	}
	d.program(t, "docker", `[ "$1" != info ]`)
	said, calls, err := d.make(t, "run")
	if err == nil || !strings.Contains(said, "no Docker engine answers") || !strings.Contains(said, "make demo") ||
		len(drop(calls, "docker compose version", "docker info")) > 0 {
		t.Errorf("make run without an engine: %v, %q, %q", err, said, calls)
	}
}

func TestMakeOpensTheBrowser(t *testing.T) {
	const page, grafana = "http://localhost:8081", "http://localhost:3000"
	for name, row := range map[string]struct {
		uname string
		tools map[string]string // how each ends
		want  string            // who is called in the end
	}{
		"Linux": {"Linux 6.12.0-amd64", map[string]string{"xdg-open": "exit 0", "open": "exit 0"},
			"xdg-open"},
		"macOS": {"Darwin 25.0.0", map[string]string{"xdg-open": "exit 0", "open": "exit 0"}, "open"},
		"WSL": {"Linux 6.6.87.2-microsoft-standard-WSL2",
			map[string]string{"xdg-open": "exit 0", "explorer.exe": "exit 1"}, "explorer.exe"},
		"WSL with wslu": {"Linux 5.15.0-microsoft-standard-WSL2",
			map[string]string{"wslview": "exit 0", "explorer.exe": "exit 1"}, "wslview"},
		"WSL, no way to Windows": {"Linux 4.4.0-19041-Microsoft", map[string]string{"xdg-open": "exit 0"}, "xdg-open"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.program(t, "uname", "echo '"+row.uname+"'")
			for tool, ends := range row.tools {
				d.program(t, tool, ends)
			}
			d.called(t, "ui", row.want+" "+page)
			d.called(t, "viz", row.want+" "+grafana)
			d.called(t, "open", row.want+" "+page, row.want+" "+grafana)
		})
	}
	t.Run("no browser", func(t *testing.T) {
		d := newDesk(t)
		d.program(t, "uname", "echo Linux 6.12")
		if said := d.called(t, "ui"); said != "open "+page+"\n" {
			t.Errorf("says %q", said)
		}
	})
}

// The help has a line for every target that people are told of, in plain text where nobody sees
// colours.
func TestMakeHelp(t *testing.T) {
	d := newDesk(t)
	said, _, err := d.make(t)
	if err != nil {
		t.Fatal(err, said)
	}
	for _, target := range strings.Fields("run up down ui viz open logs psql pgcli watch ci test chaos bench demo " +
		"verify doctor clean") {
		if !strings.Contains(said, "\n    make "+target+" ") {
			t.Errorf("no word of make %s", target)
		}
	}
	if strings.Contains(said, "\x1b") {
		t.Error("colours though it is no terminal")
	}
	for _, m := range regexp.MustCompile(`(?m)^\.PHONY: ([a-z-]+)$`).FindAllStringSubmatch(read(t, "Makefile"), -1) {
		if m[1] == "docker" {
			continue
		}
		var exit *exec.ExitError
		if _, _, err := d.make(t, "-n", m[1]); errors.As(err, &exit) {
			t.Errorf("make -n %s: %v", m[1], err)
		}
		if !strings.Contains(said, "\n    make "+m[1]+" ") {
			t.Errorf("make help does not know %s", m[1])
		}
	}
}
