package main

import (
	"strings"

	"authhook/internal/mist/api"
)

// mistFlags say which MistServers are meant.
type mistFlags struct {
	Mist      []string `default:"udp://127.0.0.1:4242" sep:"," placeholder:"[NAME=]URL,…" help:"The APIs of the MistServers: udp://host:port or http://user:password@host:port, with the server's configured name before it where there are several. With 'none', serve holds no sessions to their decisions."`
	MistFile  string   `placeholder:"FILE" help:"A file that holds the same."`
	MistLists []string `sep:"," placeholder:"[NAME=]URL,…" help:"Where a MistServer with a udp: URL answers HTTP, for what fits no datagram. Its own host and port when left out."`
}

// mistSetting is one MistServer's API.
type mistSetting struct {
	name  string // empty: it is asked for its name
	url   string
	lists string // for what does not fit a datagram; empty: the same host and port
}

// open makes its client. Nothing is sent yet.
func (m *mistSetting) open() (*api.Client, error) {
	return api.New(m.url, api.Options{ListURL: m.lists})
}

// noMist says that no MistServer is told anything.
const noMist = "none"

// mistSettings are the MistServers that are meant, none for "none".
func (f *mistFlags) mistSettings() ([]mistSetting, error) {
	given := f.Mist
	if f.MistFile != "" {
		text, err := secretFrom("mist", "", f.MistFile)
		if err != nil {
			return nil, err
		}
		given = strings.Split(text, ",")
	}
	if len(given) == 1 && (given[0] == noMist || given[0] == "") {
		return nil, nil
	}
	lists := map[string]string{}
	for _, text := range f.MistLists {
		m := readMist(text)
		lists[m.name] = m.url
	}
	var list []mistSetting
	named := map[string]bool{}
	for _, text := range given {
		m := readMist(text)
		m.lists = lists[m.name]
		delete(lists, m.name)
		client, err := m.open()
		if err != nil {
			return nil, wrongSetting("--mist: %s", err)
		}
		_ = client.Close()
		switch {
		case m.name == "" && len(given) > 1:
			return nil, wrongSetting("--mist names %d MistServers: each needs its name before it, as in edge-1=udp://127.0.0.1:4242", len(given))
		case named[m.name]:
			return nil, wrongSetting("--mist names %q twice", m.name)
		}
		named[m.name] = true
		list = append(list, m)
	}
	for name := range lists {
		return nil, wrongSetting("--mist-lists: there is no MistServer %q in --mist", name)
	}
	return list, nil
}

// readMist reads [NAME=]URL. What stands before the first = is a name, unless the URL has begun.
func readMist(text string) mistSetting {
	text = strings.TrimSpace(text)
	if name, url, ok := strings.Cut(text, "="); ok && !strings.Contains(name, "://") {
		return mistSetting{name: name, url: url}
	}
	return mistSetting{url: text}
}
