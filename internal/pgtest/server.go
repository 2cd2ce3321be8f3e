package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"firstclick/internal/childproc"
	"firstclick/internal/ports"
)

// startTime is how long a server may take until it answers; recovery after a crash counts too.
const startTime = 60 * time.Second

// ErrPortInUse is in the error of Start when the port of WithPort is taken.
var ErrPortInUse = errors.New("the port is in use")

// Option changes how Start runs a server.
type Option func(*options)

type options struct {
	port     int
	settings map[string]string
	version  int // major; 0: any that is new enough
	logger   *slog.Logger
	remove   bool   // the directory goes with the server
	hostile  bool   // see hostile.go
	end      string // the signal when our process ends
}

// WithPort chooses the port of 127.0.0.1; 0, the default, picks a free one.
func WithPort(port int) Option { return func(o *options) { o.port = port } }

// WithConfig sets parameters of postgresql.conf, above ours. The value is the plain text, without quotes.
// https://www.postgresql.org/docs/current/runtime-config.html
func WithConfig(settings map[string]string) Option {
	return func(o *options) { maps.Copy(o.settings, settings) }
}

// WithVersion asks for a major version, like 17, for new data: an installed one, else one downloaded. Data that exist keep theirs.
func WithVersion(major int) Option { return func(o *options) { o.version = major } }

// WithSync says whether commits wait for the disk: fsync, synchronous_commit and full_page_writes. Off by default.
func WithSync(on bool) Option {
	value := map[bool]string{true: "on", false: "off"}[on]
	return func(o *options) {
		for _, name := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
			o.settings[name] = value
		}
	}
}

// WithSharedBuffers sets shared_buffers, like "1GB"; 64MB by default.
func WithSharedBuffers(size string) Option {
	return WithConfig(map[string]string{"shared_buffers": size})
}

// WithLogger logs starts and stops. By default nothing is logged.
func WithLogger(logger *slog.Logger) Option { return func(o *options) { o.logger = logger } }

// Server is one Postgres server. Its methods are for one goroutine at a time.
type Server struct {
	Port int    // on 127.0.0.1
	Dir  string // holds data/ and postgres.log

	programs programs
	options  options
	runAs    *childproc.Credential
	process  *childproc.Process
	owned    *os.File // locked while this process has the server; nil: it has none, or another process has one on the same data
}

// Start runs a server with its data in dir, which is made where it is missing, and returns when the server answers. The data of an earlier
// run are used as they are; an unclean end is recovered from. The server ends at the latest with this process.
func Start(dir string, opts ...Option) (*Server, error) {
	o := options{logger: slog.New(slog.DiscardHandler), end: "INT", settings: map[string]string{
		"wal_level": "logical", "max_replication_slots": "40", "max_wal_senders": "40", "max_connections": "200",
		"shared_buffers": "64MB", "timezone": "UTC", "log_timezone": "UTC", "log_checkpoints": "off",
	}}
	WithSync(false)(&o)
	for _, opt := range opts {
		opt(&o)
	}
	s := &Server{Dir: dir, Port: o.port, options: o, runAs: serverUser()}
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	if err := s.prepare(ctx); err != nil {
		return nil, fmt.Errorf("prepare Postgres in %s: %w", dir, err)
	}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) data() string    { return filepath.Join(s.Dir, "data") }
func (s *Server) logFile() string { return filepath.Join(s.Dir, "postgres.log") }

// prepare finds the programs and makes the data where there are none.
func (s *Server) prepare(ctx context.Context) error {
	dir, err := filepath.Abs(s.Dir)
	if err != nil {
		return err
	}
	s.Dir = dir
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return err
	}
	if err := reachable(s.Dir, s.runAs); err != nil {
		return err
	}
	if err := giveAway(s.runAs, s.Dir); err != nil {
		return err
	}
	major, err := clusterMajor(s.data())
	if err != nil {
		return err
	}
	wanted := major
	if wanted == 0 {
		wanted = s.options.version
	}
	// The download of the programs takes as long as the line takes.
	if s.programs, err = find(context.WithoutCancel(ctx), wanted, s.runAs); err != nil || major != 0 {
		return err
	}
	cluster, err := initialized(ctx, s.programs, s.runAs)
	if err != nil {
		return err
	}
	// Copied beside and renamed: half a copy must not be taken for data.
	copying := s.data() + ".new"
	if err := os.RemoveAll(copying); err != nil {
		return err
	}
	if err := copyCluster(cluster, copying, s.runAs); err != nil {
		return err
	}
	if s.options.settings["fsync"] == "on" {
		command := exec.CommandContext(ctx, filepath.Join(s.programs.dir, "initdb"), "--sync-only", "-D", copying)
		command.Dir = s.Dir
		runCommandAs(command, s.runAs)
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("write the new cluster to disk: %w: %s", err, tail(out, 2000))
		}
	}
	return os.Rename(copying, s.data())
}

// start starts the process and waits until it answers. A port of our choice may be taken by another process meanwhile: then another.
func (s *Server) start(ctx context.Context) error {
	choose := s.Port == 0
	for attempt := 1; ; attempt++ {
		if choose {
			free, err := ports.Free(1)
			if err != nil {
				return err
			}
			s.Port = free[0]
		}
		err := s.startOnce(ctx)
		if err == nil {
			s.options.logger.Info("postgres runs", "version", s.programs.version, "port", s.Port, "pid", s.PID(), "dir", s.Dir)
			return nil
		}
		if !choose || attempt == 5 || !errors.Is(err, ErrPortInUse) {
			return fmt.Errorf("start Postgres %s on port %d: %w", s.programs.version, s.Port, err)
		}
	}
}

