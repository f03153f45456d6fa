// Package events reads authhook's own billing events: what an operator's system sends when there is no provider in between,
// or one that authhook does not know. They come as Standard Webhooks 1.0.0 (standardwebhooks.com), with a body like
//
//	{"type": "payment.succeeded", "timestamp": "2026-12-24T20:00:00Z", "data": {"user": "user-42", "payment": "p-1",
//	 "amount": 999, "currency": "usd", "stream": "live+fight", "valid_until": "2026-12-26T20:00:00Z"}}
//
// The types and their fields are in DESIGN.md, and with what follows from each in [Event]. Fields are matched by their exact
// names; others are no error, so that a sender may add its own; an event of another type is ignored.
//
// An [Event] can be made without a body too: package custom translates other providers' events to it, so that there is one
// place that says what an event must hold and what follows from it.
package events
