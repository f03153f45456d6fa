package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"authhook/internal/policy"
)

// FormatOption changes how a catalog is written.
type FormatOption func(*format)

type format struct{ redact bool }

// Redacted leaves the secrets out. What is written can be shown to people; Parse refuses it until they are put back.
func Redacted() FormatOption { return func(f *format) { f.redact = true } }

// Redact is a catalog without its secrets.
func Redact(c *policy.Catalog) *policy.Catalog {
	shown := *c
	shown.JWT.Keys = slices.Clone(c.JWT.Keys)
	for i := range shown.JWT.Keys {
		if shown.JWT.Keys[i].Secret != "" {
			shown.JWT.Keys[i].Secret = redacted
		}
	}
	return &shown
}

// Format writes a catalog as YAML, which [Parse] reads as an equal one. Secrets are written out, also those that came
// from secret_env and secret_file, unless [Redacted] is given. The error is that of a catalog which no document can
// express, such as one with a time after the year 9999.
func Format(c *policy.Catalog, opts ...FormatOption) ([]byte, error) {
	var f format
	for _, opt := range opts {
		opt(&f)
	}
	if f.redact {
		c = Redact(c)
	}
	shown := *c
	shown.Streams = append([]policy.StreamPolicy{}, c.Streams...)
	for i := range shown.Streams {
		if s := &shown.Streams[i]; s.Preview == 0 && s.PreviewEvery == defaultPreviewEvery {
			s.PreviewEvery = 0 // says nothing there
		}
	}
	// The types' JSON has the document's names and order already. YAML's own reader would not do to get from one to the
	// other: it refuses characters that JSON lets stand.
	text, err := json.Marshal(shown)
	if err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	root, err := node(d)
	if err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(asWritten(root)); err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	return out.Bytes(), nil
}

// node reads one JSON value as a YAML node. Lists of texts are written on one line.
func node(d *json.Decoder) (*yaml.Node, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		n := &yaml.Node{Kind: mappingNode, Tag: "!!map"}
		if t == '[' {
			n = &yaml.Node{Kind: sequenceNode, Tag: "!!seq", Style: yaml.FlowStyle}
		}
		for d.More() {
			child, err := node(d)
			if err != nil {
				return nil, err
			}
			if child.Kind != scalarNode {
				n.Style = 0
			}
			n.Content = append(n.Content, child)
		}
		_, err = d.Token() // the closing bracket
		return n, err
	case json.Number:
		return &yaml.Node{Kind: scalarNode, Tag: "!!int", Value: t.String()}, nil
	case bool:
		return &yaml.Node{Kind: scalarNode, Tag: "!!bool", Value: strconv.FormatBool(t)}, nil
	case string:
		return &yaml.Node{Kind: scalarNode, Tag: "!!str", Value: t}, nil
	default:
		return &yaml.Node{Kind: scalarNode, Tag: "!!null"}, nil
	}
}

// asWritten makes a document out of the values: fields that have none are left out, and 72h0m0s becomes 72h.
func asWritten(n *yaml.Node) *yaml.Node {
	if n.Kind == sequenceNode {
		for _, item := range n.Content {
			asWritten(item)
		}
	}
	if n.Kind != mappingNode {
		return n
	}
	var content []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, v := n.Content[i], n.Content[i+1]
		if isNull(v) {
			continue
		}
		switch key.Value {
		case "grace", "preview", "preview_every", "for":
			v.Value = shortDuration(v.Value)
		}
		content = append(content, key, asWritten(v))
	}
	n.Content = content
	return n
}

// shortDuration leaves out the zeros behind the last unit that counts.
func shortDuration(s string) string {
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
