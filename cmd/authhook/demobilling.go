package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"authhook/client"
)

// demoBilling is what a payment provider tells the service. There are no webhooks for it yet: it comes by the API, one function
// for each thing that happens, so that real events can take their place.
type demoBilling struct {
	*client.ClientWithResponses
	connections *http.Transport
	mu          sync.Mutex
	last        int64 // of the change feed, as far as it was read
	commits     map[demoChange]time.Time
	payments    int
}

// demoChange is what an entry of the change feed is about.
type demoChange struct{ kind, subject string }

func newDemoBilling(service, token string) (*demoBilling, error) {
	b := &demoBilling{connections: &http.Transport{MaxIdleConnsPerHost: 8}, commits: make(map[demoChange]time.Time)}
	var err error
	b.ClientWithResponses, err = client.New(service, token,
		client.WithHTTPClient(client.Refusals(&http.Client{Transport: b.connections, Timeout: demoPatience})))
	return b, err
}

func (b *demoBilling) close() { b.connections.CloseIdleConnections() }

// joins makes a user, and a key for its players.
func (b *demoBilling) joins(ctx context.Context, user string) (key string, err error) {
	if _, err := b.PutUserWithResponse(ctx, user, nil, client.UserChange{Status: "active"}); err != nil {
		return "", err
	}
	made, err := b.AddCredentialWithResponse(ctx, user, client.CredentialRequest{})
	if err != nil {
		return "", err
	}
	return made.JSON201.Token, nil
}

// pays is a payment that succeeded, for a plan or a stream, until a moment; zero: for good. It returns what it bought.
func (b *demoBilling) pays(ctx context.Context, user string, bought client.EntitlementRequest) (entitlement string, err error) {
	b.mu.Lock()
	b.payments++
	bought.Source = fmt.Sprintf("demo payment %d", b.payments)
	b.mu.Unlock()
	made, err := b.AddEntitlementWithResponse(ctx, user, bought)
	if err != nil {
		return "", err
	}
	return made.JSON201.ID, nil
}

// cardFails is a renewal that was not paid, of a plan without grace.
func (b *demoBilling) cardFails(ctx context.Context, user, entitlement string) error {
	_, err := b.RemoveEntitlementWithResponse(ctx, user, entitlement)
	return err
}

// cardFailsInGrace is a renewal that was not paid, of a plan that goes on for a while.
func (b *demoBilling) cardFailsInGrace(ctx context.Context, user, entitlement, plan string, until time.Time) error {
	_, err := b.AddEntitlementWithResponse(ctx, user, client.EntitlementRequest{Plan: plan, Until: until, Source: "grace after a failed renewal"})
	if err != nil {
		return err
	}
	return b.cardFails(ctx, user, entitlement)
}

// upgrades is a subscription that changes to a plan of a higher rank, which counts from then on.
func (b *demoBilling) upgrades(ctx context.Context, user, plan string) error {
	_, err := b.pays(ctx, user, client.EntitlementRequest{Plan: plan})
	return err
}

// disputes is a payment that its payer's bank takes back for the time being.
func (b *demoBilling) disputes(ctx context.Context, user, ref string) (hold string, err error) {
	made, err := b.AddHoldWithResponse(ctx, user, client.HoldRequest{Kind: "dispute", Ref: ref})
	if err != nil {
		return "", err
	}
	return made.JSON201.ID, nil
}

// disputeWon is a dispute that ended in the operator's favour.
func (b *demoBilling) disputeWon(ctx context.Context, user, hold string) error {
	_, err := b.RemoveHoldWithResponse(ctx, user, hold)
	return err
}

// closes closes a stream to everybody. No payment, but what an operator does.
func (b *demoBilling) closes(ctx context.Context, stream string) error {
	_, err := b.PutStreamWithResponse(ctx, stream, nil, client.StreamChange{Access: "closed"})
	return err
}

// committed is when the latest change of a kind about a subject was committed: the time that it has in the change feed,
// which is taken in its transaction.
func (b *demoBilling) committed(ctx context.Context, kind, subject string) (time.Time, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		page, err := b.ListChangesWithResponse(ctx, &client.ListChangesParams{After: &b.last})
		if err != nil {
			return time.Time{}, err
		}
		for _, c := range page.JSON200.Items {
			b.commits[demoChange{c.Kind, c.Subject}] = c.At
		}
		if len(page.JSON200.Items) == 0 {
			break
		}
		b.last = page.JSON200.Last
	}
	at, ok := b.commits[demoChange{kind, subject}]
	if !ok {
		return time.Time{}, fmt.Errorf("the change feed has no change of the %s %s", kind, subject)
	}
	return at, nil
}

// committedFor is when a user's facts last changed.
func (b *demoBilling) committedFor(ctx context.Context, user string) (time.Time, error) {
	return b.committed(ctx, "user", user)
}
