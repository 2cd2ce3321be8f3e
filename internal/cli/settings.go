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

// kindSwitch is the kind of a flag that needs no value. pflag uses the same name.
const kindSwitch = "bool"

// option is what a flag of ours has besides its value.
type option struct {
	env    string   // the variable that sets it; "": none
	secret bool     // the variable <env>_FILE may name a file with the value
	words  []string // the values that completion offers
	source string   // where the value came from: a variable or a line of the file; "": see sourceOf
}

// setting is the value of a flag. It implements pflag.Value.
type setting[T any] struct {
	option
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

func (s *setting[T]) opt() *option { return &s.option }

// optionOf returns the option of a flag; an empty one for the flags that cobra adds.
func optionOf(flag *pflag.Flag) *option {
	if ours, ok := flag.Value.(interface{ opt() *option }); ok {
		return ours.opt()
	}
	return &option{}
}

// define adds a flag whose value goes to target. The help shows kind as the name of the value. An
// empty env means that only the command line sets the flag. The default is parsed by [resolve], and
// only for the command that runs: it may depend on the machine.
func define[T any](fs *pflag.FlagSet, target *T, name, env, kind, def string,
	parse func(string) (T, error), usage string,
) *option {
	s := &setting[T]{option: option{env: env}, target: target, parse: parse, text: def, kind: kind}
	if env != "" {
		usage += " [" + env + "]"
	}
	fs.Var(s, name, usage)
	return &s.option
}

// defineSwitch adds a flag that needs no value.
func defineSwitch(fs *pflag.FlagSet, target *bool, name, env, usage string) {
	define(fs, target, name, env, kindSwitch, "false", parseSwitch, usage)
}

// defineSecret adds a flag whose value may also come from the file that <env>_FILE names.
func defineSecret(fs *pflag.FlagSet, target *string, name, env, kind, def string,
	parse func(string) (string, error), usage string,
) {
	define(fs, target, name, env, kind, def, parse, usage).secret = true
	flag := fs.Lookup(name)
	flag.Usage = strings.TrimSuffix(flag.Usage, "]") + ", " + env + "_FILE]"
}

// defineWord adds a flag that takes one of the words, or its default.
func defineWord(fs *pflag.FlagSet, target *string, name, env, kind, def, usage string, words ...string) {
	parse := func(text string) (string, error) {
		if text == def {
			return text, nil
		}
		return oneOf(words...)(text)
	}
	define(fs, target, name, env, kind, def, parse, usage).words = words
}

// sourceOf says where the value of a flag comes from.
func sourceOf(flag *pflag.Flag) string {
	switch source := optionOf(flag).source; {
	case source != "":
		return source
	case flag.Changed:
		return "flag"
	}
	return "default"
}

// assign sets a flag from another source than the command line.
func assign(flag *pflag.Flag, text, source string) error {
	if err := flag.Value.Set(text); err != nil {
		return err
	}
	flag.Changed, optionOf(flag).source = true, source
	return nil
}

// eachFlag calls do for the flags of a command until one call fails.
func eachFlag(cmd *cobra.Command, do func(*pflag.Flag) error) (err error) {
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		if err == nil {
			err = do(flag)
		}
	})
	return err
}

// resolve sets every flag that was not given: from its variable, else from the configuration file,
// else to its default.
func resolve(cmd *cobra.Command, env lookup) error {
	err := eachFlag(cmd, func(flag *pflag.Flag) error { return fromEnvironment(cmd, flag, env) })
	if err != nil {
		return err
	}
	if file := cmd.Flags().Lookup(configFlag); file != nil && file.Value.String() != "" {
		if err := fromFile(cmd, file.Value.String()); err != nil {
			return err
		}
	}
	return eachFlag(cmd, func(flag *pflag.Flag) error {
		if flag.Changed {
			return nil
		}
		if err := flag.Value.Set(flag.Value.String()); err != nil {
			return usagef(cmd, "the default of --%s: %v", flag.Name, err)
		}
		return nil
	})
}

func fromEnvironment(cmd *cobra.Command, flag *pflag.Flag, env lookup) error {
	o := optionOf(flag)
	if flag.Changed || o.env == "" {
		return nil
	}
	value, ok := env.get(o.env)
	source := o.env
	if o.secret {
		var err error
		if value, source, ok, err = env.orFile(o.env); err != nil {
			return usagef(cmd, "%v", err)
		}
	}
	if !ok {
		return nil
	}
	if err := assign(flag, value, "environment "+source); err != nil {
		return usagef(cmd, "%s: %v", source, err)
	}
	return nil
}

// lookup reads the environment: os.LookupEnv, or a map in tests.
type lookup func(name string) (string, bool)

// get returns the value of a variable. An empty one counts as not set: compose files pass on
// variables that they do not have.
func (l lookup) get(name string) (string, bool) {
	v, ok := l(name)
	return v, ok && v != ""
}

// orFile returns the value of a variable, or the content of the file that <name>_FILE names. The
// source is the name of the variable that was used.
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
	if value, err = readSecret(path); err != nil {
		err = fmt.Errorf("%s_FILE: %w", name, err)
	}
	return value, name + "_FILE", err == nil, err
}

// readSecret returns the content of a file without its final line break. The error does not quote
// the path: it may be the secret itself, given in place of its file.
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
