// Package recording holds requests exactly as a real MistServer 3.10 sent them, for tests and tools.
//
// They are the witnesses for what package mist says of MistServer, and must never be edited: a new fact is a new
// recording.
package recording

import (
	"bufio"
	"bytes"
	"embed"
	"fmt"
	"io"
	"net/http"
	"strings"
)

//go:embed *.http
var files embed.FS

const extension = ".http"

// Recording is one recorded request.
type Recording struct {
	// Name is the file's, without its extension: the trigger's type, and after a dot what is special about it.
	Name string
	// Type is the trigger's, as in the header X-Trigger.
	Type   string
	Header http.Header
	// Body is the payload, to the byte.
	Body []byte
}

// Read reads the recording with the name, such as "USER_NEW.rerun".
func Read(name string) (*Recording, error) {
	raw, err := files.ReadFile(name + extension)
	if err != nil {
		return nil, fmt.Errorf("recording %s: %w", name, err)
	}
	reader := bufio.NewReader(bytes.NewReader(raw))
	request, err := http.ReadRequest(reader)
	if err != nil {
		return nil, fmt.Errorf("recording %s: %w", name, err)
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, fmt.Errorf("recording %s: body: %w", name, err)
	}
	// A file that gained or lost bytes, such as line ends that git changed, is no witness.
	if rest, _ := io.Copy(io.Discard, reader); rest != 0 {
		return nil, fmt.Errorf("recording %s: %d bytes after the body", name, rest)
	}
	return &Recording{Name: name, Type: request.Header.Get("X-Trigger"), Header: request.Header, Body: body}, nil
}

// All reads every recording, in the order of their names.
func All() ([]*Recording, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var all []*Recording
	for _, entry := range entries {
		r, err := Read(strings.TrimSuffix(entry.Name(), extension))
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}
