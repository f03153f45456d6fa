package events_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/billing"
	"authhook/internal/billing/events"
	"authhook/internal/billing/events/body"
)

func read(t testing.TB, body string) ([]billing.Record, error) {
	t.Helper()
	e, err := events.Read([]byte(body))
	if err != nil {
		return nil, err
	}
	return e.Records()
}

func event(kind, data string) string {
	return fmt.Sprintf(`{"type": %q, "timestamp": "2026-12-24T20:00:00Z", "data": {%s}}`, kind, data)
}

// What the errors say, to the letter.
func TestErrors(t *testing.T) {
	const paid = `"user": "u", "payment": "p", "amount": 999, "currency": "usd"`
	for _, c := range []struct{ body, want string }{
		{``, "the body ends before its JSON does"},
		{`{"type": "user.changed", `, "the body ends before its JSON does"},
		{`{"type": x}`, "the body is not JSON after its first 9 bytes"},
		{`[]`, "the body is a list: send an object"},
		{`{} {}`, "the body has something behind its JSON value: send one value"},
		{"{\"type\": \"\xff\"}", "the body is not UTF-8"},
		{`{}`, "type is missing: write what happened, like payment.succeeded"},
		{`{"Type": "user.changed"}`, "type is missing: write what happened, like payment.succeeded"},
		{`{"type": "user.changed"}`, "timestamp is missing: write when it happened, like 2026-12-24T20:00:00Z"},
		{`{"type": "user.changed", "timestamp": 1798142400}`,
			"timestamp is 1798142400: write a time with its zone (RFC 3339), like 2026-12-24T20:00:00Z"},
		{`{"type": "user.changed", "timestamp": "2026-12-24 20:00:00Z"}`,
			`timestamp is "2026-12-24 20:00:00Z": write a time with its zone (RFC 3339), like 2026-12-24T20:00:00Z`},
		{`{"type": "user.changed", "timestamp": "2026-02-30T20:00:00Z"}`,
			`timestamp is "2026-02-30T20:00:00Z": write a time with its zone (RFC 3339), like 2026-12-24T20:00:00Z`},
		{`{"type": "user.changed", "timestamp": "1999-12-31T23:59:59Z"}`, "timestamp is in the year 1999: write a time from 2000 to 2199"},
		{`{"type": "user.changed", "timestamp": "2200-01-01T00:00:00Z"}`, "timestamp is in the year 2200: write a time from 2000 to 2199"},
		{`{"type": "user.changed", "timestamp": "2026-12-24T20:00:00Z"}`, "data is missing: send an object with what happened"},
		{`{"type": "user.changed", "timestamp": "2026-12-24T20:00:00Z", "data": []}`, "data is a list: send an object"},
		{event("payment.succeeded", paid+`, "price": "a", "amount": 1`), "data.amount is there twice: send it once"},
		{event("payment.succeeded", `"user": "u", "payment": "p", "amount": "9.99", "currency": "usd", "price": "a"`),
			`data.amount is "9.99": write a whole number in the currency's smallest unit`},
		{event("payment.succeeded", `"user": "u", "payment": "p", "amount": 9.99, "currency": "usd", "price": "a"`),
			`data.amount is 9.99: write a whole number in the currency's smallest unit`},
		{event("payment.succeeded", `"user": "u", "payment": "p", "amount": -1, "currency": "usd", "price": "a"`),
			`data.amount is -1: write a whole number in the currency's smallest unit`},
		{event("payment.succeeded", `"user": "u", "payment": "p", "amount": 9007199254740992, "currency": "usd", "price": "a"`),
			`data.amount is 9007199254740992: it is at most 9007199254740991`},
		{event("payment.succeeded", `"user": "u", "payment": "p", "currency": "usd", "price": "a"`),
			"data.amount is missing: write what was paid, in the currency's smallest unit"},
		{event("payment.succeeded", `"user": "u", "payment": "p", "amount": 1, "price": "a"`),
			"data.currency is missing: write its three letters, like usd"},
		{event("payment.succeeded", `"user": "u", "payment": "p", "amount": 1, "currency": "dollar", "price": "a"`),
			`data.currency is "dollar": write the currency's three letters, like usd`},
		{event("payment.succeeded", paid), "data.price is missing: write what it is for, as one of price, plan, stream, tag"},
		{event("payment.succeeded", paid+`, "plan": "a", "stream": "b"`), "data.stream stands beside plan: write one of price, plan, stream, tag"},
		{event("payment.succeeded", paid+`, "price": "a", "valid_until": "tomorrow"`),
			`data.valid_until is "tomorrow": write a time with its zone (RFC 3339), like 2026-12-24T20:00:00Z`},
		{event("payment.succeeded", paid+`, "price": "a", "valid_until": ""`),
			`data.valid_until is "": write a time with its zone (RFC 3339), like 2026-12-24T20:00:00Z`},
		{event("payment.succeeded", `"payment": "p"`), "data.user is missing: write your own id of the user"},
		{event("payment.succeeded", `"user": ".."`), "data.user is . or .., which cannot stand in a path: write your own id of the user"},
		{event("payment.succeeded", `"user": 42`), "data.user is a number: write a text"},
		{event("payment.succeeded", `"user": "\ud800"`), "data.user holds a character that is no letter: correct it"},
		{event("payment.succeeded", `"user": "u"`), "data.payment is missing: write the payment's id"},
		{event("payment.failed", `"user": "u", "payment": "p", "plan": "gold", "amount": 5`),
			"data.currency is missing: write its three letters, like usd"},
		{event("payment.refunded", `"payment": "p"`),
			"data.amount is missing: write all that was paid back of the payment, in the currency's smallest unit"},
		{event("payment.disputed", `"payment": "p"`), "data.dispute is missing: write the dispute's id"},
		{event("dispute.closed", `"payment": "p", "dispute": "d", "outcome": "draw"`), `data.outcome is "draw": write one of won, lost`},
		{event("user.changed", `"user": "u", "status": "banned"`), `data.status is "banned": write one of active, suspended`},
		{event("user.changed", `"user": "u"`), "data.status is missing: write one of active, suspended"},
		{event("subscription.changed", `"user": "u", "subscription": "s", "plan": "gold", "status": "Active"`),
			`data.status is "Active": write one of active, canceled, cancelled, expired, incomplete, incomplete_expired, past_due, paused, trialing, unpaid`},
		{event("subscription.changed", `"user": "u", "subscription": "s", "plan": "gold", "status": "active"`),
			"data.period_end is missing: write until when it is paid for or tried out, like 2026-12-24T20:00:00Z"},
		{event("subscription.changed", `"user": "u", "subscription": "s", "status": "canceled"`),
			"data.plan is missing: write what it is for, as one of plan, price"},
		{event("subscription.changed", `"cancel_at_period_end": "yes"`), `data.cancel_at_period_end is "yes": write true or false`},
	} {
		_, err := read(t, c.body)
		assert.EqualError(t, err, c.want, c.body)
		var ignored *billing.IgnoredError
		assert.False(t, errors.As(err, &ignored), c.body)
	}
}

