package webhook

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"runtime/debug"
	"time"

	"authhook/internal/logline"
	"authhook/internal/mist"
	"authhook/internal/policy"
)

// Decider decides requests.
type Decider interface {
	Decide(context.Context, *policy.Request) (decision policy.Decision, repeated bool)
	// Seen says whether an event was told of before, and remembers it.
	Seen(policy.EventID) bool
}

// Sessions is told what becomes of sessions. It does not make its caller wait.
type Sessions interface {
	// Record tells of a session. Its texts are part of what a viewer sent, which may be large: whoever keeps them keeps
	// copies. The session is its caller's.
	Record(*policy.Session)
	// Asks tells that a session is asked about anew, before it is decided about. It says whether somebody waits for this
	// question's answer, whom Answered tells that there is one: also where nothing is recorded, as of a repeated attempt.
	Asks(node, session string) (awaited bool)
	Answered(node, session string)
	// Kick tells of a session that lost its place to a newer one.
	Kick(policy.KickedSession)
}

// Call is one trigger as a media server sends it, over whichever way.
type Call struct {
	Type mist.Type
	// UUID is the same for every attempt of one event.
	UUID string
	// Instance is the server process; Name the node's configured name, empty when it has none.
	Instance, Name string
	// Millis is when MistServer says that it happened, in Unix milliseconds; 0 when it does not.
	Millis int64
	Body   []byte
	// Problem says why Body is not the whole payload; zero when it is.
	Problem Problem

	fault   error          // why the payload cannot be read
	request policy.Request // what it asks
	session policy.Session // what became of it
}

// unreadable notes that a payload is not of its type's form.
func (c *Call) unreadable(err error) { c.Problem, c.fault = Unreadable, err }

// Triggers answers MistServer's triggers.
type Triggers struct {
	decider  Decider
	sessions Sessions
	metrics  *Metrics
	log      *slog.Logger
	node     string
	mode     mist.SessionMode
	checkID  bool
	now      func() time.Time
	seed     maphash.Seed
}

