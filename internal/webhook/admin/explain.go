package admin

import (
	"cmp"
	"context"
	"time"

	"authhook/internal/mist"
	"authhook/internal/policy"
	"authhook/internal/webhook"
)

func (h handlers) Explain(ctx context.Context, r ExplainRequestObject) (ExplainResponseObject, error) {
	asked, fault, err := h.asked(r.Body)
	if err != nil {
		return nil, err
	}
	at := r.Body.At
	if at.IsZero() {
		at = h.o.Now()
	}
	d, findings, err := h.explainer.Explain(ctx, &asked, at)
	if err != nil {
		return nil, err
	}
	body := Explanation{
		Allow: d.Allow, Reason: Reason(d.Reason.String()), At: at.UTC().Truncate(time.Microsecond), Until: d.Until,
		User: d.User, Credential: d.CredentialID, Plan: d.Plan, Tags: d.Tags, Stream: d.Stream, Rendition: d.Rendition, Findings: make([]Finding, len(findings)),
	}
	for i, f := range findings {
		body.Findings[i] = Finding{Rule: f.Rule, Outcome: FindingOutcome(f.Outcome), Detail: f.Detail}
	}
	if fault != nil && len(body.Findings) > 0 {
		body.Findings[0].Detail += ": " + fault.Error()
	}
	return Explain200JSONResponse(body), nil
}

// asked is the request that is to be explained: a made-up one, or a recorded one. The fault says why a recorded one cannot
// be taken as it is: it is explained all the same, as it would be answered.
func (h handlers) asked(b *ExplainRequest) (asked policy.Request, fault, err error) {
	node := cmp.Or(b.Node, h.o.Node)
	if b.Trigger.Type != "" {
		if field := b.madeUp(); field != "" {
			return asked, nil, impossible(field, "cannot stand beside trigger, which says it already")
		}
		asked, fault = h.o.Request(string(b.Trigger.Type), node, []byte(b.Trigger.Body))
		return asked, fault, nil
	}
	switch {
	case b.Stream == "":
		return asked, nil, impossible("stream", "is missing: a stream and an address are needed, or a trigger")
	case b.Address == "":
		return asked, nil, impossible("address", "is missing: a stream and an address are needed, or a trigger")
	}
	address, err := readAddress(b.Address)
	if err != nil {
		return asked, nil, invalid("address", err.Error())
	}
	asked = policy.Request{
		Action: policy.Watch, Node: node, Stream: b.Stream, Address: address, Connector: cmp.Or(b.Connector, "HLS"),
		Presented: webhook.Presented(b.Token, b.URL),
	}
	if b.Publish {
		asked.Action = policy.Push
	} else {
		asked.Session = mist.SessionID(mist.DefaultSessionMode, b.Stream, address, b.Token, asked.Connector)
	}
	return asked, nil, nil
}

// madeUp names the first field of a made-up request.
func (b *ExplainRequest) madeUp() string {
	for _, f := range []struct {
		field string
		given bool
	}{
		{"stream", b.Stream != ""}, {"address", b.Address != ""}, {"token", b.Token != ""}, {"connector", b.Connector != ""},
		{"url", b.URL != ""}, {"publish", b.Publish},
	} {
		if f.given {
			return f.field
		}
	}
	return ""
}
