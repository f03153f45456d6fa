package webhook

import (
	"context"

	"authhook/internal/mist"
	"authhook/internal/policy"
)

// push answers the three triggers that gate publishing. RTMP asks all of them, in this order: RTMP_PUSH_REWRITE,
// PUSH_REWRITE, STREAM_PUSH; each must hold by itself, since an operator may have set only one.
func (t *Triggers) push(ctx context.Context, c *Call) string {
	r, as := publish(c)
	c.request = r
	d := t.decide(ctx, c)
	switch {
	case c.Type == mist.TypeStreamPush:
		return answerAllow(d.Allow)
	case !d.Allow:
		return "" // denies (PUSH_REWRITE, RTMP_PUSH_REWRITE)
	case r.StreamOfCredential && c.Type == mist.TypePushRewrite:
		return d.Stream
	default:
		return as
	}
}

// publish reads a trigger that gates publishing, and the value in it that the answer leaves as it is.
func publish(c *Call) (r policy.Request, as string) {
	r.Action = policy.Push
	var url string
	if c.Problem == 0 {
		p, err := mist.Parse(c.Type, c.Body)
		switch p := p.(type) {
		case mist.StreamPush:
			url, r.Stream, r.Address, r.Connector = p.URL, p.Stream, p.Address, p.Connector
		case mist.PushRewrite:
			url, as, r.Stream, r.Address = p.URL, p.Stream, p.Stream, p.Address
		case mist.RTMPPushRewrite:
			url, as, r.Address = p.URL, p.URL, p.Address
		default:
			c.unreadable(err)
		}
		// No session id vouches for a push. MistServer's own URLs hold no line break, so one that does may have moved
		// the rest.
		r.Invalid = hasLineBreak(url) || hasLineBreak(r.Stream)
	}
	var inPath bool
	r.Presented, inPath = presentedInPath(url)
	if c.Type != mist.TypeStreamPush {
		switch {
		case inPath: // the key stands where the stream's name would
			r.Stream, r.StreamOfCredential = "", true
		case c.Type == mist.TypeRTMPPushRewrite:
			r.Stream = mist.StreamOfRTMP(url)
		default: // MistServer has not cleaned the name yet
			r.Stream = mist.StreamName(r.Stream)
		}
	}
	return r, as
}
