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

// configAtMost is the largest size of a configuration file, in bytes.
const configAtMost = 1 << 20

// fileSuffix marks the key of a secret whose value is the name of a file that holds the secret.
const fileSuffix = "-file"

// fileValue is a value as the configuration file has it.
type fileValue struct {
	text string
	line int
}

// fromFile sets the flags that were not given from the file. Its keys are the names of flags that
// have a variable: they mean the same to all commands. So one file serves every command, and a
// command ignores the keys of others.
func fromFile(cmd *cobra.Command, path string) error {
	values, err := readConfig(path)
	if err != nil {
		return usagef(cmd, "%s", singleLine(err.Error()))
	}
	known := settingNames(cmd.Root())
	byLine := func(a, b string) int { return values[a].line - values[b].line }
	for _, key := range slices.SortedFunc(maps.Keys(values), byLine) {
		if known[key] == "" {
			return usagef(cmd, "%s:%d: unknown key %q; %s", path, values[key].line, key, allowedKeys(cmd, key, known))
		}
	}
	return eachFlag(cmd, func(flag *pflag.Flag) error {
		if optionOf(flag).env == "" {
			return nil
		}
		return setFromFile(cmd, flag, path, values)
	})
}

func setFromFile(cmd *cobra.Command, flag *pflag.Flag, path string, values map[string]fileValue) error {
	value, direct := values[flag.Name]
	key := flag.Name + fileSuffix
	file, indirect := values[key]
	indirect = indirect && optionOf(flag).secret
	switch {
	case direct && indirect:
		return usagef(cmd, "%s:%d: %s and %s are both set: set one", path, max(value.line, file.line), flag.Name, key)
	case flag.Changed || !direct && !indirect:
		return nil
	case indirect:
		text, err := readSecret(file.text)
		if err != nil {
			return usagef(cmd, "%s:%d: %s: %v", path, file.line, key, err)
		}
		value = fileValue{text, file.line}
	}
	if err := assign(flag, value.text, fmt.Sprintf("file %s:%d", path, value.line)); err != nil {
		return usagef(cmd, "%s:%d: %s: %v", path, value.line, flag.Name, err)
	}
	return nil
}

// settingNames returns the keys that a configuration file may have, with the variable of each.
func settingNames(cmd *cobra.Command) map[string]string {
	names := map[string]string{}
	add := func(flag *pflag.Flag) {
		o := optionOf(flag)
		if o.env == "" || flag.Name == configFlag {
			return
		}
		names[flag.Name] = o.env
		if o.secret {
			names[flag.Name+fileSuffix] = o.env + "_FILE"
		}
	}
	cmd.Flags().VisitAll(add)
	cmd.PersistentFlags().VisitAll(add)
	for _, sub := range cmd.Commands() {
		maps.Copy(names, settingNames(sub))
	}
	return names
}

// allowedKeys says what an unknown key may have been meant for. Common mistakes are the name of a
// variable, and a flag that is for the command line only.
func allowedKeys(cmd *cobra.Command, typed string, known map[string]string) string {
	for name, variable := range known {
		if variable == typed {
			return "did you mean " + name + "?"
		}
	}
	asFlag := strings.ReplaceAll(strings.ToLower(strings.TrimLeft(typed, "-")), "_", "-")
	if known[asFlag] == "" && cmd.Flags().Lookup(asFlag) != nil {
		return "--" + asFlag + " is for the command line"
	}
	return didYouMean(asFlag, slices.Sorted(maps.Keys(known)))
}

// anchor matches what YAML's errors quote of a value: it may be a secret that begins with an
// asterisk.
var anchor = regexp.MustCompile(`(?s)anchor '.*'`)

// readConfig reads a flat YAML mapping. A value keeps the text that it is written with: the
// function that parses the flag parses it.
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
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		said := anchor.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "),
			"anchor (put a value that begins with * or & in quotes)")
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
		return nil, fmt.Errorf("%s:%d: expected lines such as kafka: broker:9092", path, top.Line)
	}
	values := map[string]fileValue{}
	for i := 0; i < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		if first, twice := values[key.Value]; twice {
			return nil, fmt.Errorf("%s:%d: %q is already in line %d", path, key.Line, key.Value, first.line)
		}
		text, err := plainValue(value)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %s %w", path, key.Line, key.Value, err)
		}
		values[key.Value] = fileValue{text: text, line: key.Line}
	}
	return values, nil
}

// plainValue returns a scalar as it is written, or the scalars of a list separated by commas.
func plainValue(node *yaml.Node) (string, error) {
	items := []*yaml.Node{node}
	if node.Kind == yaml.SequenceNode {
		items = node.Content
	} else if node.Kind == yaml.ScalarNode && node.Tag == "!!null" {
		return "", errors.New("has no value: leave the line out, or write \"\"")
	}
	var texts []string
	for _, item := range items {
		if item.Kind != yaml.ScalarNode || item.Tag == "!!null" {
			return "", errors.New("needs a plain value, or a list of them")
		}
		texts = append(texts, item.Value)
	}
	return strings.Join(texts, ","), nil
}

// singleLine replaces every run of white space by one space.
func singleLine(text string) string { return strings.Join(strings.Fields(text), " ") }
