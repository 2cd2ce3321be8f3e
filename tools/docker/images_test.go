package docker_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// images are the lines of docker/images.env: variable, name with tag, digest or nothing.
func images(t *testing.T, text string) map[string][2]string {
	t.Helper()
	form := regexp.MustCompile(`^([A-Z]+_IMAGE)=([a-z/]+:[\w.-]+)(?:@(sha256:[0-9a-f]{64}))?$`)
	found := map[string][2]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		m := form.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("docker/images.env: %q is no image with its tag and, it may be, its digest", line)
			continue
		}
		found[m[1]] = [2]string{m[2], m[3]}
	}
	return found
}

// The compose file and the Dockerfile have the tags of docker/images.env as defaults, name no other
// image, and take what that file says.
func TestImagesAreThoseOfTheFile(t *testing.T) {
	known := images(t, read(t, "docker/images.env"))
	used := map[string]bool{}
	named := regexp.MustCompile(`(?m)^\s*(?:image|GO_IMAGE): (.*)$|^ARG (GO_IMAGE=.*)$`)
	form := regexp.MustCompile(`^(?:\$\{)?([A-Z]+_IMAGE)(?::-|=)([^}]*)\}?$`)
	for _, m := range named.FindAllStringSubmatch(read(t, "docker-compose.yml")+"\n"+read(t, "docker/Dockerfile"), -1) {
		image := m[1] + m[2]
		if image == "firstclick:${FIRSTCLICK_VERSION:-dev}" {
			continue
		}
		is := form.FindStringSubmatch(image)
		if is == nil || known[is[1]][0] != is[2] {
			t.Errorf("%s: docker/images.env has %v", image, known)
			continue
		}
		used[is[1]] = true
	}
	for _, from := range regexp.MustCompile(`(?m)^FROM (?:--platform=\S+ )?(\S+)`).FindAllStringSubmatch(read(t,
		"docker/Dockerfile"), -1) {
		if from[1] != "$GO_IMAGE" && from[1] != "scratch" {
			t.Errorf("the Dockerfile begins from %s", from[1])
		}
	}
	if len(used) != len(known) || len(known) != 5 {
		t.Errorf("used %v of %v", used, known)
	}
	with := load(t, map[string]string{"POSTGRES_IMAGE": "postgres:17.10@sha256:1", "GO_IMAGE": "golang:1@sha256:2"},
		"core")
	if with.Services["postgres"].Image != "postgres:17.10@sha256:1" ||
		*with.Services["firstclick"].Build.Args["GO_IMAGE"] != "golang:1@sha256:2" {
		t.Errorf("what the file says is not taken: %s, %v", with.Services["postgres"].Image,
			with.Services["firstclick"].Build.Args)
	}
}

// One Go builds what is shipped, as an archive and as an image, and that one is looked at by make
// vuln.
func TestOneGo(t *testing.T) {
	release := regexp.MustCompile(`(?m)^RELEASE_GO \?= go(\d+\.\d+\.\d+)$`).FindStringSubmatch(read(t, "Makefile"))
	if release == nil {
		t.Fatal("the Makefile names no Go for releases")
	}
	if image := images(t, read(t, "docker/images.env"))["GO_IMAGE"][0]; image != "golang:"+release[1] {
		t.Errorf("the image is built by %s, a release by Go %s", image, release[1])
	}
	if !strings.Contains(read(t, "Makefile"), "@RELEASE_GO=$(RELEASE_GO) .ci/vuln") ||
		!strings.Contains(read(t, ".ci/vuln"), "GOTOOLCHAIN=${RELEASE_GO:-local} ") {
		t.Error("make vuln looks at another Go")
	}
	for _, file := range []string{"go.mod", "tools/go.mod"} {
		needs := regexp.MustCompile(`(?m)^go (\d+\.\d+)\.\d+$`).FindStringSubmatch(read(t, file))
		if needs == nil || !strings.HasPrefix(release[1], needs[1]+".") ||
			strings.Contains(read(t, file), "\ntoolchain ") {
			t.Errorf("%s asks for another Go than %s", file, release[1])
		}
	}
	for file, line := range map[string]string{".ci/dist": "go1.", ".ci/run": "go1."} {
		if strings.Contains(read(t, file), line) {
			t.Errorf("%s names a Go of its own", file)
		}
	}
}

// make images writes what the registry says, keeps the tags, and leaves the file alone where the
// registry says nothing.
func TestImagesAreRenewed(t *testing.T) {
	dir := t.TempDir()
	script, file := filepath.Join(dir, "images.sh"), filepath.Join(dir, "images.env")
	was := read(t, "docker/images.env")
	for path, text := range map[string]string{script: read(t, "docker/images.sh"), file: was} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d := newDesk(t)
	if err := os.Symlink(must(exec.LookPath("dirname")), filepath.Join(d.dir, "dirname")); err != nil {
		t.Fatal(err)
	}
	renew := func(docker string) error {
		t.Helper()
		d.program(t, "docker", docker)
		command := exec.CommandContext(t.Context(), "/bin/sh", script)
		command.Env = []string{"PATH=" + d.dir}
		return command.Run()
	}
	digest := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	for range 2 { // also of what has digests
		if err := renew("echo " + digest); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		now, before := images(t, string(text)), images(t, was)
		for name, image := range before {
			if now[name] != [2]string{image[0], digest} {
				t.Errorf("%s is %v, want %s with a digest", name, now[name], image[0])
			}
		}
		if len(now) != len(before) || strings.Count(string(text), "#") != strings.Count(was, "#") {
			t.Errorf("the file is now %s", text)
		}
		was = string(text)
	}
	for _, docker := range []string{"exit 1", "echo nothing"} {
		if err := renew(docker); err == nil {
			t.Errorf("%q: no error", docker)
		}
		if text, err := os.ReadFile(file); err != nil || string(text) != was {
			t.Errorf("%q: the file has changed: %s, %v", docker, text, err)
		}
	}
}

func must(path string, err error) string {
	if err != nil {
		panic(err)
	}
	return path
}
