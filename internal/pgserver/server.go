package pgserver

import (
	"context"
	"errors"
	"fmt"
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
	byMajor  func(major int) map[string]string
	version  int // major; 0: any that is new enough
	logger   *slog.Logger
	remove   bool   // the directory goes with the server
	end      string // the signal when this process ends
}

// WithPort chooses the port of 127.0.0.1; 0, the default, picks a free one.
func WithPort(port int) Option { return func(o *options) { o.port = port } }

// WithConfig sets parameters of postgresql.conf, above those of this package. A value is plain
// text, without quotes. https://www.postgresql.org/docs/current/runtime-config.html
func WithConfig(settings map[string]string) Option {
	return func(o *options) { maps.Copy(o.settings, settings) }
}

// WithConfigOf is WithConfig for settings that depend on the major version.
func WithConfigOf(settings func(major int) map[string]string) Option {
	return func(o *options) { o.byMajor = settings }
}

// WithVersion asks for a major version, like 17, for new data: an installed one, else one
// downloaded. Existing data keep theirs.
func WithVersion(major int) Option { return func(o *options) { o.version = major } }

// WithSync makes commits wait for the disk: fsync, synchronous_commit and full_page_writes are on.
func WithSync() Option {
	return WithConfig(map[string]string{"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"})
}

// WithLogger logs starts and stops. By default nothing is logged.
func WithLogger(logger *slog.Logger) Option { return func(o *options) { o.logger = logger } }

// Temporary makes the server end at once when this process ends, and its directory with it.
func Temporary() Option { return func(o *options) { o.remove, o.end = true, "QUIT" } }

// Server is one Postgres server. Its methods are for one goroutine at a time.
type Server struct {
	Port int    // on 127.0.0.1
	Dir  string // holds data/ and postgres.log

	programs programs
	options  options
	runAs    *childproc.Credential
	process  *childproc.Process
	owned    *os.File // locked while this process has the server; nil: it has none, or another process has one
}

// Start runs a server with its data in dir, which it makes where it is missing, and returns when
// the server answers. It takes over the data of an earlier run, and recovers from an unclean end.
func Start(dir string, opts ...Option) (*Server, error) {
	o := options{logger: slog.New(slog.DiscardHandler), end: "INT", settings: map[string]string{
		"wal_level": "logical", "max_replication_slots": "40", "max_wal_senders": "40", "max_connections": "200",
		"shared_buffers": "64MB", "timezone": "UTC", "log_timezone": "UTC", "log_checkpoints": "off",
		"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
	}}
	for _, opt := range opts {
		opt(&o)
	}
	s := &Server{Dir: dir, Port: o.port, options: o, runAs: serverUser()}
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	if err := s.prepare(ctx); err != nil {
		return nil, fmt.Errorf("prepare Postgres in %s: %w", dir, err)
	}
	// Another process may take a port of our choice in between: then another one.
	for attempt := 1; ; attempt++ {
		if o.port == 0 {
			free, err := ports.Free(1)
			if err != nil {
				return nil, err
			}
			s.Port = free[0]
		}
		err := s.start(ctx)
		if err == nil {
			o.logger.Info("postgres runs", "version", s.Version(), "port", s.Port, "pid", s.PID(), "dir", s.Dir)
			return s, nil
		}
		if o.port != 0 || attempt == 5 || !errors.Is(err, ErrPortInUse) {
			return nil, fmt.Errorf("start Postgres %s on port %d: %w", s.Version(), s.Port, err)
		}
	}
}

func (s *Server) data() string    { return filepath.Join(s.Dir, "data") }
func (s *Server) logFile() string { return filepath.Join(s.Dir, "postgres.log") }

