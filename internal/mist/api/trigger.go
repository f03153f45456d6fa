package api

import (
	"encoding/json"
	"fmt"
	"maps"
)

// Trigger is one handler of a trigger type.
type Trigger struct {
	// Handler is a URL or the path of a program, of at most 127 bytes.
	Handler string
	// Sync has MistServer wait for the answer.
	Sync bool
	// Default is what MistServer takes where there is no answer, of at most 127 bytes. Empty means "true".
	Default string
	// Streams are those it is for: a name, the part of a name before +, !name, #tag, !#tag. None means all.
	Streams []string
	// Params is a parameter of the trigger type.
	Params string
	// Other are members that this package does not know, or of a kind that it does not expect: they are written back as
	// they were. A member of the names above is written from here only while the field itself is empty.
	Other map[string]json.RawMessage
}

// MistServer's own bounds (source).
const (
	maxHandler     = 127
	maxStreamBytes = 256
)

// Check says what MistServer would cut without a word. A list of streams that is cut leaves streams unguarded.
func (t Trigger) Check() error {
	if len(t.Handler) > maxHandler {
		return fmt.Errorf("the handler has %d bytes, MistServer keeps %d", len(t.Handler), maxHandler)
	}
	if len(t.Default) > maxHandler {
		return fmt.Errorf("the default has %d bytes, MistServer keeps %d", len(t.Default), maxHandler)
	}
	n := 0
	for _, stream := range t.Streams {
		n += len(stream) + 4
	}
	if n > maxStreamBytes {
		return fmt.Errorf("the list of streams needs %d bytes, MistServer keeps %d and would leave streams unguarded", n, maxStreamBytes)
	}
	return nil
}

// MarshalJSON is the trigger as MistServer reads it.
func (t Trigger) MarshalJSON() ([]byte, error) { return appendTrigger(nil, t) }

func appendTriggers(b []byte, triggers []Trigger) ([]byte, error) {
	b = append(b, '[')
	var err error
	for i, t := range triggers {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendTrigger(b, t); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func appendTrigger(b []byte, t Trigger) ([]byte, error) {
	members := make(map[string]any, len(t.Other)+4)
	for name, raw := range t.Other {
		members[name] = raw
	}
	set := func(name string, value any, empty, always bool) {
		_, other := t.Other[name]
		if !empty || always && !other {
			members[name] = value
		}
	}
	set("handler", t.Handler, t.Handler == "", false)
	set("sync", t.Sync, !t.Sync, true)
	set("default", t.Default, t.Default == "", false)
	set("streams", t.Streams, len(t.Streams) == 0, true)
	set("params", t.Params, t.Params == "", false)
	return appendValue(b, members)
}

// UnmarshalJSON reads a trigger as MistServer writes it: an object, or in older configurations an array of handler, sync
// and streams (source).
func (t *Trigger) UnmarshalJSON(raw []byte) error {
	*t = Trigger{}
	var members map[string]json.RawMessage
	var positions []json.RawMessage
	if json.Unmarshal(raw, &positions) == nil && positions != nil {
		members = make(map[string]json.RawMessage, 3)
		for i, name := range [...]string{"handler", "sync", "streams"} {
			if i < len(positions) {
				members[name] = positions[i]
			}
		}
	} else if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		return fmt.Errorf("%w: a trigger that is no object", ErrReply)
	}
	known := func(name string, ok bool) {
		if ok {
			delete(members, name)
		}
	}
	var ok bool
	t.Handler, ok = rawText(members["handler"])
	known("handler", ok)
	t.Default, ok = rawText(members["default"])
	known("default", ok)
	t.Params, ok = rawText(members["params"])
	known("params", ok)
	switch string(members["sync"]) {
	case "true", "1": // a 1 is as good to MistServer, and written back as true
		t.Sync = true
		known("sync", true)
	case "false", "0", "null":
		known("sync", true)
	}
	var streams []string
	if json.Unmarshal(members["streams"], &streams) == nil {
		known("streams", true)
		if len(streams) > 0 {
			t.Streams = streams
		}
	}
	if len(members) > 0 {
		t.Other = members
	}
	return nil
}

// readTriggers is lenient as MistServer is: what is no list of triggers is none (source).
func readTriggers(raw json.RawMessage) map[string][]Trigger {
	var types map[string]json.RawMessage
	_ = json.Unmarshal(raw, &types)
	triggers := make(map[string][]Trigger, len(types))
	for name, raw := range types {
		var entries []json.RawMessage
		if json.Unmarshal(raw, &entries) != nil {
			continue
		}
		for _, raw := range entries {
			var t Trigger
			if json.Unmarshal(raw, &t) == nil {
				triggers[name] = append(triggers[name], t)
			}
		}
	}
	return triggers
}

// essence is triggers without what MistServer may drop or write in another way: types with none, members that are not
// known.
func essence(triggers map[string][]Trigger) map[string][]Trigger {
	triggers = maps.Clone(triggers)
	for name, list := range triggers {
		if len(list) == 0 {
			delete(triggers, name)
			continue
		}
		plain := make([]Trigger, len(list))
		for i, t := range list {
			plain[i] = Trigger{Handler: t.Handler, Sync: t.Sync, Default: t.Default, Params: t.Params}
			plain[i].Streams = append(plain[i].Streams, t.Streams...)
		}
		triggers[name] = plain
	}
	return triggers
}

// rawText is a JSON text; false when it is none. It is not an empty one.
func rawText(raw json.RawMessage) (string, bool) {
	var text string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &text) != nil {
		return "", false
	}
	return text, true
}