func TestUnknownType(t *testing.T) {
	_, err := read(t, event("payment.Succeeded", `"user": 5`))
	var ignored *billing.IgnoredError
	require.ErrorAs(t, err, &ignored)
	assert.Equal(t, `nothing follows from events of the type "payment.Succeeded"`, ignored.Reason)
}

// Every status has its word, and only one that gives access needs a period's end.
func TestStatuses(t *testing.T) {
	at := time.Date(2026, 12, 24, 20, 0, 0, 0, time.UTC)
	for word, status := range events.Statuses {
		e := events.Event{Type: events.SubscriptionChanged, At: at, User: "u", Subscription: "s", Price: "p", Status: word}
		records, err := e.Records()
		if status == billing.Active || status == billing.Trialing {
			assert.ErrorContains(t, err, "period_end", word)
			continue
		}
		require.NoError(t, err, word)
		state := records[0].Subscribed.State
		assert.Equal(t, status, state.Value.Status, word)
		if status == billing.PastDue {
			assert.Equal(t, at, state.Value.PeriodEnd, "a payment made since must not last for good")
		} else {
			assert.Zero(t, state.Value.PeriodEnd, word)
		}
	}
}

// What a failed attempt was for never counts against what was paid, in either order.
func TestFailedTermsGiveWay(t *testing.T) {
	ok, err := read(t, event("payment.succeeded", `"user": "u", "payment": "p", "amount": 999, "currency": "usd", "price": "a"`))
	require.NoError(t, err)
	e, err := events.Read([]byte(event("payment.failed", `"user": "u", "payment": "p", "price": "a"`)))
	require.NoError(t, err)
	for _, at := range []time.Time{e.At.Add(-time.Hour), e.At, e.At.Add(time.Hour)} {
		e.At = at
		failed, err := e.Records()
		require.NoError(t, err)
		for _, joined := range []billing.Record{ok[0].Join(failed[0]), failed[0].Join(ok[0])} {
			assert.Equal(t, int64(999), joined.Payment.Terms.Value.Amount)
		}
	}
}

func TestNames(t *testing.T) {
	at := time.Date(2026, 12, 24, 20, 0, 0, 0, time.UTC)
	long := string(make([]byte, 300))
	for _, e := range []events.Event{
		{Type: events.PaymentRefunded, Payment: "p", Amount: new(int64), User: long},
		{Type: events.PaymentDisputed, Payment: "p", Dispute: "d", User: "."},
		{Type: events.PaymentDisputed, Payment: "p", Dispute: "d\n"},
		{Type: events.DisputeClosed, Payment: long, Dispute: "d", Outcome: "won"},
		{Type: events.UserChanged, User: "a\x00", Status: "active"},
		{Type: events.PaymentFailed, User: "u", Payment: "p", Plan: "gold", Subscription: "a\tb"},
		{Type: events.PaymentFailed, User: "u", Payment: "p", Plan: long},
	} {
		e.At = at
		records, err := e.Records()
		var wrong *body.FieldError
		assert.ErrorAs(t, err, &wrong, "%s %s", e.Type, e.User)
		assert.Empty(t, records)
	}
}
