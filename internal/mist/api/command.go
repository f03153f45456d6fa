package api

// Kind is what a command does.
type Kind uint8

// The kinds of commands.
const (
	// StopSession ends the session; its player's next connect asks USER_NEW again. A remembered denial is lifted at once,
	// a live session ends in 0.07 to 1.03 s.
	StopSession Kind = iota + 1
	// TagSession tags the session. It does nothing to one that is not listed yet, about 1 s after its start, and there is no way to
	// take the tag away (source).
	TagSession
	// InvalidateStream has every session of exactly this stream ask USER_NEW again, all at once.
	InvalidateStream
	// TagStream tags the stream; one that is not active gets the tag when it starts.
	TagStream
	// UntagStream takes the tag away.
	UntagStream
	kinds
)

// calls are what the kinds are named in MistServer's API.
var calls = [kinds]string{
	StopSession:      "stop_sessid",
	TagSession:       "tag_sessid",
	InvalidateStream: "invalidate_sessions",
	TagStream:        "tag_stream",
	UntagStream:      "untag_stream",
}

// String is the call's name in MistServer's API.
func (k Kind) String() string {
	if k == 0 || k >= kinds {
		return "unknown"
	}
	return calls[k]
}

// Command is one thing to do. Two are the same when all fields are.
type Command struct {
	Kind    Kind
	Session string // of StopSession, TagSession
	Stream  string // of the other kinds, the full name
	Tag     string // of the kinds that tag
}

// subject is what a command touches: a session or a stream.
type subject struct {
	stream bool
	name   string
}

func (c Command) subject() subject {
	if c.Kind == StopSession || c.Kind == TagSession {
		return subject{name: c.Session}
	}
	return subject{stream: true, name: c.Stream}
}

// length is how much the command adds to the calls, at most, where others of its kind are in them.
func (c Command) length() int {
	n := textLength(c.subject().name) + len(`,`)
	switch c.Kind {
	case TagSession:
		n += len(`:`) + textLength(c.Tag)
	case TagStream, UntagStream:
		n += len(`:[]`) + textLength(c.Tag)
	}
	return n
}

// length is how much the first command of a kind adds.
func (k Kind) length() int { return len(`"":[],`) + len(k.String()) }

// appendCommands appends the calls that are the commands. No two of them may touch the same session or stream.
func appendCommands(b []byte, commands []Command) []byte {
	b = append(b, '{')
	for kind := Kind(1); kind < kinds; kind++ {
		b = appendKind(b, kind, commands)
	}
	return append(b, '}')
}

func appendKind(b []byte, kind Kind, commands []Command) []byte {
	open, closing := byte('{'), byte('}')
	if kind == StopSession || kind == InvalidateStream {
		open, closing = '[', ']'
	}
	first := true
	for _, c := range commands {
		if c.Kind != kind {
			continue
		}
		if !first {
			b = append(b, ',')
		} else {
			if b[len(b)-1] != '{' {
				b = append(b, ',')
			}
			b = append(appendText(b, calls[kind]), ':', open)
		}
		first = false
		b = appendText(b, c.subject().name)
		switch kind {
		case TagSession:
			b = appendText(append(b, ':'), c.Tag)
		case TagStream, UntagStream:
			b = append(appendText(append(b, ':', '['), c.Tag), ']')
		}
	}
	if !first {
		b = append(b, closing)
	}
	return b
}
