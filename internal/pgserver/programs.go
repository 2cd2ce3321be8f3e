package pgserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"

	"firstclick/internal/childproc"
	"firstclick/internal/ports"
)

// oldest is the least major version that tests take without being asked for one
// (FIRSTCLICK_PGTEST_VERSION): column lists of publications came with 15.
// https://www.postgresql.org/docs/release/15.0/
const oldest = 15

// downloadMajor is the version downloaded where any will do.
const downloadMajor = 17

// programs is an installation of Postgres.
type programs struct {
	dir     string // holds initdb and postgres
	major   int
	version string // as the program says it, like "15.18"
}

// find returns the installation to use. major 0 takes the first that is new enough, preferring
// PATH. Another value takes only that one, for existing data. What is not installed is downloaded.
func find(ctx context.Context, major int, runAs *childproc.Credential) (programs, error) {
	var unfit error
	for _, dir := range installed(ctx) {
		p, err := inspect(ctx, dir, runAs)
		switch {
		case err != nil:
			unfit = errors.Join(unfit, err)
		case major == 0 && p.major < oldest:
			unfit = errors.Join(unfit, fmt.Errorf("%s is version %s, older than %d", dir, p.version, oldest))
		case major != 0 && p.major != major:
			unfit = errors.Join(unfit, fmt.Errorf("%s is version %s, not %d", dir, p.version, major))
		default:
			return p, nil
		}
	}
	p, err := download(ctx, major, runAs)
	if err != nil {
		wanted := strconv.Itoa(major)
		if major == 0 {
			wanted = fmt.Sprintf("%d or newer", oldest)
		}
		return programs{}, fmt.Errorf("find Postgres %s, which is neither installed nor to be downloaded "+
			"(Debian: apt install postgresql; macOS: brew install postgresql): %w", wanted, errors.Join(unfit, err))
	}
	return p, nil
}

// installed lists directories that hold initdb and postgres, best first.
func installed(ctx context.Context) (dirs []string) {
	seen := map[string]bool{}
	add := func(program string) {
		// The link's end is where the shared files are looked for, and where initdb stands beside
		// postgres.
		if end, err := filepath.EvalSymlinks(program); err == nil {
			program = end
		}
		dir := filepath.Dir(program)
		for _, name := range []string{"initdb", "postgres"} {
			if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
				return
			}
		}
		if !seen[dir] {
			seen[dir] = true
			dirs = append(dirs, dir)
		}
	}
	if program, err := exec.LookPath("postgres"); err == nil {
		add(program)
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin/postgres", "/usr/pgsql-*/bin/postgres", "/opt/homebrew/opt/postgresql*/bin/postgres",
		"/usr/local/opt/postgresql*/bin/postgres", "/Applications/Postgres.app/Contents/Versions/*/bin/postgres",
		"/usr/local/pgsql/bin/postgres",
	} {
		found, _ := filepath.Glob(pattern) // the patterns are right
		slices.SortFunc(found, func(a, b string) int { return cmp.Compare(lastNumber(b), lastNumber(a)) })
		for _, program := range found {
			add(program)
		}
	}
	if config, err := exec.LookPath("pg_config"); err == nil {
		if out, err := exec.CommandContext(ctx, config, "--bindir").Output(); err == nil {
			add(filepath.Join(strings.TrimSpace(string(out)), "postgres"))
		}
	}
	return dirs
}

var number = regexp.MustCompile(`(\d+)\D*$`)

// lastNumber orders directories of several versions by number: 9 before 17.
func lastNumber(path string) (n int) {
	if m := number.FindStringSubmatch(path); m != nil {
		n, _ = strconv.Atoi(m[1]) // digits, and few
	}
	return n
}

var versionLine = regexp.MustCompile(`\(PostgreSQL\) ((\d+)\S*)`)

// inspect asks the programs for their version, as the user who will run them.
func inspect(ctx context.Context, dir string, runAs *childproc.Credential) (programs, error) {
	command := exec.CommandContext(ctx, filepath.Join(dir, "initdb"), "--version")
	command.Dir = "/"
	runCommandAs(command, runAs)
	out, err := command.Output()
	if err != nil {
		return programs{}, fmt.Errorf("ask %s for its version: %w", dir, err)
	}
	match := versionLine.FindSubmatch(out)
	if match == nil {
		return programs{}, fmt.Errorf("ask %s for its version: it says %q", dir, out)
	}
	major, err := strconv.Atoi(string(match[2]))
	return programs{dir: dir, major: major, version: string(match[1])}, err
}

// download gets the programs by embedded-postgres, once per machine and version.
func download(ctx context.Context, major int, runAs *childproc.Credential) (programs, error) {
	if major == 0 {
		major = downloadMajor
	}
	version, known := map[int]embeddedpostgres.PostgresVersion{
		13: "13.22.0", // its own V13 cannot be downloaded
		14: embeddedpostgres.V14, 15: embeddedpostgres.V15, 16: embeddedpostgres.V16, 17: embeddedpostgres.V17,
		18: embeddedpostgres.V18,
	}[major]
	if !known {
		return programs{}, fmt.Errorf("no Postgres %d to download", major)
	}
	cache, err := cacheDir(runAs)
	if err != nil {
		return programs{}, err
	}
	dir := filepath.Join(cache, fmt.Sprintf("postgres-%s-%s-%s", version, runtime.GOOS, runtime.GOARCH))
	bin := filepath.Join(dir, "bin")
	if _, err := os.Stat(filepath.Join(bin, "postgres")); err != nil {
		if err := unpack(cache, dir, version); err != nil {
			return programs{}, fmt.Errorf("download Postgres %s: %w", version, err)
		}
	}
	return inspect(ctx, bin, runAs)
}

// unpack makes dir hold the version, or nothing: several processes may do this at once.
func unpack(cache, dir string, version embeddedpostgres.PostgresVersion) (err error) {
	temporary, err := os.MkdirTemp(cache, "unpack-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temporary)) }()
	free, err := ports.Free(1)
	if err != nil {
		return err
	}
	unpacked := filepath.Join(temporary, "postgres")
	obstacle := filepath.Join(temporary, "obstacle")
	if err := os.WriteFile(obstacle, nil, 0o600); err != nil {
		return fmt.Errorf("write a file: %w", err)
	}
	// embedded-postgres downloads and unpacks only on the way to a start. Its start neither works
	// as root nor ends with this process. So the start must fail after the unpacking: the data
	// directory would have to be inside a file. What has been unpacked counts.
	config := embeddedpostgres.DefaultConfig().Version(version).Port(uint32(free[0])).
		CachePath(filepath.Join(temporary, "archive")).BinariesPath(unpacked).
		RuntimePath(filepath.Join(temporary, "runtime")).DataPath(filepath.Join(obstacle, "data")).Logger(nil)
	started := embeddedpostgres.NewDatabase(config).Start()
	http.DefaultClient.CloseIdleConnections() // it leaves its own open, with their goroutines
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := os.Stat(filepath.Join(unpacked, "bin", name)); err != nil {
			return errors.Join(started, err)
		}
	}
	if err := os.Chmod(unpacked, 0o755); err != nil {
		return fmt.Errorf("open the directory: %w", err)
	}
	return putInPlace(unpacked, dir, "bin/postgres")
}