// TriggerOptions are the settings of Triggers.
type TriggerOptions struct {
	// Node is the name of a media server that sends none.
	Node string
	// SessionMode is MistServer's sessionViewerMode, 0 to 15; nil when it is not known. When it is, a session id that
	// MistServer would not compute makes the payload invalid.
	SessionMode *int
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// NewTriggers makes Triggers.
func NewTriggers(d Decider, s Sessions, m *Metrics, log *slog.Logger, o TriggerOptions) *Triggers {
	t := &Triggers{decider: d, sessions: s, metrics: m, log: log, node: o.Node, now: o.Now, seed: maphash.MakeSeed()}
	if o.Now == nil {
		t.now = time.Now
	}
	if o.SessionMode != nil {
		t.checkID, t.mode = true, mist.SessionMode(*o.SessionMode)
	}
	return t
}

// Answer answers a trigger. It always has an answer: what cannot be read is denied where the trigger gates, and passed
// where it does not.
func (t *Triggers) Answer(ctx context.Context, c *Call) (answer string) {
	defer func() {
		if v := recover(); v != nil {
			c.Problem = Panicked
			t.metrics.problem(c.Type, c.Problem)
			t.log.Error("panic while answering a trigger", "trigger", string(c.Type), "panic", v, "stack", string(debug.Stack()))
			if answer = unread(c.Type); answer == yes && gates(c.Type) {
				answer = no
			}
		}
	}()
	if c.Name == "" {
		c.Name = t.node
	}
	switch c.Type {
	case "":
		t.metrics.problem(c.Type, TypeMissing)
		return no
	case mist.TypeUserNew:
		return t.userNew(ctx, c)
	case mist.TypePlayRewrite:
		return t.playRewrite(ctx, c)
	case mist.TypeConnOpen, mist.TypeConnPlay:
		return t.connection(ctx, c)
	case mist.TypeStreamPush, mist.TypePushRewrite, mist.TypeRTMPPushRewrite:
		return t.push(ctx, c)
	case mist.TypeUserEnd:
		return t.userEnd(c)
	default:
		return t.pass(c)
	}
}

// gates says whether a trigger lets viewers or publishers in.
func gates(t mist.Type) bool {
	switch t {
	case mist.TypeUserNew, mist.TypeConnOpen, mist.TypeConnPlay, mist.TypePlayRewrite, mist.TypeStreamPush,
		mist.TypePushRewrite, mist.TypeRTMPPushRewrite:
		return true
	}
	return false
}

// oddest is how far from now the time of an event may be. A clock that is further off says nothing.
const oddest = 24 * time.Hour

// told is when MistServer says that something happened of which it told at a moment; zero when that cannot be.
func (c *Call) told(at time.Time) time.Time {
	now := at.UnixMilli()
	if c.Millis <= 0 || c.Millis < now-oddest.Milliseconds() || c.Millis > now+oddest.Milliseconds() {
		return time.Time{}
	}
	return time.UnixMilli(c.Millis)
}

// Request is what a trigger asks, about which something is decided. The error says why its payload is invalid, as the
// request then says too. There is no effect.
func (t *Triggers) Request(c *Call) (r policy.Request, err error) {
	if c.Name == "" {
		c.Name = t.node
	}
	switch c.Type {
	case mist.TypeUserNew:
		r = t.watch(c)
	case mist.TypePlayRewrite:
		r = rendition(c)
	case mist.TypeConnOpen, mist.TypeConnPlay:
		r = connect(c)
	case mist.TypeStreamPush, mist.TypePushRewrite, mist.TypeRTMPPushRewrite:
		r, _ = publish(c)
	default:
		return r, fmt.Errorf("nothing is decided about a trigger of the type %q", c.Type)
	}
	r.Node, r.Instance = c.Name, c.Instance
	if c.Problem == 0 {
		return r, nil
	}
	r.Invalid = true
	if c.fault != nil {
		return r, c.fault
	}
	return r, errors.New(c.Problem.String())
}

// noteUnreadable notes it, and writes a line about it.
func (t *Triggers) noteUnreadable(c *Call, err error) {
	c.unreadable(err)
	t.warn(c)
}

func (t *Triggers) warn(c *Call) {
	t.log.Warn("trigger payload cannot be read", "trigger", string(c.Type), "node", c.Name, "error", c.fault)
}

// decide asks for a decision about the request of a call, and leaves word of it.
func (t *Triggers) decide(ctx context.Context, c *Call) policy.Decision {
	r := &c.request
	r.Event = t.event(c)
	r.Node, r.Instance = c.Name, c.Instance
	if c.Problem != 0 {
		r.Invalid = true
		t.metrics.problem(c.Type, c.Problem)
		if c.Problem == Unreadable {
			t.warn(c)
		}
	}
	began := t.now()
	d, repeated := t.decider.Decide(ctx, r)
	took := t.now().Sub(began)
	t.metrics.decided(c.Type, d.Reason, took, repeated)
	t.record(c, r, &d, repeated, began, took)
	t.logDecision(ctx, c, r, &d, repeated, began, took)
	return d
}

// event names the event of a call; a call without a UUID has none, nor one with a wrong key: strangers may send any number,
// and what is remembered of them would push out the real ones. The seed is this process's own.
func (t *Triggers) event(c *Call) policy.EventID {
	if c.UUID == "" || c.Problem == KeyWrong {
		return policy.EventID{}
	}
	var h maphash.Hash
	h.SetSeed(t.seed)
	_, _ = h.WriteString(string(c.Type))
	_ = h.WriteByte(0)
	_, _ = h.WriteString(c.Instance)
	_ = h.WriteByte(0)
	_, _ = h.Write(c.Body)
	return policy.EventID{UUID: maphash.String(t.seed, c.UUID), Digest: h.Sum64()}
}

// record leaves a viewer's session to be remembered, once for each event.
func (t *Triggers) record(c *Call, r *policy.Request, d *policy.Decision, repeated bool, at time.Time, took time.Duration) {
	if r.Action != policy.Watch || repeated || r.Invalid {
		return
	}
	s := &c.session
	*s = policy.Session{
		Node: r.Node, ID: r.Session, Instance: r.Instance, State: policy.SessionDenied,
		Stream: shown(r.Stream), Address: r.Address, Connector: r.Connector, User: d.User, Credential: r.Presented.Key, JWT: d.Claims,
		Reason: d.Reason, Plan: d.Plan, Tags: d.Tags, Opened: at, Decided: at.Add(took), Until: d.Until,
		PreviewFrom: d.PreviewFrom, Rerun: r.Rerun, Told: c.told(at), Metered: d.Metered,
	}
	if r.Presented.JWT != "" && d.Claims == nil {
		s.JWT = policy.UnverifiedJWT
	}
	if d.Allow {
		s.State = policy.SessionOpen
	}
	t.sessions.Record(s)
	t.metrics.session(s.Node, s.State)
	for _, k := range d.Kicked {
		t.log.Info("session lost its place to a newer one", "node", k.Node, "session", short(k.Session), "user", d.User)
		t.sessions.Kick(k)
	}
}

// logDecision writes the one line of a decision. It goes to the handler itself: a Logger would look up who calls, each time.
func (t *Triggers) logDecision(ctx context.Context, c *Call, r *policy.Request, d *policy.Decision, repeated bool, at time.Time, took time.Duration) {
	h := t.log.Handler()
	level := slog.LevelInfo
	if r.Action == policy.Rendition { // it turns nobody away, and comes with every try of a player that is denied
		level = slog.LevelDebug
	}
	if !h.Enabled(ctx, level) {
		return
	}
	var room [12]slog.Attr
	attrs := append(room[:0],
		slog.Bool("allow", d.Allow),
		slog.String("reason", d.Reason.String()),
		slog.String("trigger", string(c.Type)),
		slog.String("stream", shown(r.Stream)),
		slog.String("node", r.Node),
		slog.String("address", addressText(r.Address)),
		slog.Int64("us", took.Microseconds()),
	)
	if r.Connector != "" {
		attrs = append(attrs, slog.String("connector", r.Connector))
	}
	if r.Session != "" {
		attrs = append(attrs, slog.String("session", short(r.Session)))
	}
	if d.User != "" {
		attrs = append(attrs, slog.String("user", d.User))
	}
	if c.Problem != 0 {
		attrs = append(attrs, slog.String("problem", c.Problem.String()))
	}
	if repeated {
		attrs = append(attrs, slog.Bool("repeated", true))
	}
	_ = logline.Write(ctx, h, at, level, "decision", attrs...)
}
