package docstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/itchyny/gojq"
	"github.com/jackc/pgx/v5"
	"mvdan.cc/sh/v3/interp"
	lines "mvdan.cc/sh/v3/shell"
)

// known is every program that pages may call, and how it is run or checked.
func (s *shell) known() map[string]program {
	check := func(of func(args []string) error) program {
		return func(_ context.Context, args []string) error {
			s.checked.Add(1)
			return of(args)
		}
	}
	return map[string]program{
		"firstclick": s.firstclick, "bin/firstclick": s.firstclick,
		"make":  s.make,
		"go":    check(s.goTool),
		"jq":    jq,
		"cat":   cat,
		"psql":  check(s.client),
		"pgcli": check(s.client),
		"curl":  check(served),
		"git":   check(words(`^clone \S+( \S+)?$`)),
		"cd":    check(words(`^\S+$`)),
		"npm":   check(words(`^pack [a-z-]+$`)),
		"kafka-acls.sh": check(words(`^--bootstrap-server \S+ --(add|remove|list)( --allow-principal User:\S+)?( ` +
			`--(operation|topic|group) \S+)*$`)),
		"kafka-configs.sh": check(words(`^(--bootstrap-server \S+ )?--(alter|describe) --topic \S+( --add-config ` +
			`retention\.(ms|bytes)=-?[0-9]+)?$`)),
		"kafka-topics.sh": check(words(`^--bootstrap-server \S+ --(create|alter|describe|list)( --topic \S+)?( ` +
			`--(partitions|replication-factor) [0-9]+)*( --config [a-z.]+=\S+)*$`)),
		"docker":  check(s.docker),
		"kubectl": check(s.kubectl),
		"systemctl": check(words(`^(--now )?(enable|start|stop|restart|status|daemon-reload|reload)( --now)?( ` +
			`firstclick(@[0-9a-z]+)?(\.service)?)?$`)),
		"journalctl": check(words(`^-u firstclick( -f| --since \S+)*$`)),
		"pg_dump": check(words(`^(--schema=(firstclick|commerce) |--table=\S+ |--format=custom |--file=\S+ ` +
			`)*\S+$`)),
		"pg_restore":    check(words(`^(--clean |--if-exists |--dbname=\S+ )*\S+$`)),
		"chronyc":       check(words(`^tracking$`)),
		"sudo":          func(ctx context.Context, args []string) error { return s.command(ctx, args) },
		"golangci-lint": check(words(`^fmt$`)),
		"promtool":      check(words(`^(check (rules|config|metrics)|test rules)( \S+)*$`)),
		"sha256sum":     check(words(`^(-c|--check)( --ignore-missing)? \S+$`)),
	}
}

// words accepts arguments of a form, for programs that are not here.
func words(form string) func(args []string) error {
	return func(args []string) error {
		if joined := strings.Join(args, " "); !regexp.MustCompile(form).MatchString(joined) {
			return fmt.Errorf("%q does not have the form %s", joined, form)
		}
		return nil
	}
}

