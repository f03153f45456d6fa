// Package misttest is a stand-in for MistServer that behaves as the real one was measured to: it asks triggers, keeps
// sessions, remembers denials, and answers the API over UDP and HTTP, each in its own time.
//
// It serves no media. It must never be kinder than the real one: what a real MistServer loses, delays or leaves
// unsaid, this one loses, delays and leaves unsaid too, for a test above it is worth what it is. Each fact stands
// beside the code that needs it, with the recording that shows it; (source) means MistServer's public source.
//
// It is part of the product (the demo runs it), so it imports nothing of testing.
package misttest

import (
	"log/slog"
	"net/netip"
	"time"

	"authhook/internal/mist"
)

// version is the MistServer that was measured.
const version = "3.10"

// Options are the settings of a Server.
type Options struct {
	// Name is the server's configured name (serverid), which its triggers carry as X-Name. Empty: they carry none.
	Name string
	// Addr is where both APIs listen, UDP and TCP on the same port. Default: 127.0.0.1:0.
	Addr string
	// SessionMode is what a session id is made of. Default: mist.DefaultSessionMode.
	SessionMode mist.SessionMode
	// Timing is how long all things take. Default: MeasuredTiming.
	Timing Timing
	// Seed begins the randomness of delays and of lost datagrams. Ids are random whatever it is.
	Seed uint64
	// Log is told what the server does. Default: nothing.
	Log *slog.Logger
	// Username and Password: when the password is set, the HTTP API demands a login even of local clients, so that one
	// from another machine can be tested.
	Username, Password string
	// Prometheus is the path of the counters. Default: metrics.
	Prometheus string
	// Concurrency bounds how many triggers are asked at once; the others wait. The real server has no bound: it starts a
	// process for each. Default: 256.
	Concurrency int
}

func (o *Options) complete() {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.SessionMode == 0 {
		o.SessionMode = mist.DefaultSessionMode
	}
	if o.Timing == (Timing{}) {
		o.Timing = MeasuredTiming()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Prometheus == "" {
		o.Prometheus = "metrics"
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 256
	}
}

// Viewer is somebody who watches, or wants to.
type Viewer struct {
	Stream string
	// Address is the viewer's. Default: 127.0.0.1.
	Address netip.Addr
	// Token is what the viewer presents. Empty: what the URL's query or Bearer hold, else MistServer makes up a short
	// decimal number, which the player keeps. RTMP and RTSP put a process id in its place, another one at every connect.
	Token string
	// Bearer, when set, is sent in an Authorization header, and goes above Token.
	Bearer string
	// Connector is the protocol. Default: HLS.
	Connector string
	// URL is the request's. Default: made of the others, with the token.
	URL string
	// Reconnect is how long the player waits after it was cut or denied before it comes back. Zero: it does not.
	Reconnect time.Duration
	UserAgent string
}

// SessionInfo is a session as it truly is at this moment, unlike the API's list, which lags.
type SessionInfo struct {
	ID      string
	Stream  string
	Address netip.Addr
	Token   string
	// Connectors are all that the session used, in the order of their first use.
	Connectors []string
	Tags       []string
	// Since is when the session was opened, or first asked about.
	Since time.Time
	// Connections is how many are open now; none after the last viewer has left, until the session's USER_END.
	Connections int
	// Asking says that a USER_NEW of it is under way.
	Asking bool
	// DeniedUntil is when the memory of its denial ends; zero when it is not denied.
	DeniedUntil time.Time
}

// Command is one call that the API received. A call with several targets is several.
type Command struct {
	At time.Time
	// Over is "udp" or "http".
	Over string
	// Kind is the call's name ("stop_sessid"), "garbage" for what is no JSON object.
	Kind string
	// Target is the session id, stream or tag; empty where the call has none.
	Target string
	// Value is the tag of tag_sessid, and each tag of tag_stream and untag_stream.
	Value string
}
