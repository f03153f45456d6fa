package webhook

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"authhook/internal/mist"
	"authhook/internal/policy"
)

const (
	yes = "true"
	no  = "false"
)

func answerAllow(allow bool) string {
	if allow {
		return yes
	}
	return no
}

// userNew answers whether a viewer's session may begin or go on.
func (t *Triggers) userNew(ctx context.Context, c *Call) string {
	r := policy.Request{Action: policy.Watch}
	if c.Problem == 0 {
		u, err := mist.ParseUserNew(c.Body)
		switch {
		case err != nil:
			t.unreadable(c, err)
		case !t.vouched(&u):
			c.Problem = SessionIDWrong
		default:
			r.Stream, r.Address, r.Connector, r.Session = u.Stream, u.Address, u.Connector, u.SessionID
			r.Presented = Presented(u.Token, u.URL)
		}
	}
	return answerAllow(t.decide(ctx, c, &r).Allow)
}

// vouched says whether the parameters of a USER_NEW are where MistServer put them. Without a line break too many they
// can be nowhere else. With one, the session id tells, which MistServer made of the true ones; where the server's mode
// is not configured, that of its default mode. Where it is, every session id is held against it.
func (t *Triggers) vouched(u *mist.UserNew) bool {
	if t.checkID {
		return u.SessionIDMatches(t.mode)
	}
	return !strings.Contains(u.Token, "\n") || u.SessionIDMatches(mist.DefaultSessionMode)
}

// unreadable notes that a payload is not of its type's form.
func (t *Triggers) unreadable(c *Call, err error) {
	c.Problem = Unreadable
	t.log.Warn("trigger payload cannot be read", "trigger", string(c.Type), "node", c.Name, "error", err)
}

// connection answers whether a connection may exist, or be served. MistServer's own outputs ask too, without an
// address, and what is not a viewer's must not be stopped: only a rule that names the address or the connector denies.
func (t *Triggers) connection(ctx context.Context, c *Call) string {
	r := policy.Request{Action: policy.Connect}
	if c.Type == mist.TypeConnPlay {
		r.Action = policy.Play
	}
	if c.Problem == 0 {
		switch p, err := mist.Parse(c.Type, c.Body); p := p.(type) {
		case mist.Connection:
			r.Stream, r.Address, r.Connector = p.Stream, p.Address, p.Connector
			r.Invalid = hasLineBreak(p.URL)
		default:
			t.unreadable(c, err)
		}
	}
	return answerAllow(t.decide(ctx, c, &r).Allow)
}

// playRewrite answers with the stream that this viewer is to be given. Who may not watch is told so at USER_NEW.
func (t *Triggers) playRewrite(ctx context.Context, c *Call) string {
	r := policy.Request{Action: policy.Rendition}
	if c.Problem == 0 {
		p, err := mist.ParsePlayRewrite(c.Body)
		if err != nil || hasLineBreak(p.URL) {
			t.unreadable(c, err)
		} else {
			r.Stream, r.Address, r.Connector = p.Stream, p.Address, p.Connector
			r.Presented = Presented("", p.URL)
		}
	}
	d := t.decide(ctx, c, &r)
	if d.Rendition != "" {
		return d.Rendition
	}
	return r.Stream
}

// userEnd leaves word that a session is over. Nobody reads the answer.
func (t *Triggers) userEnd(c *Call) string {
	if c.Problem != 0 {
		t.metrics.problem(c.Type, c.Problem)
		return yes
	}
	u, err := mist.ParseUserEnd(c.Body)
	if err != nil {
		t.unreadable(c, err)
		t.metrics.problem(c.Type, c.Problem)
		return yes
	}
	t.metrics.passed(c.Type)
	if t.decider.Seen(t.event(c)) {
		return yes
	}
	now := t.now()
	t.sessions.Record(policy.Session{
		Node: c.Name, ID: u.SessionID, Instance: c.Instance, State: policy.SessionEnded, Ended: now,
		Duration: time.Duration(u.Seconds) * time.Second, BytesUp: u.BytesUp, BytesDown: u.BytesDown,
		Connectors: u.Connectors,
	})
	return yes
}

func hasLineBreak(url string) bool { return strings.Contains(url, "\n") }

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// short is enough of a session id to find it by.
func short(session string) string { return session[:min(len(session), 8)] }
