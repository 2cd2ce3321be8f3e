package kafkatest

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// Version is the version of the real broker.
const Version = "4.1.0"

// oldestJava is what a Kafka 4 broker needs. https://kafka.apache.org/41/documentation.html#java
const oldestJava = 17

// pom names the broker, and a logger that writes to stderr.
//
//go:embed pom.xml
var pom []byte

const (
	copyDependencies = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
	copyOne          = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
)

// jars returns the directory with the broker's jars, fetched by Maven once per machine.
func jars(ctx context.Context) (string, error) { return fetched(ctx, "kafka-"+Version, fetchJars) }

// toolsJar returns the directory with the jar of Kafka's command line tools, which needs the broker's beside it.
func toolsJar(ctx context.Context) (string, error) {
	return fetched(ctx, "kafka-tools-"+Version, func(ctx context.Context, maven, dir string) error {
		return runMaven(ctx, maven, dir, copyOne, "-Dartifact=org.apache.kafka:kafka-tools:"+Version, "-DoutputDirectory="+filepath.Join(dir, "jars"))
	})
}

// Programs returns a Java and a class path with Kafka's broker and command line tools.
func Programs(t testing.TB) (program, classPath string) {
	t.Helper()
	program, err := java(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	broker, err := jars(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tools, err := toolsJar(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return program, filepath.Join(broker, "*") + string(os.PathListSeparator) + filepath.Join(tools, "*")
}

// fetched returns the directory of the user's cache that fetch filled, in this run or one before.
func fetched(ctx context.Context, name string, fetch func(ctx context.Context, maven, dir string) error) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = filepath.Join(os.TempDir(), fmt.Sprintf("cache-%d", os.Geteuid()))
	}
	parent := filepath.Join(cache, "firstclick")
	dir := filepath.Join(parent, name)
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return dir, nil
	}
	maven, err := exec.LookPath("mvn")
	if err != nil {
		return "", fmt.Errorf("get the jars of Kafka %s: no mvn on PATH: install Maven 3.6 or newer (Debian: apt install maven; macOS: brew install maven): %w", Version, err)
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", fmt.Errorf("make a cache directory: %w", err)
	}
	temporary, err := os.MkdirTemp(parent, "kafka-jars-")
	if err != nil {
		return "", fmt.Errorf("make a cache directory: %w", err)
	}
	err = fetch(ctx, maven, temporary)
	if err == nil {
		// Several processes may do this at once: the first directory in place is as good as ours.
		if err = os.Rename(filepath.Join(temporary, "jars"), dir); err != nil {
			if _, there := os.Stat(dir); there == nil {
				err = nil
			}
		}
	}
	if err := errors.Join(err, os.RemoveAll(temporary)); err != nil {
		return "", fmt.Errorf("get the jars of Kafka %s: %w", Version, err)
	}
	return dir, nil
}

func fetchJars(ctx context.Context, maven, dir string) error {
	if err := os.WriteFile(filepath.Join(dir, "pom.xml"), pom, 0o644); err != nil {
		return err
	}
	return runMaven(ctx, maven, dir, "--file", filepath.Join(dir, "pom.xml"), copyDependencies,
		"-DincludeScope=runtime", "-DoutputDirectory="+filepath.Join(dir, "jars"))
}

func runMaven(ctx context.Context, maven, dir string, args ...string) error {
	command := exec.CommandContext(ctx, maven, append([]string{"--quiet", "--batch-mode"}, args...)...)
	command.Dir = dir
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("run Maven: %w\n%s", err, tail(out, 4000))
	}
	return nil
}

var javaVersion = regexp.MustCompile(`version "(\d+)`)

// java returns a Java that is new enough: that of JAVA_HOME, else that on PATH.
func java(ctx context.Context) (string, error) {
	const advice = "install Java 17 or newer (Debian: apt install openjdk-17-jre-headless; macOS: brew install openjdk)"
	program := filepath.Join(os.Getenv("JAVA_HOME"), "bin", "java")
	if _, err := os.Stat(program); os.Getenv("JAVA_HOME") == "" || err != nil {
		if program, err = exec.LookPath("java"); err != nil {
			return "", fmt.Errorf("run Kafka %s: no java in JAVA_HOME or on PATH: %s: %w", Version, advice, err)
		}
	}
	out, err := exec.CommandContext(ctx, program, "-version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %s: %w: %s", program, advice, err, tail(out, 500))
	}
	match := javaVersion.FindSubmatch(out)
	if match == nil {
		return "", fmt.Errorf("ask %s for its version: it says %q", program, tail(out, 500))
	}
	if major, err := strconv.Atoi(string(match[1])); err != nil || major < oldestJava {
		return "", fmt.Errorf("%s is Java %s, Kafka %s needs %d: %s", program, match[1], Version, oldestJava, advice)
	}
	return program, nil
}

func tail(text []byte, n int) []byte {
	text = bytes.TrimSpace(text)
	if len(text) > n {
		return text[len(text)-n:]
	}
	return text
}
