package misttest

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// columns are those of the list of clients, in the order in which it has them, whatever order is asked for (source;
// udp.jsonl).
var columns = []string{
	"host", "stream", "protocol", "conntime", "position", "down", "up", "downbps", "upbps", "sessid", "pktcount", "pktlost",
	"pktretransmit",
}

// row is what the list says of a session.
type row struct {
	id, host, stream, protocol string
	seconds, up                int64
}

// appendColumn appends it in JSON: lists are long, and read often.
func (r *row) appendColumn(b []byte, name string) []byte {
	switch name {
	case "host":
		return appendText(b, r.host)
	case "stream":
		return appendText(b, r.stream)
	case "protocol":
		return appendText(b, r.protocol)
	case "conntime", "position":
		return strconv.AppendInt(b, r.seconds, 10)
	case "up":
		return strconv.AppendInt(b, r.up, 10)
	case "upbps":
		return strconv.AppendInt(b, bytesPerSecond, 10)
	case "sessid":
		return appendText(b, r.id)
	}
	return append(b, '0')
}

// appendText appends a text in JSON, as it is where nothing in it needs more.
func appendText(b []byte, text string) []byte {
	for _, c := range []byte(text) {
		if c < ' ' || c == '"' || c == '\\' || c > '~' {
			quoted, _ := json.Marshal(text)
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), text...), '"')
}

// clients is the list of sessions at a moment: -1 is a second ago; without a time it is of ten minutes ago, when mostly
// nobody who watches now did (source).
func (s *Server) clients(raw json.RawMessage) map[string]any {
	var request struct {
		Time    json.RawMessage `json:"time"`
		Fields  json.RawMessage `json:"fields"`
		Streams json.RawMessage `json:"streams"`
	}
	_ = json.Unmarshal(raw, &request)
	at := s.moment(request.Time)
	wanted := texts(request.Fields)
	var fields []string
	for _, c := range columns {
		if slices.Contains(wanted, c) {
			fields = append(fields, c)
		}
	}
	if fields == nil {
		fields = columns
	}
	streams := texts(request.Streams)
	rows := s.rows(at)
	if len(streams) > 0 {
		rows = slices.DeleteFunc(rows, func(r row) bool { return !slices.Contains(streams, r.stream) })
	}
	return map[string]any{"time": at.Unix(), "fields": fields, "data": table{fields, rows}}
}

// table are rows, in JSON once it is asked for, which the server's lock is not held for.
type table struct {
	fields []string
	rows   []row
}

// MarshalJSON implements json.Marshaler.
func (t table) MarshalJSON() ([]byte, error) {
	if len(t.rows) == 0 {
		return []byte("null"), nil // not an empty list (udp.jsonl)
	}
	b := []byte{'['}
	for i := range t.rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '[')
		for j, name := range t.fields {
			if j > 0 {
				b = append(b, ',')
			}
			b = t.rows[i].appendColumn(b, name)
		}
		b = append(b, ']')
	}
	return append(b, ']'), nil
}

func (s *Server) moment(raw json.RawMessage) time.Time {
	var seconds float64
	_ = json.Unmarshal(raw, &seconds)
	now := time.Now()
	switch {
	case seconds < 0:
		return now.Add(time.Duration(seconds * float64(s.timing.ListAge)))
	case seconds == 0:
		return now.Add(-s.timing.ListPast)
	}
	return time.Unix(int64(math.Min(seconds, math.MaxInt32)), 0)
}

// rows are in the order of their ids. A session is there from 0.6 to 1.0 s after it started, measured with a list of a
// second ago.
func (s *Server) rows(at time.Time) []row {
	now := time.Now()
	var all []row
	for _, x := range s.sessions {
		if !x.inList(now) || x.listed.After(at.Add(s.timing.ListAge)) {
			continue
		}
		seconds := x.seconds
		if len(x.connections) > 0 {
			seconds += x.counted(x.active, now)
		}
		all = append(all, row{
			id: x.id, host: x.host, stream: x.stream, protocol: strings.Join(x.used(), ","), seconds: seconds,
			up: seconds * bytesPerSecond,
		})
	}
	for name, st := range s.streams {
		if st.active() {
			all = append(all, row{id: inputID(name), host: "::1", stream: name, protocol: "INPUT:MP4"})
		}
	}
	slices.SortFunc(all, func(a, b row) int { return strings.Compare(a.id, b.id) })
	return all
}

// activeStreams is a list of names, or, when fields are asked for, those of each stream.
func (s *Server) activeStreams(raw json.RawMessage) any {
	var request struct {
		Fields  json.RawMessage `json:"fields"`
		Streams json.RawMessage `json:"streams"`
	}
	object := json.Unmarshal(raw, &request) == nil && len(raw) > 0 && raw[0] == '{'
	fields := texts(request.Fields)
	if !object {
		var list []string
		_ = json.Unmarshal(raw, &list)
		fields = list
	}
	var names []string
	for _, name := range sortedKeys(s.streams) {
		if s.streams[name].active() && streamAsked(name, texts(request.Streams)) {
			names = append(names, name)
		}
	}
	if len(fields) == 0 && !object {
		return names // null when empty, as all lists
	}
	if len(fields) == 0 {
		fields = []string{"status", "viewers", "inputs", "outputs"}
	}
	viewers := s.viewers()
	data := map[string][]any{}
	for _, name := range names {
		for _, f := range fields {
			data[name] = append(data[name], s.streamField(name, f, viewers[name]))
		}
	}
	if !object {
		return data
	}
	if len(data) == 0 {
		return map[string]any{"fields": fields, "data": nil}
	}
	return map[string]any{"fields": fields, "data": data}
}

func (s *Server) streamField(stream, field string, viewers int) any {
	switch field {
	case "clients":
		return viewers + 1
	case "viewers":
		return viewers
	case "inputs":
		return 1
	case "outputs", "unspecified", "views", "viewseconds", "upbytes", "downbytes":
		return 0
	case "status":
		return "Online"
	case "tags":
		if tags := s.tagsOf(stream); len(tags) > 0 {
			return tags
		}
	}
	return nil
}

// streamAsked: all, or a name, or all that begin with a name that ends in + (source).
func streamAsked(name string, asked []string) bool {
	for _, a := range asked {
		if a == name || strings.HasSuffix(a, "+") && strings.HasPrefix(name, a) {
			return true
		}
	}
	return len(asked) == 0
}
