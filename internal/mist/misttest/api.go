package misttest

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// call carries out what a request asks for, under the lock, and returns the reply. Several calls may share a request.
// What is not understood, or names what is not there, is acknowledged all the same (udp.jsonl). What is told is done
// before what is asked is answered, wherever they stand (udp.jsonl: tag_stream with stream_tags).
func (s *Server) call(over string, raw []byte) map[string]any {
	reply := map[string]any{"LTS": 1}
	var request map[string]json.RawMessage
	if json.Unmarshal(raw, &request) != nil || request == nil {
		s.note(Command{Over: over, Kind: "garbage"})
		return reply
	}
	var asked []string
	for _, name := range sortedKeys(request) {
		value := request[name]
		if name == "authorize" || name == "minimal" {
			continue
		}
		if act := s.acts(name); act != nil {
			for _, target := range texts(value) {
				act(target)
				s.note(Command{Over: over, Kind: name, Target: target})
			}
			continue
		}
		if act := s.tagging(name); act != nil {
			var pairs map[string]json.RawMessage
			_ = json.Unmarshal(value, &pairs)
			for _, target := range sortedKeys(pairs) {
				for _, tag := range texts(pairs[target]) {
					act(target, tag)
					s.note(Command{Over: over, Kind: name, Target: target, Value: tag})
				}
			}
			continue
		}
		asked = append(asked, name)
	}
	for _, name := range asked {
		s.note(Command{Over: over, Kind: name})
		s.ask(name, request[name], reply)
	}
	return reply
}

// acts are the calls about one thing, or several.
func (s *Server) acts(name string) func(target string) {
	switch name {
	case "invalidate_sessions":
		// Every session of exactly that stream: an instance of a wildcard by its full name.
		return func(stream string) {
			for _, x := range s.sessionsThat(func(x *session) bool { return x.stream == stream }) {
				x.invalidate()
			}
		}
	case "stop_sessid":
		return func(id string) {
			if x := s.sessions[id]; x != nil {
				x.stop()
			}
		}
	case "stop_tag":
		return func(tag string) {
			for _, x := range s.sessionsThat(func(x *session) bool { return slices.Contains(x.tags, tag) }) {
				x.stop()
			}
		}
	}
	return nil
}

// sessionsThat are in the order of their ids, so that what is random about them can be had again.
func (s *Server) sessionsThat(fit func(*session) bool) []*session {
	var all []*session
	for _, x := range s.sessions {
		if fit(x) {
			all = append(all, x)
		}
	}
	slices.SortFunc(all, func(a, b *session) int { return strings.Compare(a.id, b.id) })
	return all
}

// tagging are the calls that give tags. None takes a session's tag away (source).
func (s *Server) tagging(name string) func(target, tag string) {
	switch name {
	case "tag_sessid":
		// For a session that is not known yet, about a second, the tag is dropped (udp.jsonl).
		return func(id, tag string) {
			if x := s.sessions[id]; x != nil && x.known(time.Now()) {
				x.tag(tag)
			}
		}
	case "tag_stream":
		return s.tagStream
	case "untag_stream":
		return s.untagStream
	}
	return nil
}

// ask are the calls that are answered.
func (s *Server) ask(name string, value json.RawMessage, reply map[string]any) {
	switch name {
	case "clients":
		reply[name] = s.clients(value)
	case "active_streams":
		reply[name] = s.activeStreams(value)
	case "stream_tags":
		tags := map[string]any{}
		for _, stream := range texts(value) {
			tags[stream] = nil
			if all := s.tagsOf(stream); len(all) > 0 {
				tags[stream] = all
			}
		}
		reply[name] = tags
	case "version":
		reply[name] = map[string]any{"date": "Nov 22 2026", "release": "test", "time": "05:51:50", "version": version}
	case "config":
		var settings map[string]json.RawMessage
		if json.Unmarshal(value, &settings) == nil {
			s.config.write(settings)
		}
		reply[name] = s.config.read(s.process.instance)
	case "addstream":
		var added map[string]json.RawMessage
		if json.Unmarshal(value, &added) == nil {
			for stream, settings := range added {
				s.config.streams[stream] = settings
			}
			// Not all streams, but those of this call (source).
			shown := map[string]any{"incomplete list": 1}
			for stream := range added {
				shown[stream] = s.config.streams[stream]
			}
			reply["streams"] = shown
		}
	case "deletestream":
		for _, stream := range append(texts(value), keysOf(value)...) {
			delete(s.config.streams, stream)
		}
	case "streams":
		reply[name] = s.config.streams
	}
}

func keysOf(raw json.RawMessage) []string {
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil {
		return nil
	}
	return sortedKeys(object)
}
