package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"authhook/client"
	"authhook/internal/billing/signature/sign"
	"authhook/internal/mist/misttest"
	"authhook/internal/store"
)

// ChangeTimes are what changes took from their call to the command at MistServer.
type ChangeTimes struct {
	// PaymentsSingly are of payments that came one at a time, with a pause between them, as payments do; PaymentsAtOnce of ones
	// that came as soon as the last one's command was there. PaymentAnswers are until the webhook was answered.
	PaymentsSingly, PaymentsAtOnce, PaymentAnswers Times
	// CallsSingly are the same of calls of the API.
	CallsSingly Times
}

// NewChangeTable is a table for [ChangeTimes], without rows yet.
func NewChangeTable() *Table {
	return &Table{Texts: 2, Head: []string{"what", "database", "p50", "p99", "of"}}
}

// AddTo adds the times with one database to such a table.
func (t ChangeTimes) AddTo(table *Table, kind string) {
	for _, row := range []struct {
		what  string
		times Times
	}{
		{"a payment webhook, one at a time", t.PaymentsSingly},
		{"a payment webhook, each right after the last one's command", t.PaymentsAtOnce},
		{"the answer to a payment webhook", t.PaymentAnswers},
		{"a call of the API, one at a time", t.CallsSingly},
	} {
		table.Add(row.what, kind, Brief(row.times.P50()), Brief(row.times.P99()), fmt.Sprint(len(row.times)))
	}
}

// The secrets of the service that is measured. Nobody else reaches it: it listens on a loopback address, for minutes.
const (
	adminToken   = "the-admin-token-of-a-measuring"
	eventsSecret = "whsec_dGhlIHNlY3JldCBvZiBhIG1lYXN1cmluZw=="
)

// pause is how long it is between two changes that come singly, and half as much again at most.
const pause = 40 * time.Millisecond

// Changes has each of some people, who are entitled to nothing, gain a right and lose it again: by a billing system's report that a
// subscription became active and then unpaid, singly and without a pause, and by calls of the API.
func (b *Bench) Changes(ctx context.Context, db *Database, p *People, rounds int) (t ChangeTimes, err error) {
	node, err := misttest.Start(misttest.Options{Name: NodeName})
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	service, err := Start(ctx, b.serve(db, NodeName+"="+node.UDPURL(), "--admin-token", adminToken, "--events-secret", eventsSecret))
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, service.Stop()) }()
	node.SetTriggers(map[string][]misttest.Trigger{
		"USER_NEW": {{Handler: service.URL + "/trigger", Sync: true, Default: "false"}},
		"USER_END": {{Handler: service.URL + "/trigger"}},
	})
	s := &changing{people: p, audience: NewAudience(node), url: service.URL, entitlements: make([]string, len(p.Keys))}
	defer s.audience.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	s.sender = &http.Client{Transport: transport, Timeout: answerTime}
	if s.api, err = client.New(service.URL, adminToken, client.WithHTTPClient(client.Refusals(s.sender))); err != nil {
		return t, err
	}
	if s.key, err = sign.StandardKey(eventsSecret); err != nil {
		return t, err
	}
	for _, key := range p.Keys {
		s.audience.Add(Stream, key)
	}
	if err := s.audience.Wait(ctx, misttest.Denied); err != nil {
		return t, err
	}
	for range rounds {
		singly, err := s.turn(ctx, pause, s.pays)
		if err != nil {
			return t, err
		}
		t.PaymentsSingly = append(t.PaymentsSingly, singly.commands...)
		t.PaymentAnswers = append(t.PaymentAnswers, singly.answers...)
		atOnce, err := s.turn(ctx, 0, s.pays)
		if err != nil {
			return t, err
		}
		t.PaymentsAtOnce = append(t.PaymentsAtOnce, atOnce.commands...)
		calls, err := s.turn(ctx, pause, s.calls)
		if err != nil {
			return t, err
		}
		t.CallsSingly = append(t.CallsSingly, calls.commands...)
	}
	if node.Corrupted() {
		return t, errors.New("a datagram was longer than MistServer takes")
	}
	return t, nil
}

// changing is people whose rights come and go.
type changing struct {
	people       *People
	audience     *Audience
	url          string
	sender       *http.Client
	api          *client.ClientWithResponses
	key          []byte
	entitlements []string // of the API
}

type effects struct{ commands, answers Times }

// turn gives each its right, and once all watch takes it away again. It returns when all are refused.
func (s *changing) turn(ctx context.Context, pause time.Duration, change func(n int, right bool) (func(context.Context) error, error)) (e effects, err error) {
	for _, right := range []bool{true, false} {
		effect, then := misttest.EventDenied, misttest.Denied
		if right {
			effect, then = misttest.EventAllowed, misttest.Watching
		}
		for n, player := range s.audience.players {
			if pause > 0 {
				select {
				case <-time.After(pause + rand.N(pause/2)):
				case <-ctx.Done():
					return e, ctx.Err()
				}
			}
			do, err := change(n, right)
			if err != nil {
				return e, err
			}
			seen, err := s.audience.Change(ctx, player, effect, do)
			if err != nil {
				return e, err
			}
			e.answers = append(e.answers, seen.Answered)
			if seen.Command > 0 {
				e.commands = append(e.commands, seen.Command)
			}
		}
		if err := s.audience.Wait(ctx, then); err != nil {
			return e, err
		}
	}
	return e, nil
}

// pays is a billing system's report: the subscription of the n-th is active, or unpaid.
func (s *changing) pays(n int, right bool) (func(context.Context) error, error) {
	now := time.Now()
	user, status := s.people.User(n), "unpaid"
	if right {
		status = "active"
	}
	body, err := json.Marshal(map[string]any{"type": "subscription.changed", "timestamp": now.Format(time.RFC3339Nano), "data": map[string]any{
		"user": user, "subscription": "sub_" + user, "plan": plan, "status": status, "period_end": now.Add(time.Hour).Format(time.RFC3339),
	}})
	if err != nil {
		return nil, err
	}
	headers := http.Header{"Content-Type": {"application/json"}}
	sign.StandardWebhooks(headers, store.NewID("msg"), body, now, s.key)
	return func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/billing/events", bytes.NewReader(body))
		if err != nil {
			return err
		}
		r.Header = headers
		a, err := s.sender.Do(r)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, a.Body)
		if a.StatusCode != http.StatusOK {
			err = errors.Join(err, fmt.Errorf("a payment is answered %s", a.Status))
		}
		return errors.Join(err, a.Body.Close())
	}, nil
}

// calls is a call of the API: the n-th is given an entitlement, or it is taken away.
func (s *changing) calls(n int, right bool) (func(context.Context) error, error) {
	user := s.people.User(n)
	return func(ctx context.Context) error {
		if !right {
			_, err := s.api.RemoveEntitlementWithResponse(ctx, user, s.entitlements[n])
			return err
		}
		made, err := s.api.AddEntitlementWithResponse(ctx, user, client.EntitlementRequest{Plan: plan})
		if err == nil {
			s.entitlements[n] = made.JSON201.ID
		}
		return err
	}, nil
}
