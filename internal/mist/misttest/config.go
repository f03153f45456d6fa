package misttest

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"authhook/internal/mist"
)

// config is what MistServer keeps in its configuration.
type config struct {
	name       string
	mode       mist.SessionMode
	prometheus string
	triggers   map[string][]Trigger
	fitted     map[string][]Trigger // as the server keeps them
	streams    map[string]json.RawMessage
	others     map[string]json.RawMessage
}

func newConfig(o Options) config {
	c := config{name: o.Name, mode: o.SessionMode, prometheus: o.Prometheus,
		streams: map[string]json.RawMessage{}, others: map[string]json.RawMessage{}}
	c.setTriggers(nil)
	return c
}

func (c *config) setTriggers(triggers map[string][]Trigger) {
	c.triggers, c.fitted = map[string][]Trigger{}, map[string][]Trigger{}
	for name, list := range triggers {
		c.triggers[name] = slices.Clone(list)
		for _, t := range list {
			c.fitted[name] = append(c.fitted[name], t.fitted())
		}
	}
}

// write changes what is named; what is not stays. Triggers are one setting: writing them replaces all (udp API). The
// names are the real server's (source).
func (c *config) write(settings map[string]json.RawMessage) {
	for name, value := range settings {
		switch name {
		case "triggers":
			c.setTriggers(readTriggers(value))
		case "serverid":
			c.name = asText(value)
		case "prometheus":
			c.prometheus = asText(value)
		case "sessionViewerMode":
			if n, err := strconv.ParseUint(asText(value), 10, 4); err == nil {
				c.mode = mist.SessionMode(n)
			}
		case "iid", "time", "version":
		case "accesslog", "debug", "defaultStream", "limits", "location", "protocols", "sessionInputMode",
			"sessionOutputMode", "sessionStreamInfoMode", "sessionUnspecifiedMode", "tknMode", "trustedproxy":
			c.others[name] = value
		}
	}
}

// read is the whole configuration (source: the names and what is null when unset).
func (c *config) read(instance string) map[string]any {
	all := map[string]any{
		"accesslog": "LOG", "controller": map[string]any{"interface": nil, "port": nil, "username": nil}, "debug": nil,
		"defaultStream": nil, "iid": instance, "limits": nil,
		"location":   map[string]any{"lat": 0.0, "lon": 0.0, "name": ""},
		"prometheus": c.prometheus, "protocols": []any{}, "serverid": nil, "sessionInputMode": 15,
		"sessionOutputMode": 15, "sessionStreamInfoMode": 1, "sessionUnspecifiedMode": 0, "sessionViewerMode": c.mode,
		"time": time.Now().Unix(), "tknMode": 15, "triggers": nil, "trustedproxy": []any{}, "version": version,
	}
	if c.name != "" {
		all["serverid"] = c.name
	}
	for name, value := range c.others {
		all[name] = value
	}
	if len(c.triggers) > 0 {
		triggers := map[string]any{}
		for name, list := range c.triggers {
			entries := []any{}
			for _, t := range list {
				streams := t.Streams
				if streams == nil {
					streams = []string{}
				}
				entries = append(entries, map[string]any{
					"handler": t.Handler, "sync": t.Sync, "default": t.Default, "streams": streams,
				})
			}
			triggers[name] = entries
		}
		all["triggers"] = triggers
	}
	return all
}

// tagsOf are the tags that the configuration gives a stream, for an instance of a wildcard by its name before the +.
func (c *config) tagsOf(stream string) []string {
	base, _, _ := strings.Cut(stream, "+")
	raw, ok := c.streams[stream]
	if !ok {
		raw = c.streams[base]
	}
	var settings struct {
		Tags []string `json:"tags"`
	}
	_ = json.Unmarshal(raw, &settings)
	return settings.Tags
}

// readTriggers reads what is a trigger and leaves out what is not, as the real server does.
func readTriggers(raw json.RawMessage) map[string][]Trigger {
	var all map[string][]map[string]json.RawMessage
	if json.Unmarshal(raw, &all) != nil {
		return nil
	}
	triggers := map[string][]Trigger{}
	for name, list := range all {
		for _, entry := range list {
			t := Trigger{
				Handler: asText(entry["handler"]), Sync: asBool(entry["sync"]), Default: asText(entry["default"]),
			}
			t.Streams = texts(entry["streams"])
			triggers[name] = append(triggers[name], t)
		}
	}
	return triggers
}

// asText is a value as text, as the real server converts it: a number or a boolean too.
func asText(raw json.RawMessage) string {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return ""
	}
	switch v := v.(type) {
	case string:
		return v
	case float64, bool:
		return string(raw)
	}
	return ""
}

func asBool(raw json.RawMessage) bool {
	switch asText(raw) {
	case "", "0", "false":
		return false
	}
	return true
}

// texts is a value, the elements of a list, or the values of an object.
func texts(raw json.RawMessage) []string {
	var list []json.RawMessage
	var object map[string]json.RawMessage
	switch {
	case json.Unmarshal(raw, &list) == nil:
	case json.Unmarshal(raw, &object) == nil:
		for _, name := range sortedKeys(object) {
			list = append(list, object[name])
		}
	default:
		list = []json.RawMessage{raw}
	}
	var all []string
	for _, one := range list {
		if t := asText(one); t != "" {
			all = append(all, t)
		}
	}
	return all
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
