package stripe

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	apiURL = "https://api.stripe.com"
	// pageSize is the most that Stripe puts on a page.
	pageSize = 100
	// A page is asked for at most tries times, each taking at most pageTimeout and maxPage bytes. Between two it waits for
	// firstWait, then for twice as long each time, or for as long as Stripe asks, up to maxWait.
	tries              = 6
	pageTimeout        = time.Minute
	maxPage            = 16 << 20
	firstWait, maxWait = time.Second, 5 * time.Minute
)

// ErrKeyRefused: Stripe does not take the API key, or not for reading events.
var ErrKeyRefused = errors.New("stripe refuses the API key: check that it is whole, in force, and may read events")

// ClientOptions say how events are asked for.
type ClientOptions struct {
	// Key is a secret or restricted API key (sk_…, rk_…). All it needs is to read events.
	Key string
	// Account is as in [Options]: with a platform's key, the connected account whose events are asked for.
	Account string
	// URL is where the API is: https://api.stripe.com when empty. It must be https, or http to this machine itself.
	URL string
	// Wait returns after a while, or sooner with the context's error: it is for tests, and a timer when nil.
	Wait func(context.Context, time.Duration) error
}

// Client asks Stripe for events that did not arrive, as after an outage longer than the three days of its retries.
type Client struct {
	url, key, account string
	wait              func(context.Context, time.Duration) error
	http              *http.Client
}

// NewClient is a client with these options. The error says which of them cannot be, and does not hold the key.
func NewClient(o ClientOptions) (*Client, error) {
	base := strings.TrimSuffix(cmp.Or(o.URL, apiURL), "/")
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return nil, errors.New("stripe: the API's URL must be https, or http to this machine itself")
	}
	for _, v := range []struct{ name, value string }{{"API key", o.Key}, {"account", o.Account}} {
		if strings.ContainsFunc(v.value, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, fmt.Errorf("stripe: the %s has a space in it, or what is no ASCII: copy it again", v.name)
		}
	}
	if o.Key == "" {
		return nil, errors.New("stripe: an API key is needed to ask for events")
	}
	c := &Client{url: base, key: o.Key, account: o.Account, wait: o.Wait}
	if c.wait == nil {
		c.wait = pause
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = 64 << 10
	c.http = &http.Client{
		Transport: transport, Timeout: pageTimeout,
		// The key is for this URL only.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Events calls each with every event that was made at since or later and that something may follow from, as the list has
// it: [Provider.Records] reads from it what it reads from the webhook's body. Stripe keeps events for 30 days; a zero since
// asks for all of these.
//
// They come newest first, as Stripe lists them, so that no more than a page is held at a time; the order does not matter to
// what follows from them. An event may come twice, and events that are made meanwhile do not come. Events stops at the
// first error, each's own included, and can then be called again with the same since: nothing is lost by that.
func (c *Client) Events(ctx context.Context, since time.Time, each func(id string, body []byte) error) error {
	defer c.http.CloseIdleConnections()
	query := url.Values{"limit": {strconv.Itoa(pageSize)}, "types[]": reconciled()}
	if !since.IsZero() {
		query.Set("created[gte]", strconv.FormatInt(since.Unix(), 10))
	}
	seen := make(map[string]bool) // the last event of each page
	for {
		body, err := c.page(ctx, query)
		if err != nil {
			return fmt.Errorf("asking Stripe for events: %w", err)
		}
		events, more, err := c.read(body)
		if err != nil {
			return fmt.Errorf("reading Stripe's list of events: %w", err)
		}
		for _, e := range events {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := each(e.id, e.body); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		if len(events) == 0 {
			return errors.New("reading Stripe's list of events: a page is empty, and is said not to be the last")
		}
		last := events[len(events)-1].id
		if seen[last] {
			return errors.New("reading Stripe's list of events: it comes round to the same page again")
		}
		seen[last] = true
		query.Set("starting_after", last)
	}
}

// reconciled are the types of events to ask for, of which Stripe takes 20 (docs.stripe.com/api/events/list). It says every
// invoice that is paid as invoice.paid too, so invoice.payment_succeeded adds nothing.
func reconciled() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(readers)), func(kind string) bool {
		return kind == "invoice.payment_succeeded"
	})
}

type listed struct {
	id   string
	body json.RawMessage
}

// read reads a page of the list.
func (c *Client) read(page []byte) (events []listed, more bool, err error) {
	o, err := parse(page)
	if err != nil {
		return nil, false, err
	}
	more = o.needWhether("has_more")
	elements, there := o.list("data")
	if !there {
		o.fault("data", "is missing")
	}
	list, _ := o.objects("data")
	for i, event := range list {
		id := event.needID("id")
		// Events of no account would be refused as another's, and what they are about with them, for good.
		if account := event.id("account"); c.account != "" && account != c.account {
			event.fault("account", "is not the one that was asked for: use that account's own key, and name no account")
		}
		events = append(events, listed{id, elements[i]})
	}
	if o.doc.err != nil {
		return nil, false, o.doc.err
	}
	return events, more, nil
}

// page asks for a page until it comes, or it is clear that it will not.
func (c *Client) page(ctx context.Context, query url.Values) ([]byte, error) {
	wait := firstWait
	for try := 1; ; try++ {
		body, after, err := c.ask(ctx, query)
		var later *laterError
		switch {
		case err == nil:
			return body, nil
		case !errors.As(err, &later):
			return nil, err
		}
		if try == tries {
			return nil, fmt.Errorf("%w; gave up after %d tries", err, tries)
		}
		if err := c.wait(ctx, min(max(wait, after), maxWait)); err != nil {
			return nil, err
		}
		wait *= 2
	}
}

// laterError is a fault that may be gone when one asks again.
type laterError struct{ error }

func (e *laterError) Unwrap() error { return e.error }

// ask asks for a page once. Where it fails, it says how long Stripe wants to be left alone.
func (c *Client) ask(ctx context.Context, query url.Values) (body []byte, after time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/v1/events?"+query.Encode(), nil)
	if err != nil {
		return nil, 0, withoutURL(err)
	}
	r.Header.Set("Authorization", "Bearer "+c.key)
	if c.account != "" {
		r.Header.Set("Stripe-Account", c.account)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, 0, &laterError{withoutURL(err)}
	}
	defer func() { _ = answer.Body.Close() }()

	switch code := answer.StatusCode; {
	case code == http.StatusOK:
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return nil, 0, fmt.Errorf("%w (it answered %d)", ErrKeyRefused, code)
	case code == http.StatusTooManyRequests || code >= 500:
		return nil, retryAfter(answer.Header, time.Now()), &laterError{fmt.Errorf("it answered %d", code)}
	default:
		return nil, 0, fmt.Errorf("it answered %d", code) // what it says beside may hold a part of the key
	}
	body, err = io.ReadAll(io.LimitReader(answer.Body, maxPage+1))
	switch {
	case err != nil:
		return nil, 0, &laterError{withoutURL(err)}
	case len(body) > maxPage:
		return nil, 0, fmt.Errorf("a page is larger than %d MiB", maxPage>>20)
	}
	return body, 0, nil
}

// withoutURL is an error without the URL that package net/http puts into it.
func withoutURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// retryAfter is how long an answer asks to wait (RFC 9110, 10.2.3): seconds, or a time. Zero when it does not say.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return time.Duration(min(n, uint64(maxWait/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
