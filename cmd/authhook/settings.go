package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// readSettings reads a settings file: YAML, with the names of flags as keys. A name that is no flag's is an error.
func readSettings(r io.Reader) (kong.Resolver, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	var values map[string]yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&values); err != nil && err != io.EOF {
		return nil, fmt.Errorf("the settings file is not YAML of the form 'name: value': %w", err)
	}
	return &settingsFile{values}, nil
}

type settingsFile struct{ values map[string]yaml.Node }

// Validate holds the names against the flags of every command.
func (f *settingsFile) Validate(app *kong.Application) error {
	known := map[string]bool{}
	var walk func(*kong.Node)
	walk = func(n *kong.Node) {
		for _, flag := range n.Flags {
			known[flag.Name] = true
		}
		for _, child := range n.Children {
			walk(child)
		}
	}
	walk(app.Node)
	for name := range f.values {
		if !known[strings.ReplaceAll(name, "_", "-")] {
			return fmt.Errorf("the settings file names %q, which is no setting: see authhook serve --help", name)
		}
	}
	return nil
}

// Resolve is the value of a flag; nil when the file does not name it.
func (f *settingsFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range []string{flag.Name, strings.ReplaceAll(flag.Name, "-", "_")} {
		v, ok := f.values[name]
		switch {
		case !ok:
			continue
		case v.Kind != yaml.ScalarNode:
			return nil, fmt.Errorf("the settings file's %s in line %d is not one value", name, v.Line)
		}
		return v.Value, nil // as it is written: 0660 is a mode, and no number
	}
	return nil, nil
}

// secretFrom is a secret given by itself or as a file that holds it, and not both.
func secretFrom(name, value, file string) (string, error) {
	switch {
	case file == "":
		return value, nil
	case value != "":
		return "", wrongSetting("--%s and --%s-file are both set: keep one", name, name)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", wrongSetting("--%s-file: %s", name, err)
	}
	secret := strings.TrimRight(string(data), "\r\n")
	if secret == "" {
		return "", wrongSetting("--%s-file: %s is empty", name, file)
	}
	return secret, nil
}
