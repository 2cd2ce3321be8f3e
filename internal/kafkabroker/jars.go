package kafkabroker

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
func jars(ctx context.Context) (string, error) {
	return fetched(ctx, "kafka-"+Version, "--file", "pom.xml", copyDependencies, "-DincludeScope=runtime")
}

// toolsJar returns the directory with the jar of Kafka's command line tools, which needs the
// broker's.
func toolsJar(ctx context.Context) (string, error) {
	return fetched(ctx, "kafka-tools-"+Version, copyOne, "-Dartifact=org.apache.kafka:kafka-tools:"+Version)
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

// fetched returns the directory of the user's cache that Maven filled, in this run or one before.
func fetched(ctx context.Context, name string, args ...string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = filepath.Join(os.TempDir(), fmt.Sprintf("cache-%d", os.Geteuid()))
	}
	parent := filepath.Join(cache, "firstclick")
	dir := filepath.Join(parent, name)
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return dir, nil
	}
	if err := fetch(ctx, parent, dir, args); err != nil {
		return "", fmt.Errorf("get the jars of Kafka %s: %w", Version, err)
	}
	return dir, nil
}

func fetch(ctx context.Context, parent, dir string, args []string) (err error) {
	maven, err := exec.LookPath("mvn")
	if err != nil {
		return fmt.Errorf("no mvn on PATH: install Maven 3.6 or newer (Debian: apt install maven; macOS: brew "+
			"install maven): %w", err)
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(parent, "kafka-jars-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temporary)) }()
	if err := os.WriteFile(filepath.Join(temporary, "pom.xml"), pom, 0o644); err != nil {
		return err
	}
	filled := filepath.Join(temporary, "jars")
	args = append([]string{"--quiet", "--batch-mode", "-DoutputDirectory=" + filled}, args...)
	command := exec.CommandContext(ctx, maven, args...)
	command.Dir = temporary
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("run Maven: %w\n%s", err, tail(out, 4000))
	}
	// Another process may have put its own in place.
	if err := os.Rename(filled, dir); err != nil {
		if _, missing := os.Stat(dir); missing != nil {
			return err
		}
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
