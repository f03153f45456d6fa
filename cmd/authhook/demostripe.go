package main

import (
	"fmt"
	"time"
)

// demoStripe is Stripe's name at the service.
const demoStripe = "stripe"

// stripeEvent is an event with the object that it is about (docs.stripe.com/api/events/object). Stripe says when something
// happened to the second.
func (b *demoBilling) stripeEvent(kind string, at time.Time, object map[string]any) demoWebhook {
	id := fmt.Sprintf("evt_demo%d", b.webhooks.Add(1))
	return newDemoWebhook(demoStripe, id, kind, map[string]any{
		"id": id, "object": "event", "api_version": "2025-09-30.clover", "type": kind, "created": at.Unix(), "livemode": true,
		"data": map[string]any{"object": object},
	})
}

// stripeSubscribed is a subscription to gold that begins.
func (b *demoBilling) stripeSubscribed(user string, at time.Time) demoWebhook {
	return b.stripeEvent("customer.subscription.created", at, stripeSubscription(user, "active", at))
}

// stripePastDue is that subscription once it was renewed and that was not paid: its next period has begun.
func (b *demoBilling) stripePastDue(user string, at time.Time) demoWebhook {
	return b.stripeEvent("customer.subscription.updated", at, stripeSubscription(user, "past_due", at))
}

// stripeDeclined is the invoice of that renewal.
func (b *demoBilling) stripeDeclined(user string, at time.Time) demoWebhook {
	return b.stripeEvent("invoice.payment_failed", at, map[string]any{
		"id": "in_" + user, "object": "invoice", "customer": "cus_" + user, "status": "open", "attempt_count": 1,
		"billing_reason": "subscription_cycle", "amount_due": demoCents[demoGold], "amount_paid": 0, "currency": "usd",
		"next_payment_attempt": at.Add(3 * 24 * time.Hour).Unix(),
		"parent": map[string]any{"type": "subscription_details", "subscription_details": map[string]any{
			"subscription": demoSubscription(user), "metadata": map[string]any{"user_id": user},
		}},
	})
}

// stripeSubscription is a subscription to gold in a period that begins at a moment.
func stripeSubscription(user, status string, begins time.Time) map[string]any {
	return map[string]any{
		"id": demoSubscription(user), "object": "subscription", "customer": "cus_" + user, "status": status,
		"cancel_at_period_end": false, "cancel_at": nil, "ended_at": nil, "metadata": map[string]any{"user_id": user},
		"items": map[string]any{"object": "list", "data": []any{map[string]any{
			"id": "si_" + user, "object": "subscription_item",
			"current_period_start": begins.Unix(), "current_period_end": begins.Add(demoMonth).Unix(),
			"price": map[string]any{
				"id": demoStripeGold, "object": "price", "product": "prod_gold", "currency": "usd", "unit_amount": demoCents[demoGold],
			},
		}}},
	}
}
