package policy

import (
	"context"
	"fmt"
)

// Verdict is what now holds for a session that was decided about before.
type Verdict struct {
	Decision
	// Due is the stream that the session's viewer is to be given in place of the one it watches, when the plan now in
	// force wants its holders brought there ([Plan.Bounce]); empty otherwise.
	Due string
}

// Reconsider decides again about a session, from the facts as they are now. No place is taken and no event remembered; a
// preview is begun only for a session that is open: its viewer would begin it by coming back. The error says which facts
// could not be read: that is no verdict, and nothing follows from it.
func (d *Decider) Reconsider(ctx context.Context, s *Session) (Verdict, error) {
	book := d.rulebook.Load()
	if book == nil {
		return Verdict{}, ErrNoCatalog
	}
	now := d.options.Now()
	r := s.request()
	f := Facts{PreviewFrom: s.PreviewFrom}
	if err := d.facts(ctx, book, &r, now, &f); err != nil {
		return Verdict{}, fmt.Errorf("read the facts: %w", err)
	}
	decision := Evaluate(&r, &f, now)
	if decision.MayPreview {
		stream := book.catalog.Stream(r.Stream)
		find := d.previews.Preview
		if s.State == SessionOpen {
			find = d.previews.StartPreview
		}
		ctx, cancel := d.remaining(ctx, now)
		defer cancel()
		began, err := find(ctx, previewer(&r, &f), stream.Match, now, stream.previewEvery())
		if err != nil {
			return Verdict{}, fmt.Errorf("read the preview: %w", err)
		}
		if f.PreviewFrom = began; began.IsZero() {
			f.PreviewFrom = now
		}
		decision = Evaluate(&r, &f, now)
	}
	v := Verdict{Decision: decision}
	if decision.Allow && f.User != nil {
		q := question{r: &r, f: &f, at: now}
		v.Due = q.due()
	}
	return v, nil
}

// request is the question that a session was the answer to.
func (s *Session) request() Request {
	r := Request{
		Action: Watch, Node: s.Node, Instance: s.Instance, Stream: s.Stream, Address: s.Address, Connector: s.Connector,
		Session: s.ID, Presented: Presented{Key: s.Credential, Claims: s.JWT}, Rerun: true,
	}
	if s.JWT.Unverified() {
		r.Presented = Presented{Unrecognised: true}
	}
	if r.Presented.None() && s.Reason == CredentialUnknown { // what was presented has no form that could be kept
		r.Presented.Unrecognised = true
	}
	return r
}

// due is the rendition that the user's best plan gives in place of the stream that is watched, where that plan wants its
// holders brought there. A stream that is the right rendition of any policy is left alone.
func (q *question) due() string {
	to := ""
	for _, s := range q.f.Catalog.renditionOf[q.r.Stream] {
		best := q.bestPlan(s.Renditions)
		if best == nil || s.Renditions[best.Key] == q.r.Stream {
			return ""
		}
		if best.Bounce {
			to = s.Renditions[best.Key]
		}
	}
	return to
}
