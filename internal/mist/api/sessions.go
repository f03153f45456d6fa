package api

import (
	"context"
	"fmt"
	"time"
)

// SessionList is who was there a moment ago.
type SessionList struct {
	// At is the moment of the list, to the second, on MistServer's clock: a second before it was asked for.
	At       time.Time
	Sessions []Session
}

// Session is one of a node's sessions. It is listed 0.6 to 1.0 s after it starts, and gone together with its connection;
// a viewer of HLS stays listed for 15 s after the last request (source).
type Session struct {
	ID     string
	Stream string
	Host   string // the address, as MistServer writes it
	// Connector is how it is played or pushed ("HLS", "INPUT:MP4"), several with commas between.
	Connector string
}

// Viewer says whether it is a viewer's: those have an id of 64 lowercase hex digits, inputs, outputs and unspecified
// sessions have an I, O or U before it.
func (s *Session) Viewer() bool {
	if len(s.ID) != 64 {
		return false
	}
	for i := range len(s.ID) {
		if c := s.ID[i]; c-'0' > 9 && c-'a' > 5 {
			return false
		}
	}
	return true
}

// Sessions lists every session that was alive one second ago: viewers, inputs, outputs and others. Over UDP while the
// list fits a datagram of 64 KiB, else over HTTP. Its strings share one copy of the reply. Its error matches
// [ErrNotReachable], [ErrReply], [ErrLogin] or the context's.
func (c *Client) Sessions(ctx context.Context) (SessionList, error) {
	// With no time, the list is usually empty.
	reply, err := c.do(ctx, questionSessions, map[string]any{"clients": map[string]any{
		"time": -1, "fields": []string{"sessid", "stream", "host", "protocol"},
	}})
	if err != nil {
		return SessionList{}, c.fault("sessions", err)
	}
	list, err := parseSessions(reply)
	return list, c.fault("sessions", err)
}

// A row of the shortest session is this long: it bounds what a reply can have us allocate.
const shortestRow = len(`["","","",""],`)

func parseSessions(reply string) (SessionList, error) {
	var list SessionList
	s := scanner{text: reply}
	if err := answer(&s, "clients"); err != nil {
		return list, err
	}
	var data, rows int
	at := int64(-1)
	columns := make(map[string]int, 4)
	wide := 0
	s.object(func(name string) bool {
		switch name {
		case "data": // comes before the names of its columns
			s.peek()
			data = s.at
			rows = s.count()
		case "fields":
			wide = s.columns(columns)
		case "time":
			at = s.number()
		default:
			s.skip()
		}
		return true
	})
	if s.problem != "" {
		return list, s.err()
	}
	if at < 0 || data == 0 {
		return list, fmt.Errorf("%w: a list without time or data", ErrReply)
	}
	var to [maxColumns]*string
	var row Session
	for name, field := range map[string]*string{
		"sessid": &row.ID, "stream": &row.Stream, "host": &row.Host, "protocol": &row.Connector,
	} {
		i, ok := columns[name]
		if !ok {
			return list, fmt.Errorf("%w: a list without %s", ErrReply, name)
		}
		to[i] = field
	}
	list.At = time.Unix(at, 0).UTC()
	if rows == 0 {
		return list, nil
	}
	list.Sessions = make([]Session, 0, min(rows, len(reply)/shortestRow+1))
	s = scanner{text: reply, at: data}
	s.array(func() {
		i := 0
		s.array(func() {
			if i < wide && to[i] != nil {
				*to[i] = s.str()
			} else {
				s.skip()
			}
			i++
		})
		if i != wide {
			s.fail("as many columns as fields")
		}
		list.Sessions = append(list.Sessions, row)
	})
	if s.problem != "" {
		return SessionList{}, s.err()
	}
	return list, nil
}

// answer puts the scanner at the value of a member of the reply.
func answer(s *scanner, call string) error {
	found := false
	s.object(func(name string) bool {
		if found = name == call; found {
			return false
		}
		s.skip()
		return true
	})
	switch {
	case s.problem != "":
		return s.err()
	case !found:
		return fmt.Errorf("%w: no answer to %q in it", ErrReply, call)
	}
	s.stopped = false
	s.depth = 0
	return nil
}

// maxColumns is how many columns a list may have. MistServer has at most 16 to give (source).
const maxColumns = 32

// columns reads the names of columns, and is how many there are.
func (s *scanner) columns(into map[string]int) int {
	n := 0
	s.array(func() {
		if n == maxColumns {
			s.fail("fewer columns")
			return
		}
		into[s.str()] = n
		n++
	})
	return n
}

// count reads an array, or null, and is how many values it has.
func (s *scanner) count() int {
	n := 0
	if !s.null() {
		s.array(func() {
			s.skip()
			n++
		})
	}
	return n
}
