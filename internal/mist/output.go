package mist

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// OutputEnd is the payload of OUTPUT_END, which reports the end of any output, and of RECORDING_END, which does so for
// one that wrote to a file.
type OutputEnd struct {
	// Trigger is one of the two types.
	Trigger Type
	Stream  string
	// Target is the file; empty when the output went to a viewer (OUTPUT_END.http).
	Target string
	Output string // "EBML", "MP4"
	Bytes  int64
	// Seconds is how long it wrote, from Start to End, both in UTC.
	Seconds    int64
	Start, End time.Time
	// MediaMillis is how much media it wrote, from FirstMillis to LastMillis on the stream's own clock.
	MediaMillis, FirstMillis, LastMillis int64
	// ReasonCode is for programs ("CLEAN_EOF"), Reason for people.
	ReasonCode, Reason string
}

// Type is the Trigger.
func (e OutputEnd) Type() Type { return e.Trigger }

func parseOutputEnd(t Type, body []byte) (OutputEnd, error) {
	p := read(t, body)
	e := OutputEnd{Trigger: t}
	e.Stream = p.front("stream")
	e.Target = p.front("target")
	e.Output = p.front("type")
	e.Bytes = p.number("bytes", p.front("bytes"))
	e.Seconds = p.number("seconds", p.front("seconds"))
	e.Start = p.unix("start", p.front("start"))
	e.End = p.unix("end", p.front("end"))
	e.MediaMillis = p.millis("media milliseconds", p.front("media milliseconds"))
	e.FirstMillis = p.millis("first millisecond", p.front("first millisecond"))
	e.LastMillis = p.millis("last millisecond", p.front("last millisecond"))
	e.ReasonCode = p.front("reason code")
	// Both types add a line break at the end (OUTPUT_END.http, RECORDING_END.http).
	e.Reason = strings.TrimSuffix(p.left, "\n")
	return done(&p, e)
}

// unix reads a moment in seconds since 1970.
func (p *parameters) unix(name, value string) time.Time {
	return time.Unix(p.number(name, value), 0).UTC()
}

// millis reads a moment of a stream. MistServer keeps it in 64 bits without a sign and begins with all of them set
// (source), so that an output which sent nothing may report that: read as -1.
func (p *parameters) millis(name, value string) int64 {
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		p.fail(name, "a whole number")
	}
	return int64(n)
}

// ConnectorConfig is the payload of OUTPUT_START and OUTPUT_STOP, which report that a connector begins and stops to
// listen.
type ConnectorConfig struct {
	// Trigger is one of the two types.
	Trigger Type
	// Config is the connector's configuration.
	Config json.RawMessage
}

// Type is the Trigger.
func (c ConnectorConfig) Type() Type { return c.Trigger }

func parseConnectorConfig(t Type, body []byte) (ConnectorConfig, error) {
	p := read(t, body)
	c := ConnectorConfig{Trigger: t, Config: p.json("configuration", p.left)}
	return done(&p, c)
}
