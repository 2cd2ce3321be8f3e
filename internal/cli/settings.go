package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Annotations of a flag: the environment variable that stands in for it, and whether <variable>_FILE does too.
const (
	annotationEnv  = "env"
	annotationFile = "env_file"

	annotationSource = "source" // where the value comes from, once [resolve] has been through
	annotationWords  = "words"  // what completion offers
)

// kindSwitch is the kind of flags that need no value, by the name that pflag knows.
const kindSwitch = "bool"

// setting is a flag's value, parsed by one function wherever it comes from. It implements pflag.Value.
type setting[T any] struct {
	target *T
	parse  func(string) (T, error)
	text   string
	kind   string
}

func (s *setting[T]) String() string { return s.text }
func (s *setting[T]) Type() string   { return s.kind }

// IsBoolFlag tells pflag that the flag may stand without a value.
func (s *setting[T]) IsBoolFlag() bool { return s.kind == kindSwitch }

func (s *setting[T]) Set(text string) error {
	v, err := s.parse(text)
	if err != nil {
		return err
	}
	*s.target, s.text = v, text
	return nil
}

// useDefault parses the default like any value.
func (s *setting[T]) useDefault() error { return s.Set(s.text) }

// define adds a flag whose value goes to target. The kind is the word that the help shows for the value; env may be empty:
// then only the flag sets it. Nothing is parsed here: the commands are built before it is known which one runs, and what a default
// is parsed to can depend on the machine. [resolve] does it, for the one command that runs.
func define[T any](fs *pflag.FlagSet, target *T, name, env, kind, def string, parse func(string) (T, error), usage string) *pflag.Flag {
	s := &setting[T]{target: target, parse: parse, text: def, kind: kind}
	if env != "" {
		usage += " [" + env + "]"
	}
	flag := fs.VarPF(s, name, "", usage)
	if env != "" {
		flag.Annotations = map[string][]string{annotationEnv: {env}}
	}
	return flag
}

// defineSwitch adds a flag that needs no value.
func defineSwitch(fs *pflag.FlagSet, target *bool, name, env, usage string) {
	define(fs, target, name, env, kindSwitch, "false", parseSwitch, usage)
}

// alsoFromFile lets <variable>_FILE name a file that holds the value.
func alsoFromFile(flag *pflag.Flag) {
	flag.Annotations[annotationFile] = []string{"yes"}
	flag.Usage = strings.TrimSuffix(flag.Usage, "]") + ", " + flag.Annotations[annotationEnv][0] + "_FILE]"
}

// lookup reads the environment: os.LookupEnv, or a map in tests.
type lookup func(name string) (string, bool)

// get is the variable's value; one that is set but empty counts as not set, as in compose files that pass on what they
// do not have.
func (l lookup) get(name string) (string, bool) {
	v, ok := l(name)
	return v, ok && v != ""
}

// orFile is the variable's value, or the content of the file that <name>_FILE names, without its final line break. The
// source says which of the two it was.
func (l lookup) orFile(name string) (value, source string, ok bool, err error) {
	value, direct := l.get(name)
	path, file := l.get(name + "_FILE")
	switch {
	case direct && file:
		return "", name, false, fmt.Errorf("%s and %s_FILE are both set: set one", name, name)
	case direct:
		return value, name, true, nil
	case !file:
		return "", name, false, nil
	}
	text, err := readSecret(path)
	if err != nil {
		return "", name + "_FILE", false, fmt.Errorf("%s_FILE: %w", name, err)
	}
	return text, name + "_FILE", true, nil
}

// readSecret is a file's content without its final line break. The error does not quote the path:
// it may be the secret itself, given in place of its file.
func readSecret(path string) (string, error) {
	content, err := os.ReadFile(path)
	if cause := (*fs.PathError)(nil); errors.As(err, &cause) {
		err = fmt.Errorf("read the file that it names: %w", cause.Err)
	}
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r"), nil
}

// offering tells completion which words the flag takes.
func offering(flag *pflag.Flag, words ...string) {
	annotate(flag, annotationWords, words...)
}

func annotate(flag *pflag.Flag, name string, values ...string) {
	if flag.Annotations == nil {
		flag.Annotations = map[string][]string{}
	}
	flag.Annotations[name] = values
}

// fromFlag and fromDefault are sources; the others begin with "environment" or "file".
const (
	fromFlag    = "flag"
	fromDefault = "default"
)

// sourceOf says where a flag's value comes from.
func sourceOf(flag *pflag.Flag) string {
	if s := flag.Annotations[annotationSource]; len(s) == 1 {
		return s[0]
	}
	if flag.Changed {
		return fromFlag
	}
	return fromDefault
}

// resolve fills every flag that was not given: from its variable, else from the configuration file, else with its default.
func resolve(cmd *cobra.Command, env lookup) error {
	if err := fromEnvironment(cmd, env); err != nil {
		return err
	}
	if file := cmd.Flags().Lookup(configFlag); file != nil && file.Value.String() != "" {
		if err := fromFile(cmd, file.Value.String()); err != nil {
			return err
		}
	}
	var failed error
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		if value, ours := flag.Value.(interface{ useDefault() error }); ours && failed == nil && !flag.Changed {
			if err := value.useDefault(); err != nil {
				failed = usagef(cmd, "the default of --%s: %v", flag.Name, err)
			}
		}
	})
	return failed
}

// fromEnvironment fills every flag that was not given from its variable.
func fromEnvironment(cmd *cobra.Command, env lookup) error {
	var failed error
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		names := flag.Annotations[annotationEnv]
		if failed != nil || flag.Changed || len(names) == 0 {
			return
		}
		value, ok := env.get(names[0])
		source := names[0]
		if flag.Annotations[annotationFile] != nil {
			var err error
			if value, source, ok, err = env.orFile(names[0]); err != nil {
				failed = usagef(cmd, "%v", err)
				return
			}
		}
		if !ok {
			return
		}
		if err := flag.Value.Set(value); err != nil {
			failed = usagef(cmd, "%s: %v", source, err)
			return
		}
		flag.Changed = true
		annotate(flag, annotationSource, "environment "+source)
	})
	return failed
}