// make looks whether the targets exist and what they would run, which it checks in turn.
func (s *shell) make(ctx context.Context, args []string) error {
	s.checked.Add(1)
	command := exec.CommandContext(ctx, "make", append([]string{"-n", "--no-print-directory", "-C", s.top}, args...)...)
	out, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	given := map[string]string{}
	for _, arg := range args {
		if name, value, is := strings.Cut(arg, "="); is {
			given[name] = value
		}
	}
	if pattern := given["RUN"]; pattern != "" {
		if err := s.matches("Test", pattern, s.top); err != nil {
			return err
		}
	}
	if given["ARGS"] == "" {
		return nil
	}
	for line := range strings.Lines(string(out)) {
		fields, err := lines.Fields(line, nil)
		if err != nil || len(fields) == 0 {
			continue
		}
		if fields[0] == "exec" {
			fields = fields[1:]
		}
		switch {
		case fields[0] == "bin/firstclick":
			_, err = s.help(ctx, fields[1:])
		case strings.HasPrefix(fields[0], "bin/"): // a program of the tools
			err = s.goTool(append([]string{"run", "-C", "tools", "./" + strings.TrimPrefix(fields[0], "bin/")},
				fields[1:]...))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// goTool checks the names of packages, tests and flags of go test, go run and the like.
func (s *shell) goTool(args []string) error {
	if len(args) == 0 {
		return errors.New("go what?")
	}
	verb, rest := args[0], args[1:]
	module := s.top
	if len(rest) > 1 && rest[0] == "-C" {
		module, rest = filepath.Join(s.top, rest[1]), rest[2:]
	}
	if !slices.Contains([]string{"test", "run", "vet", "build", "version", "tool"}, verb) {
		return fmt.Errorf("go %s is not expected in a page", verb)
	}
	dir := module
	for i := 0; i < len(rest); i++ {
		arg := rest[i]
		name, value, given := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		next := func() string {
			if !given && i+1 < len(rest) {
				i++
				return rest[i]
			}
			return value
		}
		var err error
		switch {
		case !strings.HasPrefix(arg, "-"):
			if strings.Contains(arg, "@") && verb == "run" { // a tool of somebody else's
				return nil
			}
			dir = filepath.Join(module, strings.TrimSuffix(arg, "..."))
			if arg == "./room/..." { // whichever
				dir = module
			}
			if info, statErr := os.Stat(dir); statErr != nil || !info.IsDir() {
				err = fmt.Errorf("there is no package %s", arg)
			}
		case name == "run":
			if pattern := next(); pattern != "^$" && pattern != "xxx" {
				err = s.matches("Test", pattern, dir)
			}
		case name == "fuzz":
			// The package comes behind.
			pattern := next()
			err = s.matches("Fuzz", pattern, filepath.Join(module, rest[len(rest)-1]))
		case name == "bench":
			err = s.matches("Benchmark", next(), dir)
		case slices.Contains([]string{"race", "v", "buildvcs", "trimpath", "short"}, name):
		case slices.Contains([]string{"count", "timeout", "tags", "o", "benchtime"}, name):
			next()
		default:
			err = s.defines(dir, name)
			if !given && i+1 < len(rest) && !strings.HasPrefix(rest[i+1], "-") && !strings.HasPrefix(rest[i+1], "./") {
				i++ // its value
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// matches says whether a function of a kind with a name that the pattern matches is in a package
// below dir.
func (s *shell) matches(kind, pattern, dir string) error {
	form, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	function := regexp.MustCompile(`(?m)^func (` + kind + `[A-Z]\w*)\(`)
	found := false
	err = filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil || found || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range function.FindAllStringSubmatch(string(text), -1) {
			found = found || form.MatchString(m[1])
		}
		return err
	})
	if err == nil && !found {
		err = fmt.Errorf("no %s function matches %q", kind, pattern)
	}
	return err
}

// defines says whether the package's sources define a flag of the name.
func (s *shell) defines(dir, name string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	if name == "rapid.checks" || name == "rapid.seed" {
		return nil
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if regexp.MustCompile(`\.(Bool|Int|Int64|Uint64|String|Duration|Float64|Var|Func)[A-Za-z0-9]*\(([&\w.]+, )?"` +
			regexp.QuoteMeta(name) + `"`).Match(text) {
			return nil
		}
	}
	return fmt.Errorf("%s defines no flag -%s", filepath.Base(dir), name)
}

// client holds a command that opens the database against the names that people know.
func (s *shell) client(args []string) error {
	type target struct{ Host, Port, User, Database string }
	known := target{"localhost", "5432", "postgres", "postgres"}
	got := known
	for i := 0; i < len(args); i++ {
		option := map[string]*string{"-h": &got.Host, "-p": &got.Port, "-U": &got.User, "-d": &got.Database}[args[i]]
		switch {
		case strings.HasPrefix(args[i], "postgres://"):
			config, err := pgx.ParseConfig(args[i])
			if err != nil {
				return err
			}
			got = target{config.Host, fmt.Sprint(config.Port), config.User, config.Database}
		case args[i] == "-c" && i+1 < len(args):
			i++
			if err := s.bed.tries(args[i]); err != nil {
				return err
			}
		case option != nil && i+1 < len(args):
			i++
			*option = args[i]
		default:
			return fmt.Errorf("%s is not expected", args[i])
		}
	}
	if got != known {
		return fmt.Errorf("%v is not where the demo's database is", got)
	}
	return nil
}

// served holds an address against what the binary serves.
func served(args []string) error {
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") {
			continue
		}
		u, err := url.Parse(arg)
		if err != nil {
			return err
		}
		if u.Port() == "8081" && !slices.Contains([]string{"/livez", "/readyz", "/healthz", "/metrics", "/", ""},
			u.Path) {
			return fmt.Errorf("%s is not served", u.Path)
		}
	}
	return nil
}

// docker checks the services and profiles that a command of docker compose names.
func (s *shell) docker(args []string) error {
	text, err := os.ReadFile(filepath.Join(s.top, "docker-compose.yml"))
	if err != nil {
		return err
	}
	if len(args) < 2 || args[0] != "compose" {
		return words(`^build (-t \S+ )?(-f \S+ )?\.$`)(args)
	}
	for i := 1; i < len(args); i++ {
		switch arg := args[i]; {
		case arg == "--profile" && i+1 < len(args):
			i++
			if !regexp.MustCompile(`profiles:.*\b` + regexp.QuoteMeta(args[i]) + `\b`).Match(text) {
				return fmt.Errorf("docker-compose.yml has no profile %s", args[i])
			}
		case slices.Contains([]string{"up", "down", "logs", "ps", "build", "stop", "start", "restart", "config",
			"pull"}, arg),
			slices.Contains([]string{"-d", "-f", "-v", "--build", "--volumes", "--wait"}, arg):
		case arg == "exec", arg == "run":
			for i++; i < len(args) && strings.HasPrefix(args[i], "-"); i++ {
			}
			if i == len(args) || !regexp.MustCompile(`(?m)^  `+regexp.QuoteMeta(args[i])+`:`).Match(text) {
				return errors.New("docker-compose.yml has no such service")
			}
			return nil // what runs in there is not here
		default:
			if !regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(arg) + `:`).Match(text) {
				return fmt.Errorf("docker-compose.yml has no service %s", arg)
			}
		}
	}
	return nil
}

// kubectl checks that files which are applied exist.
func (s *shell) kubectl(args []string) error {
	for i, arg := range args {
		if arg == "-f" && i+1 < len(args) {
			if _, err := os.Stat(filepath.Join(s.top, args[i+1])); err != nil {
				return err
			}
		}
	}
	return words(`^(-n \S+ )?(apply|delete|get|logs|rollout|create|scale|set|describe|port-forward)( \S+)*$`)(args)
}

// jq runs a filter over standard input.
func jq(ctx context.Context, args []string) error {
	raw := len(args) > 0 && args[0] == "-r"
	if raw {
		args = args[1:]
	}
	if len(args) != 1 {
		return errors.New("one filter is expected")
	}
	query, err := gojq.Parse(args[0])
	if err != nil {
		return err
	}
	hc := interp.HandlerCtx(ctx)
	input := json.NewDecoder(hc.Stdin)
	for {
		var value any
		if err := input.Decode(&value); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("no JSON comes in: %w", err)
		}
		results := query.Run(value)
		for {
			result, more := results.Next()
			if !more {
				break
			}
			if err, is := result.(error); is {
				return err
			}
			if text, is := result.(string); is && raw {
				fmt.Fprintln(hc.Stdout, text)
				continue
			}
			if err := json.NewEncoder(hc.Stdout).Encode(result); err != nil {
				return err
			}
		}
	}
}

func cat(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	for _, arg := range args {
		text, err := os.ReadFile(arg)
		if err != nil {
			return err
		}
		if _, err := hc.Stdout.Write(text); err != nil {
			return err
		}
	}
	return nil
}
