package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// configFlag names the configuration file; it cannot stand in the file itself.
const configFlag = "config"

// configAtMost is how large a configuration file may be, in bytes.
const configAtMost = 1 << 20

// fileSuffix behind a secret's name says that the value is the name of a file that holds it.
const fileSuffix = "-file"

// configFlags are the flags of every command.
func (c *command) configFlags(fs *pflag.FlagSet) {
	define(fs, &c.configFile, configFlag, "CONFIG", "file", "", parseText,
		"YAML file with settings, a line each, such as \"window: 30m\"; flags and variables win")
}

// fileValue is a value of the configuration file as it is written there.
type fileValue struct {
	text string
	line int
}

// fromFile fills every flag that is still as it was from the file. Keys are the names of flags that have a variable: these are
// settings, and mean the same to all commands. So one file serves all of them; what this command does not need is passed over.
func fromFile(cmd *cobra.Command, path string) error {
	values, err := readConfig(path)
	if err != nil {
		return usagef(cmd, "%s", singleLine(err.Error()))
	}
	known := settingNames(cmd.Root())
	for _, key := range slices.SortedFunc(maps.Keys(values), func(a, b string) int { return values[a].line - values[b].line }) {
		if _, ok := known[key]; !ok {
			return usagef(cmd, "%s:%d: unknown key %q; %s", path, values[key].line, key, allowedKeys(cmd, key, known))
		}
	}
	var failed error
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		if failed == nil && len(flag.Annotations[annotationEnv]) > 0 {
			failed = setFromFile(cmd, flag, path, values)
		}
	})
	return failed
}

func setFromFile(cmd *cobra.Command, flag *pflag.Flag, path string, values map[string]fileValue) error {
	value, direct := values[flag.Name]
	if flag.Annotations[annotationFile] != nil {
		named, indirect := values[flag.Name+fileSuffix]
		if direct && indirect {
			return usagef(cmd, "%s:%d: %s and %s%s are both set: set one", path, max(value.line, named.line), flag.Name, flag.Name, fileSuffix)
		}
		if indirect && !flag.Changed {
			text, err := readSecret(named.text)
			if err != nil {
				return usagef(cmd, "%s:%d: %s%s: %v", path, named.line, flag.Name, fileSuffix, err)
			}
			value, direct = fileValue{text: text, line: named.line}, true
		}
	}
	if !direct || flag.Changed {
		return nil
	}
	if err := flag.Value.Set(value.text); err != nil {
		return usagef(cmd, "%s:%d: %s: %v", path, value.line, flag.Name, err)
	}
	flag.Changed = true
	annotate(flag, annotationSource, fmt.Sprintf("file %s:%d", path, value.line))
	return nil
}

// settingNames are the keys that a configuration file may have, with the variable of each.
func settingNames(root *cobra.Command) map[string]string {
	names := map[string]string{}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		visit := func(flag *pflag.Flag) {
			variable := flag.Annotations[annotationEnv]
			if len(variable) == 0 || flag.Name == configFlag {
				return
			}
			names[flag.Name] = variable[0]
			if flag.Annotations[annotationFile] != nil {
				names[flag.Name+fileSuffix] = variable[0] + "_FILE"
			}
		}
		cmd.Flags().VisitAll(visit)
		cmd.PersistentFlags().VisitAll(visit)
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
	return names
}

// allowedKeys says what may have been meant: variables and flags that are for the command line are common slips.
func allowedKeys(cmd *cobra.Command, typed string, known map[string]string) string {
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if known[name] == typed {
			return "did you mean " + name + "?"
		}
	}
	all := slices.Sorted(maps.Keys(known))
	asFlag := strings.ReplaceAll(strings.ToLower(strings.TrimLeft(typed, "-")), "_", "-")
	if near := nearest(asFlag, all); len(near) > 0 {
		return "did you mean " + strings.Join(near, " or ") + "?"
	}
	if cmd.Flags().Lookup(asFlag) != nil {
		return "--" + asFlag + " is for the command line"
	}
	return "allowed are " + strings.Join(all, ", ")
}

// readConfig reads a flat YAML mapping. Values keep the text they are written with: the function that parses the flag parses them.
func readConfig(path string) (map[string]fileValue, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, configAtMost+1))
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	if len(content) > configAtMost {
		return nil, fmt.Errorf("--config: %s is larger than 1 MiB", path)
	}
	return parseConfig(path, content)
}

// anchor finds what YAML's errors quote of a value: it may be a secret that begins with an
// asterisk.
var anchor = regexp.MustCompile(`(?s)anchor '.*'`)

func parseConfig(path string, content []byte) (map[string]fileValue, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		said := anchor.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "), "anchor (a value that begins with * or & wants quotes)")
		return nil, fmt.Errorf("%s: %s", path, said)
	}
	if err := decoder.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: holds more than one document", path)
	}
	top := document.Content[0]
	if top.Kind == yaml.ScalarNode && top.Tag == "!!null" {
		return nil, nil // comments and nothing else
	}
	if top.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: wants lines such as kafka: broker:9092", path, top.Line)
	}
	values := map[string]fileValue{}
	for i := 0; i < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		if first, twice := values[key.Value]; twice {
			return nil, fmt.Errorf("%s:%d: %q stands in line %d already", path, key.Line, key.Value, first.line)
		}
		text, err := plainValue(value)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %s %w", path, key.Line, key.Value, err)
		}
		values[key.Value] = fileValue{text: text, line: key.Line}
	}
	return values, nil
}

// plainValue is a scalar as it is written, or a list of them separated by commas.
func plainValue(node *yaml.Node) (string, error) {
	switch {
	case node.Kind == yaml.ScalarNode && node.Tag == "!!null":
		return "", errors.New("has no value: leave the line out, or write \"\"")
	case node.Kind == yaml.ScalarNode:
		return node.Value, nil
	case node.Kind != yaml.SequenceNode:
		return "", errors.New("wants a plain value, or a list of them")
	}
	var items []string
	for _, item := range node.Content {
		if item.Kind != yaml.ScalarNode || item.Tag == "!!null" {
			return "", errors.New("wants a plain value, or a list of them")
		}
		items = append(items, item.Value)
	}
	return strings.Join(items, ","), nil
}

// singleLine makes one line of a text.
func singleLine(text string) string { return strings.Join(strings.Fields(text), " ") }