func (s *Server) startOnce(ctx context.Context) (err error) {
	if s.owned, err = own(s.Dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.disown()
		}
	}()
	if err := s.waitForPredecessor(ctx); err != nil {
		return err
	}
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }() // the server has its own
	args := []string{filepath.Join(s.programs.dir, "postgres"), "-D", s.data(), "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories=", "-c", "port=" + strconv.Itoa(s.Port)}
	for _, name := range slices.Sorted(maps.Keys(s.options.settings)) {
		args = append(args, "-c", name+"="+s.options.settings[name])
	}
	if s.options.hostile {
		args = append(args, s.hostileArgs()...)
	}
	remove := ""
	if s.options.remove {
		remove = s.Dir
	}
	s.process, err = childproc.Start(childproc.Config{Args: args, Dir: s.Dir, Env: serverEnv(), Log: log, Credential: s.runAs,
		EndSignal: s.options.end, RemoveDir: remove})
	if err != nil {
		return err
	}
	return s.waitUntilReady(ctx)
}

// serverEnv is our environment without what would change the server or its messages.
func serverEnv() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "PG") || strings.HasPrefix(v, "LC_") || strings.HasPrefix(v, "LANG")
	})
	return append(env, "LC_ALL=C")
}

// patience is how long a server that none of our processes owns may look healthy before we take it for somebody's: one whose owner was killed just
// now hears of it within a moment, which is longer on a busy machine.
const patience = 30 * time.Second

// waitForPredecessor waits while a server of an earlier process of ours, killed just now, is still ending on these data. One that has its owner is
// not waited for: Postgres will say that it is there.
func (s *Server) waitForPredecessor(ctx context.Context) error {
	if s.owned == nil {
		return nil
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	began := time.Now()
	for {
		text, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
		if err != nil {
			return nil
		}
		line, _, _ := strings.Cut(string(text), "\n")
		pid, err := strconv.Atoi(line)
		if err != nil || pid <= 0 || !alive(pid) || status(s.data(), pid) != "stopping" && time.Since(began) > patience {
			return nil // stale, or in good health: Postgres knows which, and says so
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for the end of the server with process id %d on the same data: %w", pid, ctx.Err())
		}
	}
}

func (s *Server) disown() {
	if s.owned != nil {
		_ = s.owned.Close() // with it the lock goes
		s.owned = nil
	}
}

func alive(pid int) bool {
	process, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	err = process.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, os.ErrPermission)
}

// status reads what the server with the process id says of itself in the last line of postmaster.pid: starting, ready, stopping; pg_ctl
// waits for the same. Empty: there is no such server.
func status(data string, pid int) string {
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if lines[0] != strconv.Itoa(pid) {
		return ""
	}
	return strings.TrimSpace(lines[len(lines)-1])
}

// waitUntilReady asks the file, not the port: there somebody else may answer.
func (s *Server) waitUntilReady(ctx context.Context) error {
	for !s.process.Ended(10 * time.Millisecond) {
		if status(s.data(), s.PID()) == "ready" {
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(fmt.Errorf("not ready within %v: %w\n%s", startTime, ctx.Err(), s.logTail()), s.Kill())
		}
	}
	said := s.logTail()
	err := fmt.Errorf("the server ended: %w\n%s", s.process.Result(), said)
	if strings.Contains(said, "could not bind") {
		return errors.Join(ErrPortInUse, err)
	}
	return err
}

func (s *Server) logTail() string {
	file, err := os.Open(s.logFile())
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > 4000 {
		_, _ = file.Seek(-4000, io.SeekEnd)
	}
	text, err := io.ReadAll(file)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// DSN is the URL of a database of the server, for the superuser, with the password.
func (s *Server) DSN(database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(superuser, password), Host: fmt.Sprintf("127.0.0.1:%d", s.Port),
		Path: "/" + database, RawQuery: "sslmode=disable"}
	if s.options.hostile {
		u.RawQuery += s.tame()
	}
	return u.String()
}

// PID is the process id of the server's main process.
func (s *Server) PID() int { return s.process.PID() }

// Version is the server's version, like "15.18".
func (s *Server) Version() string { return s.programs.version }

// Stop ends sessions and server in good order ("fast"), and returns when the server has ended. When ctx ends before, the server is
// ended at once. A server that has ended is no error.
// https://www.postgresql.org/docs/current/server-shutdown.html
func (s *Server) Stop(ctx context.Context) error {
	if err := s.process.Signal(syscall.SIGINT); err != nil {
		return err
	}
	if err := s.process.Wait(ctx); err != nil {
		return errors.Join(fmt.Errorf("stop Postgres: %w", err), s.Kill())
	}
	s.disown()
	s.options.logger.Info("postgres stopped", "pid", s.PID())
	return nil
}

// Kill ends the server at once ("immediate"): the next start recovers as after a crash.
func (s *Server) Kill() error {
	if err := s.process.Signal(syscall.SIGQUIT); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := s.process.Wait(ctx)
	if err == nil {
		s.disown()
		return nil
	}
	return errors.Join(fmt.Errorf("kill Postgres: %w", err), s.process.Signal(syscall.SIGKILL))
}

// Restart starts the server again on the same port and data; one that runs is stopped first.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Stop(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if err := s.startOnce(ctx); err != nil {
		return fmt.Errorf("restart Postgres on port %d: %w", s.Port, err)
	}
	return nil
}

// Reload makes the server read its configuration files again, for what ALTER SYSTEM has changed.
func (s *Server) Reload() error { return s.process.Signal(syscall.SIGHUP) }

// Running says whether the server's process is there.
func (s *Server) Running() bool { return !s.process.Ended(0) }
