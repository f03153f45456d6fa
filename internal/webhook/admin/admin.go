// Package admin is the admin API: /api/v1, as openapi.yaml has it.
//
// The contract comes first. What a request may look like, which role it demands and what its answers are is read from
// openapi.yaml; the handlers (users.go and on) are called by code that is generated from it, and get only what fits it.
// They check what the contract cannot say, change the facts through the store and have the change hold before they
// answer.
//
// It never answers who is not known, never says why a key is not good, and never shows a stored key, a hash of an API
// key, a secret of the catalog, or the text of an error that it does not know. Where no key and no admin token exist it is
// closed, not open.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"authhook/internal/catalog"
	"authhook/internal/policy"
	"authhook/internal/store"
)

const (
	// MaxBody is the largest body that is read, in bytes: what a catalog may have.
	MaxBody = catalog.MaxSize
	// requestTime bounds one request, below the server's own time-outs.
	requestTime = 25 * time.Second
	// ShortestToken is how many characters an admin token has at least.
	ShortestToken = 24
)

// Options are what the API works with.
type Options struct {
	// Token is the admin token; empty: only keys are good. Actor is as whom the audit names who has it. Default:
	// [AdminToken].
	Token, Actor string
	// Node is the name of nodes that send none.
	Node string
	// Changed has facts that were changed hold for the next decision, and Applied a catalog, before the change is answered.
	Changed, Applied func(context.Context)
	// Request is what a trigger asks, for an explanation.
	Request func(triggerType, node string, body []byte) (policy.Request, error)
	// End has a node end a session, and writes into the audit who asked for it ([store.ActorOf]). [ErrNotHeld] when no
	// authhook here has the node. Nil: there is no MistServer to tell.
	End func(ctx context.Context, node, id string) error
	// TryEvent says what a billing event would change if it were applied now. Nil: nobody here knows how events are read.
	TryEvent func(ctx context.Context, number int64) (*store.BillingEffect, error)
	// Replayed is called when billing events are to be applied again. It may be nil.
	Replayed func()
	// Failed is told why a request failed for no fault of who made it. It may be nil.
	Failed func(ctx context.Context, err error)
	// Observe counts a request, by the operation of the contract, or "unknown", and the answer's status.
	Observe func(operation string, status int)
	// Now is the clock. Default: time.Now.
	Now func() time.Time
	Log *slog.Logger
}

// Explainer says how a request would be decided.
type Explainer interface {
	Explain(ctx context.Context, r *policy.Request, at time.Time) (policy.Decision, []policy.Finding, error)
}

// API serves the admin API. It is made by [New].
type API struct {
	store     Store
	explainer Explainer
	o         Options
	contract  *contract
	door      *door
	routes    *chi.Mux
}

// New makes the API. The error is a fault of the contract.
func New(s Store, e Explainer, o Options) (*API, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Actor == "" {
		o.Actor = AdminToken
	}
	c, err := theContract()
	if err != nil {
		return nil, err
	}
	a := &API{store: s, explainer: e, o: o, contract: c, door: newDoor(s, caller{o.Actor, store.RoleAdmin}, o.Token, o.Now), routes: chi.NewMux()}
	HandlerWithOptions(
		NewStrictHandlerWithOptions(handlers{a}, nil, StrictHTTPServerOptions{
			RequestErrorHandlerFunc: a.refuse, ResponseErrorHandlerFunc: a.refuse,
		}),
		ChiServerOptions{BaseRouter: a.routes, ErrorHandlerFunc: a.refuse},
	)
	return a, nil
}

// Routes are those of the API, for comparing them with the contract.
func (a *API) Routes() chi.Routes { return a.routes }

// handlers are the operations of the contract.
type handlers struct{ *API }

var _ StrictServerInterface = handlers{}

// ServeHTTP answers one request of the API.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := a.o.Now()
	ctx, cancel := context.WithTimeout(r.Context(), requestTime)
	defer cancel()
	// Routed is what was sent, and each part of the path is decoded once, where it is read: a user's id may hold
	// anything, slashes and percent signs too.
	r, path := r.WithContext(ctx), *r.URL
	path.RawPath = path.EscapedPath()
	r.URL = &path

	answer := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
	h := answer.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	found := a.contract.find(a.routes, r)
	operation := found.op.name()
	var who caller
	defer func() {
		if fault := recover(); fault != nil {
			if fault == http.ErrAbortHandler {
				panic(fault)
			}
			a.o.Log.Error("the API failed", "operation", operation, "fault", fault, "stack", string(debug.Stack()))
			if answer.Status() == 0 {
				a.refuse(answer, r, fmt.Errorf("%w: %v", errFault, fault))
			}
		}
		a.o.Observe(operation, answer.Status())
		a.o.Log.Info("api", "operation", operation, "status", answer.Status(), "actor", who.actor,
			"address", remote(r).String(), "us", a.o.Now().Sub(began).Microseconds())
	}()
	who, err := a.door.admit(r)
	if err == nil {
		err = a.contract.check(answer, r, found, who)
	}
	if err != nil {
		a.refuse(answer, r, err)
		return
	}
	a.routes.ServeHTTP(answer, r.WithContext(withAccept(who.context(ctx), r)))
}

// remote is where a request comes from: the connection's other end, and nothing that a header says.
func remote(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}

// changed has facts that were changed hold from now on. It is done to the end: who asked may have left.
func (a *API) changed(ctx context.Context) { a.o.Changed(context.WithoutCancel(ctx)) }

type jsonKey struct{}

// withAccept notes whether JSON is asked for, for the one operation that has a choice.
func withAccept(ctx context.Context, r *http.Request) context.Context {
	return context.WithValue(ctx, jsonKey{}, strings.Contains(r.Header.Get("Accept"), "json"))
}

func wantsJSON(ctx context.Context) bool { return ctx.Value(jsonKey{}) == true }

// expired says whether an error is that of a request whose time is over.
func expired(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
