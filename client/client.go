// Package client calls the admin API of an authhook service. Its types and methods are generated from openapi.yaml:
//
//	c, err := client.New("http://127.0.0.1:4280", os.Getenv("AUTHHOOK_ADMIN_TOKEN"))
//	answer, err := c.AddCredentialWithResponse(ctx, "alice", client.CredentialRequest{Streams: []string{"live+*"}})
//	var problem *client.Problem
//	if errors.As(err, &problem) && problem.Type == client.ProblemNotFound { … }
//
// What the service refuses is an error, a [*Problem]; what no authhook answers is one too, a [*AnswerError]. Without one, the
// answer's JSON field of the documented status is set.
package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
)

// New is a client of the service at a URL, which calls with the admin token or a key of the API. Options come after what
// New itself sets.
func New(service, token string, options ...ClientOption) (*ClientWithResponses, error) {
	authorize := func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	}
	set := []ClientOption{WithRequestEditorFn(authorize), WithHTTPClient(Refusals(http.DefaultClient))}
	return NewClientWithResponses(service, append(set, options...)...)
}

// Refusals makes an error of every answer that is no success: for [WithHTTPClient].
func Refusals(d HttpRequestDoer) HttpRequestDoer { return refusals{d} }

type refusals struct{ next HttpRequestDoer }

// Do sends a request.
func (d refusals) Do(r *http.Request) (*http.Response, error) {
	answer, err := d.next.Do(r)
	if err != nil {
		return nil, err
	}
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	isOurs := kind == "application/json" || kind == "application/yaml" || answer.StatusCode == http.StatusNoContent
	if answer.StatusCode/100 == 2 && isOurs {
		return answer, nil
	}
	defer func() { _ = answer.Body.Close() }()
	if kind != "application/problem+json" {
		return nil, &AnswerError{Status: answer.Status, ContentType: kind, Location: answer.Header.Get("Location")}
	}
	p := &Problem{}
	if err := json.NewDecoder(io.LimitReader(answer.Body, 4<<20)).Decode(p); err != nil {
		return nil, fmt.Errorf("the service answered %s, with a problem that cannot be read: %w", answer.Status, err)
	}
	return nil, p
}

// AnswerError is an answer that no authhook gives: something else answers at the URL, or on the way to it.
type AnswerError struct {
	Status, ContentType string
	// Location is where it sends the caller instead, if it does.
	Location string
}

// Error says what the answer was, without its text.
func (e *AnswerError) Error() string {
	text := "no answer of authhook's: " + e.Status
	if e.ContentType != "" {
		text += ", " + e.ContentType
	}
	if e.Location != "" {
		text += ", that leads to " + e.Location
	}
	return text
}

// Error says what the problem is, with the fields that are wrong.
func (p *Problem) Error() string {
	parts := []string{p.Title}
	if p.Detail != "" {
		parts = append(parts, p.Detail)
	}
	for _, e := range p.Errors {
		parts = append(parts, strings.TrimSpace(e.Field+" "+e.Problem))
	}
	return strings.Join(parts, ": ")
}
