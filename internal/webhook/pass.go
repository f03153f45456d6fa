package webhook

import (
	"authhook/internal/mist"
)

// pass answers the triggers that nothing is decided about, so that they change nothing. They are read all the same: a
// payload that cannot be read is counted and stops nothing, except for PUSH_OUT_START: without its target there is no answer
// that would let the push go on.
func (t *Triggers) pass(c *Call) string {
	if !mist.Known(c.Type) {
		t.metrics.problem(c.Type, TypeUnknown)
		return yes
	}
	if c.Problem != 0 {
		t.metrics.problem(c.Type, c.Problem)
		return unread(c.Type)
	}
	p, err := mist.Parse(c.Type, c.Body)
	if err != nil {
		t.noteUnreadable(c, err)
		t.metrics.problem(c.Type, c.Problem)
		return unread(c.Type)
	}
	t.metrics.passed(c.Type)
	switch p := p.(type) {
	case mist.PushOutStart:
		return p.Target
	case mist.DefaultStream:
		return p.Default
	case mist.StreamSource:
		return "" // keeps the configured source
	default:
		return yes
	}
}

// unread is the answer of a trigger that gates nothing when its payload cannot be read.
func unread(t mist.Type) string {
	if t.Answer() == mist.AnswerRewrite {
		return ""
	}
	return yes
}
