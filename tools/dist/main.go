package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"firstclick/internal/cli"
)

// release is what is to be made.
type release struct {
	out       string
	version   string
	commit    string
	time      time.Time
	platforms []string // os/arch
	sbom      string   // module@version of the SBOM's tool
	log       io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	r := release{log: os.Stderr}
	fs := flag.NewFlagSet("dist", flag.ContinueOnError)
	var seconds int64
	var platforms string
	fs.StringVar(&r.out, "out", "dist", "directory of the archives")
	fs.StringVar(&r.version, "version", "dev", "version")
	fs.StringVar(&r.commit, "commit", "unknown", "commit")
	fs.Int64Var(&seconds, "time", 0, "time of the commit, in seconds since 1970")
	fs.StringVar(&platforms, "platforms", "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64", "os/arch,...")
	fs.StringVar(&r.sbom, "sbom", "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.9.0",
		"module@version of the SBOM's tool")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("takes flags only, but was given %q", fs.Arg(0))
	}
	r.platforms = strings.Split(platforms, ",")
	r.time = time.Unix(max(seconds, 315532800), 0).UTC() // 1980: what every archiver can write
	return r.make(ctx)
}

func (r *release) make(ctx context.Context) error {
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return fmt.Errorf("make the directory of the archives: %w", err)
	}
	common, err := r.common(ctx)
	if err != nil {
		return err
	}
	var sums strings.Builder // as sha256sum -c reads them
	slices.Sort(r.platforms)
	for _, platform := range r.platforms {
		name, content, err := r.pack(ctx, platform, common)
		if err != nil {
			return fmt.Errorf("%s: %w", platform, err)
		}
		if err := os.WriteFile(filepath.Join(r.out, name), content, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(content), name)
		fmt.Fprintln(r.log, filepath.Join(r.out, name))
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

// documents go into every archive as they are in the repository.
var documents = []string{"LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md", "docs/operations.md",
	"docs/semantics.md"}

// common are the files that all platforms have.
func (r *release) common(ctx context.Context) (files, error) {
	all := files{}
	for _, name := range documents {
		if err := all.add(name, name); err != nil {
			return nil, err
		}
	}
	for shell, name := range map[string]string{"bash": "firstclick.bash", "zsh": "_firstclick",
		"fish": "firstclick.fish"} {
		var script bytes.Buffer
		if err := ask(ctx, &script, "completion", shell); err != nil {
			return nil, err
		}
		all["completions/"+name] = file{content: script.Bytes()}
	}
	dir, err := os.MkdirTemp("", "firstclick-man-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for manual pages: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := ask(ctx, io.Discard, "man", "--dir", dir); err != nil {
		return nil, err
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil || len(pages) == 0 {
		return nil, errors.Join(errors.New("there are no manual pages"), err)
	}
	for _, page := range pages {
		if err := all.add("man/man1/"+filepath.Base(page), page); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// ask runs our own command line, which is linked in with the version of the release.
func ask(ctx context.Context, out io.Writer, args ...string) error {
	nothing := func(string) (string, bool) { return "", false }
	if err := cli.Run(ctx, args, cli.Streams{Out: out, Err: io.Discard, Env: nothing}); err != nil {
		return fmt.Errorf("firstclick %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// pack builds for a platform, and returns the archive's name and content.
func (r *release) pack(ctx context.Context, platform string, common files) (name string, content []byte, err error) {
	system, processor, ok := strings.Cut(platform, "/")
	if !ok {
		return "", nil, errors.New("a platform is os/arch")
	}
	dir, err := os.MkdirTemp("", "firstclick-dist-")
	if err != nil {
		return "", nil, fmt.Errorf("make a directory to build in: %w", err)
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "firstclick")
	if err := r.build(ctx, system, processor, binary); err != nil {
		return "", nil, err
	}
	all := maps.Clone(common)
	if err := all.add("firstclick", binary); err != nil {
		return "", nil, err
	}
	all["firstclick"] = file{content: all["firstclick"].content, executable: true}
	if err := r.licences(ctx, binary, all); err != nil {
		return "", nil, err
	}
	if err := r.bill(ctx, binary, all); err != nil {
		return "", nil, err
	}
	folder := fmt.Sprintf("firstclick_%s_%s_%s", r.version, system, processor)
	var archive bytes.Buffer
	err = all.archive(&archive, folder, r.time)
	return folder + ".tar.gz", archive.Bytes(), err
}

func (r *release) build(ctx context.Context, system, processor, binary string) error {
	flags := fmt.Sprintf("-s -w -buildid= -X firstclick/internal/cli.version=%s -X firstclick/internal/cli.commit=%s",
		r.version, r.commit)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", binary, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+processor, "GOFLAGS=", "GOAMD64=v1",
		"GOARM64=v8.0", "GOEXPERIMENT=")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, said)
	}
	return nil
}
