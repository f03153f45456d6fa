package policy

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrNoCatalog: no catalog has been applied, so nothing can be decided.
var ErrNoCatalog = errors.New("no catalog is applied")

// Explain answers a request as it would be answered at a moment, with what each rule finds, and without effect: no
// place is taken, no preview begun, no event remembered. The error says which facts could not be read.
func (d *Decider) Explain(ctx context.Context, r *Request, at time.Time) (Decision, []Finding, error) {
	book := d.rulebook.Load()
	if book == nil {
		return d.unavailable(r, nil), nil, ErrNoCatalog
	}
	var f Facts
	if err := d.facts(ctx, book, r, at, &f); err != nil {
		return d.unavailable(r, f.claims()), nil, fmt.Errorf("read the facts: %w", err)
	}
	decision, findings := Explain(r, &f, at)
	if decision.MayPreview {
		stream := book.catalog.Stream(r.Stream)
		began, err := d.previews.Preview(ctx, previewer(r, &f), stream.Match, at, stream.previewEvery())
		if err != nil {
			return d.unavailable(r, f.claims()), nil, fmt.Errorf("read the preview: %w", err)
		}
		if f.PreviewFrom = began; began.IsZero() {
			f.PreviewFrom = at
		}
		decision, findings = Explain(r, &f, at)
		if began.IsZero() {
			findings = append(findings, Finding{"preview", "allow", fmt.Sprintf("none has begun: one of %s would begin now", stream.Preview)})
		}
	}
	if r.Presented.JWT != "" && f.Credential == nil && book.verifier != nil {
		_, _, detail := book.verifier.VerifyJWT(r.Presented.JWT)
		describe(findings, "credential", detail)
	}
	if !decision.Allow || r.Action != Watch || decision.MaxConcurrent == 0 {
		return decision, findings, nil
	}
	open, err := d.leases.CountLeases(ctx, decision.User, decision.Plan, r.Node, r.Session, at)
	if err != nil {
		return d.unavailable(r, f.claims()), findings, fmt.Errorf("count the open sessions: %w", err)
	}
	outcome := "pass"
	switch {
	case open >= decision.MaxConcurrent && decision.OnLimit == OnLimitKickOldest:
		outcome = "allow"
	case open >= decision.MaxConcurrent:
		outcome = "deny"
		decision.overLimit()
	}
	return decision, append(findings, Finding{"concurrency", outcome,
		fmt.Sprintf("%d other sessions are open of the %d that plan %s permits (%s)", open, decision.MaxConcurrent, decision.Plan, decision.OnLimit)}), nil
}

// describe gives a rule's finding its detail.
func describe(findings []Finding, rule, detail string) {
	for i := range findings {
		if findings[i].Rule == rule {
			findings[i].Detail = detail
		}
	}
}
