package webhook

import (
	"context"
	"errors"
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
	c.request = t.watch(c)
	if c.Problem == 0 && !c.request.Rerun && t.sessions.Asks(c.Name, c.request.Session) {
		defer t.sessions.Answered(c.Name, c.request.Session) // whatever becomes of it
	}
	return answerAllow(t.decide(ctx, c).Allow)
}

// watch reads a USER_NEW.
func (t *Triggers) watch(c *Call) policy.Request {
	r := policy.Request{Action: policy.Watch}
	if c.Problem == 0 {
		u, err := mist.ParseUserNew(c.Body)
		switch {
		case err != nil:
			c.unreadable(err)
		case !t.vouched(&u):
			c.Problem = SessionIDWrong
		default:
			r.Stream, r.Address, r.Connector, r.Session = u.Stream, u.Address, u.Connector, u.SessionID
			r.Presented, r.Rerun = Presented(u.Token, u.URL), !u.First
		}
	}
	return r
}

// vouched says whether the parameters of a USER_NEW are where MistServer put them. Without a line break too many they
// can be nowhere else. With one, the session id tells, which MistServer made of the true ones; where the server's mode
// is not configured, that of its default mode. Where it is, every session id is held against it.
func (t *Triggers) vouched(u *mist.UserNew) bool {
	mode := mist.DefaultSessionMode
	if t.checkID {
		mode = t.mode
	}
	if hasLineBreak(u.Token) { // only an id that the token is part of tells where it begins and ends
		return mode&mist.SessionByToken != 0 && u.SessionIDMatches(mode)
	}
	return !t.checkID || u.SessionIDMatches(mode)
}

// connection answers whether a connection may exist, or be served. MistServer's own outputs ask too, without an
// address, and what is not a viewer's must not be stopped: only a rule that names the address or the connector denies.
func (t *Triggers) connection(ctx context.Context, c *Call) string {
	c.request = connect(c)
	return answerAllow(t.decide(ctx, c).Allow)
}

// connect reads a CONN_OPEN or a CONN_PLAY.
func connect(c *Call) policy.Request {
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
			c.unreadable(err)
		}
	}
	return r
}

// playRewrite answers with the stream that this viewer is to be given. Who may not watch is told so at USER_NEW.
func (t *Triggers) playRewrite(ctx context.Context, c *Call) string {
	c.request = rendition(c)
	if d := t.decide(ctx, c); d.Rendition != "" {
		return d.Rendition
	}
	return c.request.Stream
}

// rendition reads a PLAY_REWRITE.
func rendition(c *Call) policy.Request {
	r := policy.Request{Action: policy.Rendition}
	if c.Problem == 0 {
		p, err := mist.ParsePlayRewrite(c.Body)
		switch {
		case err != nil:
			c.unreadable(err)
		case hasLineBreak(p.URL):
			c.unreadable(errLineBreak)
		default:
			r.Stream, r.Address, r.Connector = p.Stream, p.Address, p.Connector
			r.Presented = Presented("", p.URL)
		}
	}
	return r
}

// userEnd leaves word that a session is over. Nobody reads the answer.
func (t *Triggers) userEnd(c *Call) string {
	if c.Problem != 0 {
		t.metrics.problem(c.Type, c.Problem)
		return yes
	}
	u, err := mist.ParseUserEnd(c.Body)
	if err != nil {
		t.noteUnreadable(c, err)
		t.metrics.problem(c.Type, c.Problem)
		return yes
	}
	t.metrics.passed(c.Type)
	if t.decider.Seen(t.event(c)) {
		return yes
	}
	now := t.now()
	c.session = policy.Session{
		Node: c.Name, ID: u.SessionID, Instance: c.Instance, State: policy.SessionEnded, Ended: now,
		Duration: time.Duration(u.Seconds) * time.Second, BytesUp: u.BytesUp, BytesDown: u.BytesDown,
		Connectors: cloned(u.Connectors), Tags: tagsAtEnd(u.Tags), Told: c.told(now), NeverRan: u.Denied(),
	}
	t.sessions.Record(&c.session)
	t.metrics.session(c.Name, policy.SessionEnded)
	return yes
}

// Of a session's tags, how many are kept and how much of each, in bytes: one holds the user agent, which the viewer chose,
// and with "][" in it makes up others.
const mostTags, longestTag = 100, 512

// tagsAtEnd are the tags that MistServer tells of a session at its end, for reading: see [mist.UserEnd].
func tagsAtEnd(tags []string) []string {
	tags = cloned(tags[:min(len(tags), mostTags)])
	for i, tag := range tags {
		tags[i] = tag[:min(len(tag), longestTag)]
	}
	return tags
}

func cloned(list []string) []string {
	for i := range list {
		list[i] = strings.Clone(list[i])
	}
	return list
}

func hasLineBreak(text string) bool { return strings.Contains(text, "\n") }

// errLineBreak: MistServer's own URLs hold no line break, so one that does may have moved the parameters around it.
var errLineBreak = errors.New("request URL: a line break in it may have moved other parameters")

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// short is enough of a session id to find it by.
func short(session string) string { return session[:min(len(session), 8)] }