// prepare finds the programs and makes the data where there are none.
func (s *Server) prepare(ctx context.Context) (err error) {
	if s.Dir, err = filepath.Abs(s.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return err
	}
	if err := errors.Join(reachable(s.Dir, s.runAs), giveAway(s.runAs, s.Dir)); err != nil {
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
	// No time limit: a download takes as long as the line takes.
	if s.programs, err = find(context.WithoutCancel(ctx), wanted, s.runAs); err != nil || major != 0 {
		return err
	}
	cluster, err := initialized(ctx, s.programs, s.runAs)
	if err != nil {
		return err
	}
	// The copy is renamed at the end, so that half a copy never counts as data.
	copying := s.data() + ".new"
	if err := os.RemoveAll(copying); err != nil {
		return err
	}
	if err := copyCluster(ctx, cluster, copying, s.runAs); err != nil {
		return err
	}
	if s.options.settings["fsync"] == "on" {
		command := exec.CommandContext(ctx, filepath.Join(s.programs.dir, "initdb"), "--sync-only", "-D", copying)
		command.Dir = s.Dir
		runCommandAs(command, s.runAs)
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("write the new cluster to disk: %w: %s", err, tail(out))
		}
	}
	return os.Rename(copying, s.data())
}

// start starts the process and waits until it answers.
func (s *Server) start(ctx context.Context) (err error) {
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
	settings := maps.Clone(s.options.settings)
	if s.options.byMajor != nil {
		maps.Copy(settings, s.options.byMajor(s.programs.major))
	}
	settings["listen_addresses"], settings["unix_socket_directories"] = "127.0.0.1", ""
	settings["port"] = strconv.Itoa(s.Port)
	args := []string{filepath.Join(s.programs.dir, "postgres"), "-D", s.data()}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	// Our environment, without what would change the server or its messages.
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "PG") || strings.HasPrefix(v, "LC_") || strings.HasPrefix(v, "LANG")
	})
	config := childproc.Config{Args: args, Dir: s.Dir, Env: append(env, "LC_ALL=C"), Log: log,
		Credential: s.runAs, EndSignal: s.options.end}
	if s.options.remove {
		config.RemoveDir = s.Dir
	}
	if s.process, err = childproc.Start(config); err != nil {
		return err
	}
	return s.waitUntilReady(ctx)
}

// waitUntilReady reads postmaster.pid. It does not ask the port, where another server may answer.
func (s *Server) waitUntilReady(ctx context.Context) error {
	for !s.process.Ended(10 * time.Millisecond) {
		if pid, status := postmaster(s.data()); pid == s.PID() && status == "ready" {
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

// patience is how long a server without an owner may look healthy before it counts as another's.
// One whose owner was killed just now ends within a moment, which is longer on a busy machine.
const patience = 30 * time.Second

// waitForPredecessor waits while a server ends on these data whose owner, an earlier process, was
// killed just now. It does not wait for one that has its owner: Postgres will say that it is there.
func (s *Server) waitForPredecessor(ctx context.Context) error {
	if s.owned == nil {
		return nil
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for began := time.Now(); ; {
		pid, status := postmaster(s.data())
		if pid <= 0 || !alive(pid) || status != "stopping" && time.Since(began) > patience {
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

// postmaster reads postmaster.pid: the process id, and what the server says of itself in the last
// line, for which pg_ctl waits too: starting, ready, stopping. 0: there is no such file.
func postmaster(data string) (pid int, status string) {
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return 0, ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	pid, _ = strconv.Atoi(lines[0]) // 0: half written
	return pid, strings.TrimSpace(lines[len(lines)-1])
}

func (s *Server) logTail() string {
	text, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	return string(tail(text))
}

func tail(text []byte) []byte { return text[max(0, len(text)-4000):] }

// DSN is the URL of a database of the server, for the superuser, with the password.
func (s *Server) DSN(database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(superuser, password),
		Host: fmt.Sprintf("127.0.0.1:%d", s.Port), Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

// PID is the process id of the server's main process.
func (s *Server) PID() int { return s.process.PID() }

// Version is the server's version, like "15.18".
func (s *Server) Version() string { return s.programs.version }

// Major is the server's major version.
func (s *Server) Major() int { return s.programs.major }

// Stop ends sessions and server in good order ("fast"), and returns when the server has ended. When
// ctx ends before, it ends the server at once. A server that has ended is no error.
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
	if err := s.process.Wait(ctx); err != nil {
		return errors.Join(fmt.Errorf("kill Postgres: %w", err), s.process.Signal(syscall.SIGKILL))
	}
	s.disown()
	return nil
}

// Restart starts the server again on the same port and data; one that runs is stopped first.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Stop(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if err := s.start(ctx); err != nil {
		return fmt.Errorf("restart Postgres on port %d: %w", s.Port, err)
	}
	return nil
}
