package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"authhook/internal/credential"
	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/webhook/admin"
)

// commandLine is the actor of what commands do on a database, as the audit names it.
const commandLine = "command line"

// nodeWithoutName is what serve calls a node that has no name, when --node does not say otherwise.
const nodeWithoutName = "mist"

// direct answers the calls of a client from a database, with the API's own handlers. So a command is written once, for a
// service and for a database, and neither takes what the other refuses.
type direct struct{ api *admin.API }

// tries says what a billing event would change if it were applied now.
type tries func(ctx context.Context, number int64) (*store.BillingEffect, error)

// answerFrom answers from a database, whoever has the token. Try is nil where the command knows no billing systems.
func answerFrom(db database, try tries) (d *direct, token string, err error) {
	token = rand.Text()
	nothing := func(context.Context) {} // nobody here keeps facts in memory
	api, err := admin.New(db, explainer{db}, admin.Options{
		Token: token, Actor: commandLine, Node: nodeWithoutName, Log: slog.New(slog.DiscardHandler),
		Changed: nothing, Applied: nothing, Observe: func(string, int) {}, Failed: keepFailure, TryEvent: try,
		Request: func(string, string, []byte) (policy.Request, error) {
			return policy.Request{}, errors.New("triggers are explained by a service")
		},
	})
	return &direct{api}, token, err
}

type failureKey struct{}

// keepFailure keeps what failed for who asked: on the same machine, the database's own words may be said.
func keepFailure(ctx context.Context, err error) {
	if kept, ok := ctx.Value(failureKey{}).(*error); ok {
		*kept = err
	}
}

// Do answers a request.
func (d *direct) Do(r *http.Request) (*http.Response, error) {
	var failure error
	r = r.WithContext(context.WithValue(r.Context(), failureKey{}, &failure))
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := &answerWriter{header: http.Header{}}
	d.api.ServeHTTP(w, r)
	if failure != nil {
		return nil, failure
	}
	return &http.Response{
		StatusCode: w.status, Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)),
		Header: w.header, Body: io.NopCloser(&w.body), Request: r,
	}, nil
}

// answerWriter keeps an answer in memory.
type answerWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (w *answerWriter) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *answerWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write implements http.ResponseWriter.
func (w *answerWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// explainer explains from what is in a database now.
type explainer struct{ db database }

// Explain implements admin.Explainer.
func (e explainer) Explain(ctx context.Context, r *policy.Request, at time.Time) (policy.Decision, []policy.Finding, error) {
	in, err := e.db.Catalog(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return policy.Decision{}, nil, fmt.Errorf("%w: 'authhook apply -f catalog.yaml' applies one", policy.ErrNoCatalog)
	}
	if err != nil {
		return policy.Decision{}, nil, err
	}
	jwts, err := credential.NewJWTs(in.JWT, credential.Options{})
	if err != nil {
		return policy.Decision{}, nil, fmt.Errorf("the catalog's JWT keys: %w", err)
	}
	defer jwts.Close()
	select { // so that keys from a URL are known
	case <-jwts.Started():
	case <-ctx.Done():
		return policy.Decision{}, nil, ctx.Err()
	}
	decider := policy.NewDecider(e.db, e.db, e.db, policy.Options{})
	decider.SetCatalog(in, jwts)
	return decider.Explain(ctx, r, at)
}
