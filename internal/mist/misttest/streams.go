package misttest

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"
)

// stream is one that is active, or has tags.
type stream struct {
	wanted   bool // made active by AddStream
	sessions int
	// tags were set by tag_stream. They wait until the stream is active.
	tags []string
	// fixed are those of its configuration.
	fixed []string
}

func (st *stream) active() bool { return st.wanted || st.sessions > 0 }

// AddStream makes a stream active, with tags as if configured, whether or not somebody watches it. Other streams are
// active while they have sessions.
func (s *Server) AddStream(name string, tags ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streamOf(name)
	st.wanted = true
	st.fixed = slices.Clone(tags)
}

// RemoveStream takes back AddStream.
func (s *Server) RemoveStream(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.streams[name]; st != nil {
		st.wanted, st.fixed = false, nil
		s.tidy(name)
	}
}

func (s *Server) streamOf(name string) *stream {
	st := s.streams[name]
	if st == nil {
		st = &stream{}
		s.streams[name] = st
	}
	return st
}

// tidy forgets a stream of which nothing is known.
func (s *Server) tidy(name string) {
	st := s.streams[name]
	if st != nil && !st.active() && len(st.tags) == 0 && len(st.fixed) == 0 {
		delete(s.streams, name)
	}
}

// tagsOf are the tags of an active stream; one that is not active has none yet. A wildcard's instance has those that its
// configuration gives the part before the +.
func (s *Server) tagsOf(name string) []string {
	st := s.streams[name]
	if st == nil || !st.active() {
		return nil
	}
	var all []string
	for _, t := range slices.Concat(s.config.tagsOf(name), st.fixed, st.tags) {
		if !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	return all
}

func (s *Server) tagStream(name, tag string) {
	st := s.streamOf(name)
	if !slices.Contains(st.tags, tag) {
		st.tags = append(st.tags, tag)
	}
}

func (s *Server) untagStream(name, tag string) {
	st := s.streams[name]
	if st == nil {
		return
	}
	gone := func(t string) bool { return t == tag }
	st.tags = slices.DeleteFunc(st.tags, gone)
	st.fixed = slices.DeleteFunc(st.fixed, gone)
	s.tidy(name)
}

// inputID is the session id of what feeds a stream. Such ids begin with I, and the list has them too (udp.jsonl).
func inputID(stream string) string {
	sum := sha256.Sum256([]byte("input " + stream))
	return "I" + hex.EncodeToString(sum[:])
}

// viewers counts the sessions of each stream that the list has.
func (s *Server) viewers() map[string]int {
	now := time.Now()
	n := map[string]int{}
	for _, x := range s.sessions {
		if x.inList(now) && x.known(now) {
			n[x.stream]++
		}
	}
	return n
}
