package wire

// Call is one trigger, as MistServer hands it to an executable: an argument, the environment, and standard input.
type Call struct {
	Type       string // the argument, and MIST_TRIGGER
	UUID       string // MIST_TUUID: the same for every handler of one event
	Instance   string // MIST_INSTANCE: the server process; empty when MistServer gave none
	Name       string // MIST_NAME: the configured server name; empty when it has none
	Default    string // MIST_TRIG_DEF: what MistServer goes by when there is no answer
	UnixMillis int64  // MIST_TIME; 0 when there was none
	PID        int    // MIST_PID; 0 when there was none
	// Body is standard input: the trigger's parameters, untrimmed, at most [MaxBody] bytes.
	Body []byte
	// TooLarge is set when standard input held more than MaxBody: Body is then its beginning, and must not be believed.
	// It is told and not treated as a failure because the viewer chooses the token: a failure would end in MistServer's
	// default, which may well be to allow.
	TooLarge bool
}

const (
	fields       = 5
	fixedSize    = 1 + 8 + 8
	flagTooLarge = 1 << 0
)

// AppendCall appends c with its prefix. A body over [MaxBody] is cut there and sent as [Call.TooLarge]. The one error is
// [ErrTooLarge], for a text over [MaxField]: none of them is a viewer's to choose.
func AppendCall(dst []byte, c *Call) ([]byte, error) {
	body, flags := c.Body, byte(0)
	if len(body) > MaxBody {
		body = body[:MaxBody]
		flags = flagTooLarge
	}
	if c.TooLarge {
		flags = flagTooLarge
	}
	texts := [fields]string{c.Type, c.UUID, c.Instance, c.Name, c.Default}
	size := fixedSize + len(body)
	for _, t := range texts {
		if len(t) > MaxField {
			return dst, ErrTooLarge
		}
		size += 2 + len(t)
	}

	dst = appendPrefix(dst, callMagic, size)
	dst = append(dst, flags)
	dst = appendInt64(dst, c.UnixMillis)
	dst = appendInt64(dst, int64(c.PID))
	for _, t := range texts {
		dst = append(dst, byte(len(t)>>8), byte(len(t)))
		dst = append(dst, t...)
	}
	return append(dst, body...), nil
}

// CallSize is how many bytes of a call follow its prefix, the first [PrefixSize] bytes.
func CallSize(prefix []byte) (int, error) { return sizeAfter(prefix, callMagic, MaxCall-PrefixSize) }

// ParseCall reads what follows a call's prefix, all of it. The call keeps nothing of b.
func ParseCall(b []byte) (*Call, error) {
	if len(b) < fixedSize {
		return nil, ErrMalformed
	}
	flags := b[0]
	if flags&^flagTooLarge != 0 {
		return nil, ErrMalformed
	}
	c := &Call{UnixMillis: int64At(b[1:]), PID: int(int64At(b[9:])), TooLarge: flags&flagTooLarge != 0}
	b = b[fixedSize:]

	var ends [fields]int // where in b each text ends
	at := 0
	for i := range ends {
		if len(b)-at < 2 {
			return nil, ErrMalformed
		}
		size := int(b[at])<<8 | int(b[at+1])
		if size > MaxField {
			return nil, ErrTooLarge
		}
		at += 2 + size
		if at > len(b) {
			return nil, ErrMalformed
		}
		ends[i] = at
	}
	if len(b)-at > MaxBody {
		return nil, ErrTooLarge
	}

	all := string(b[:at]) // one allocation for all texts
	begin := 0
	for i, text := range [fields]*string{&c.Type, &c.UUID, &c.Instance, &c.Name, &c.Default} {
		*text = all[begin+2 : ends[i]]
		begin = ends[i]
	}
	c.Body = append([]byte(nil), b[at:]...)
	return c, nil
}

func appendInt64(dst []byte, v int64) []byte {
	return append(dst, byte(v>>56), byte(v>>48), byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

// int64At reads what appendInt64 wrote. b holds 8 bytes or more.
func int64At(b []byte) int64 {
	var v uint64
	for _, x := range b[:8] {
		v = v<<8 | uint64(x)
	}
	return int64(v)
}
