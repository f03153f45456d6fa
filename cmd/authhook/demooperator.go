package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"authhook/client"
)

// demoOperator is who runs the service: makes users and keys, closes streams, and reads what became of things, all by the
// API. What is paid is no business of theirs, see [demoBilling].
type demoOperator struct {
	*client.ClientWithResponses
	mu      sync.Mutex
	last    int64 // of the change feed, as far as it was read
	commits map[demoChange]time.Time
}

// demoChange is what an entry of the change feed is about.
type demoChange struct{ kind, subject string }

func newDemoOperator(service *demoService, connections *http.Transport) (*demoOperator, error) {
	o := &demoOperator{commits: make(map[demoChange]time.Time)}
	var err error
	o.ClientWithResponses, err = client.New(service.url, service.token,
		client.WithHTTPClient(client.Refusals(&http.Client{Transport: connections, Timeout: demoPatience})))
	return o, err
}

// joins makes a user, and a key for its players.
func (o *demoOperator) joins(ctx context.Context, user string) (key string, err error) {
	if _, err := o.PutUserWithResponse(ctx, user, nil, client.UserChange{Status: client.Active}); err != nil {
		return "", err
	}
	made, err := o.AddCredentialWithResponse(ctx, user, client.CredentialRequest{})
	if err != nil {
		return "", err
	}
	return made.JSON201.Token, nil
}

// closes closes a stream to everybody.
func (o *demoOperator) closes(ctx context.Context, stream string) error {
	_, err := o.PutStreamWithResponse(ctx, stream, nil, client.StreamChange{Access: "closed"})
	return err
}

// settled waits until no webhook that was answered is still to be applied.
func (o *demoOperator) settled(ctx context.Context) error {
	const every = 2 * time.Millisecond
	waiting, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for _, state := range []client.EventState{client.EventReceived, client.EventFailed} {
		for {
			page, err := o.ListBillingEventsWithResponse(ctx, &client.ListBillingEventsParams{State: &state})
			if err != nil {
				return err
			}
			if len(page.JSON200.Items) == 0 {
				break
			}
			select {
			case <-ticker.C:
			case <-waiting.Done():
				if ctx.Err() != nil {
					return ctx.Err()
				}
				return fmt.Errorf("%d webhooks were not applied within %s", len(page.JSON200.Items), demoPatience)
			}
		}
	}
	return nil
}

// committed is when the latest change of a kind about a subject was committed: the time that it has in the change feed,
// which is taken in its transaction.
func (o *demoOperator) committed(ctx context.Context, kind, subject string) (time.Time, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		page, err := o.ListChangesWithResponse(ctx, &client.ListChangesParams{After: &o.last})
		if err != nil {
			return time.Time{}, err
		}
		for _, c := range page.JSON200.Items {
			o.commits[demoChange{c.Kind, c.Subject}] = c.At
		}
		if len(page.JSON200.Items) == 0 {
			break
		}
		o.last = page.JSON200.Last
	}
	at, ok := o.commits[demoChange{kind, subject}]
	if !ok {
		return time.Time{}, fmt.Errorf("the change feed has no change of the %s %s", kind, subject)
	}
	return at, nil
}
