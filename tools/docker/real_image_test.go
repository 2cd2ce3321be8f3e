//go:build realkafka && prometheus

package docker_test

import (
	"bytes"
	"debug/elf"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// builtFor are the build arguments of the test's image.
var builtFor = map[string]string{"GO_IMAGE": "", "VERSION": "v0.0.1-test", "COMMIT": "0123456789ab", "TARGETOS": "",
	"TARGETARCH": ""}

// image is what the Dockerfile's last stage holds: files under root, and what it says of itself.
type image struct {
	root       string
	user       string
	entrypoint string
}

// buildImage does by hand what `docker build` does: the context as .dockerignore leaves it, in a
// clean folder, and the instructions in their order. The image's /src and /out are folders of the
// test; Go's caches are this machine's, as the cache mount is.
func buildImage(t *testing.T) image {
	t.Helper()
	base := t.TempDir()
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	src, out, root := filepath.Join(base, "src"), filepath.Join(base, "out"), filepath.Join(base, "root")
	inside := strings.NewReplacer("/out", out)
	env := append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	made := image{root: root}
	stage := ""
	for _, in := range instructions(read(t, "docker/Dockerfile")) {
		word, rest, _ := strings.Cut(in, " ")
		switch word {
		case "FROM":
			stage = rest
		case "WORKDIR":
			if rest != "/src" {
				t.Fatalf("%s: not known to this test", in)
			}
		case "COPY":
			switch rest {
			case ". .":
				copyContext(t, src)
			case "--from=build /out/ /":
				if err := os.CopyFS(root, os.DirFS(out)); err != nil {
					t.Fatal(err)
				}
			default:
				t.Fatalf("%s: not known to this test", in)
			}
		case "ARG":
			name, _, _ := strings.Cut(rest, "=")
			value, given := builtFor[name]
			if !given {
				t.Fatalf("%s: not given by this test", in)
			}
			env = append(env, name+"="+value)
		case "ENV":
			for _, pair := range strings.Fields(rest) {
				if !strings.Contains(pair, "=/cache/") {
					env = append(env, pair)
				}
			}
		case "RUN":
			command := exec.CommandContext(t.Context(), "sh", "-c",
				inside.Replace(regexp.MustCompile(`^(--mount=\S+ )*`).ReplaceAllString(rest, "")))
			command.Dir, command.Env = src, env
			if said, err := command.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", in, err, said)
			}
		case "USER":
			made.user = rest
		case "ENTRYPOINT":
			made.entrypoint = rest
		case "LABEL", "EXPOSE", "HEALTHCHECK", "CMD":
		default:
			t.Fatalf("%s: not known to this test", in)
		}
	}
	if stage != "scratch" {
		t.Fatalf("the last stage is from %s", stage)
	}
	return made
}

// instructions are the Dockerfile's, each in one line, without comments.
func instructions(dockerfile string) (all []string) {
	text := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(dockerfile, "")
	text = regexp.MustCompile(`\s*\\\n\s*`).ReplaceAllString(text, " ")
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all
}

// copyContext copies what Docker would be sent: all but what .dockerignore names, which are plain
// names here.
func copyContext(t *testing.T, to string) {
	t.Helper()
	ignored := strings.Fields(read(t, ".dockerignore"))
	for _, name := range ignored {
		if strings.ContainsAny(name, "*?!#[") {
			t.Fatalf(".dockerignore: %s: patterns are not known to this test", name)
		}
	}
	from := top(t)
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		switch {
		case slices.Contains(ignored, name) && entry.IsDir():
			return fs.SkipDir
		case slices.Contains(ignored, name):
			return nil
		case entry.IsDir():
			return os.MkdirAll(target, 0o755)
		case !entry.Type().IsRegular():
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, text, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// command is a program of the image run as in its container: nothing but the image's files, as its
// user, with its variables and no others. Where we are not root that cannot be, and only the
// variables are as there.
func (i image) command(vars map[string]string, args ...string) *exec.Cmd {
	command := exec.Command("/firstclick", args...)
	command.Dir = "/"
	command.Env = []string{}
	for name, value := range vars {
		command.Env = append(command.Env, name+"="+value)
	}
	if os.Geteuid() == 0 {
		command.SysProcAttr = &syscall.SysProcAttr{Chroot: i.root,
			Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
	} else {
		command.Path = filepath.Join(i.root, "firstclick")
	}
	return command
}

// check looks at the image: a static program, its certificates, its user, and nothing else.
func (i image) check(t *testing.T) {
	t.Helper()
	var files []string
	err := filepath.WalkDir(i.root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, strings.TrimPrefix(path, i.root))
		}
		return err
	})
	if want := []string{"/etc/group", "/etc/passwd", "/etc/ssl/certs/ca-certificates.crt",
		"/firstclick"}; err != nil || !slices.Equal(files, want) {
		t.Errorf("the image holds %v, want %v, %v", files, want, err)
	}
	program, err := elf.Open(filepath.Join(i.root, "firstclick"))
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	for _, segment := range program.Progs {
		if segment.Type == elf.PT_INTERP {
			t.Error("the program is not static")
		}
	}
	passwd, err := os.ReadFile(filepath.Join(i.root, "etc/passwd"))
	if err != nil || i.user != "65532:65532" || !bytes.Contains(passwd, []byte(":65532:65532:")) ||
		i.entrypoint != `["/firstclick"]` {
		t.Errorf("user %s, entrypoint %s, %s, %v", i.user, i.entrypoint, passwd, err)
	}
	said, err := i.command(nil, "version").CombinedOutput()
	if want := "firstclick " + builtFor["VERSION"] + ", commit " + builtFor["COMMIT"]; err != nil ||
		!bytes.HasPrefix(said, []byte(want)) {
		t.Errorf("version: %v, %s", err, said)
	}
}
