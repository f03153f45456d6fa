package billing

import (
	"fmt"

	"authhook/internal/policy"
)

// bought is what a payment bought by the catalog, or why it bought nothing. Authentic is not valid: what was paid must be
// what the price costs, in its currency, and the price must be the provider's own (CVE-2026-9189). What the operator's own
// system names (a plan, a stream, a tag) is what it says, unless the catalog has prices of this provider for that: then it
// must be one of them.
func bought(c *policy.Catalog, provider string, t Terms) (thing Thing, refusal string) {
	if t.Price != "" {
		p := c.Price(provider, t.Price)
		if p == nil {
			return Thing{}, fmt.Sprintf("the catalog has no price %q of %s", t.Price, provider)
		}
		if !t.pays(p) {
			return Thing{}, fmt.Sprintf("%s paid, but the price %q is %s", money(t.Amount, t.Currency), t.Price, money(p.Amount, p.Currency))
		}
		if named := (Thing{Plan: t.Plan, Stream: t.Stream, Tag: t.Tag}); named != (Thing{}) && named != thingOf(p).bare() {
			return Thing{}, fmt.Sprintf("the price %q buys something else than what is said to be bought", t.Price)
		}
		return thingOf(p), ""
	}
	named := Thing{Plan: t.Plan, Stream: t.Stream, Tag: t.Tag}
	switch n := t.names(); {
	case n == 0:
		return Thing{}, "it names nothing that is sold"
	case n > 1:
		return Thing{}, "it names more than one of a plan, a stream and a tag"
	}
	prices := c.PricesOf(provider, t.Plan, t.Stream, t.Tag)
	for _, p := range prices {
		if t.pays(p) {
			return thingOf(p), ""
		}
	}
	if len(prices) > 0 {
		return Thing{}, fmt.Sprintf("%s paid, but no price of %s for that costs so much", money(t.Amount, t.Currency), provider)
	}
	if t.Plan != "" && c.Plan(t.Plan) == nil {
		return Thing{}, fmt.Sprintf("the catalog has no plan %q", t.Plan)
	}
	return named, ""
}

// pays says whether the terms are a price's: its amount and its currency, where it has them.
func (t Terms) pays(p *policy.Price) bool {
	return costs(p, t.Amount, t.Currency) || t.OtherAmount > 0 && costs(p, t.OtherAmount, t.Currency)
}

func costs(p *policy.Price, amount int64, currency string) bool {
	return (p.Amount == 0 || p.Amount == amount) && (p.Currency == "" || p.Currency == currency)
}

// subscribed is what an item of a subscription is by the catalog, or by what its price was when the catalog last had it; or
// why it is nothing.
func subscribed(c *policy.Catalog, provider string, i Item, sold map[string]Thing) (thing Thing, price, refusal string) {
	if i.Plan != "" {
		if c.Plan(i.Plan) == nil {
			return Thing{}, "", fmt.Sprintf("the catalog has no plan %q", i.Plan)
		}
		return Thing{Plan: i.Plan}, "", ""
	}
	for _, name := range i.Prices {
		p := c.Price(provider, name)
		if p == nil {
			continue
		}
		if i.Currency != "" && !costs(p, i.Amount, i.Currency) {
			return Thing{}, "", fmt.Sprintf("it costs %s, but the price %q is %s", money(i.Amount, i.Currency), name, money(p.Amount, p.Currency))
		}
		return thingOf(p), name, ""
	}
	for _, name := range i.Prices {
		if thing, ok := sold[name]; ok {
			return thing, name, ""
		}
	}
	if len(i.Prices) == 0 {
		return Thing{}, "", "it names no price"
	}
	return Thing{}, "", fmt.Sprintf("the catalog has no price %q of %s", i.Prices[0], provider)
}

func thingOf(p *policy.Price) Thing {
	return Thing{Plan: p.Plan, Stream: p.Stream, Tag: p.Tag, For: p.For}
}

// bare is the thing without how long it lasts.
func (t Thing) bare() Thing {
	t.For = 0
	return t
}

// names is how many of a price, a plan, a stream and a tag the terms name.
func (t Terms) names() (n int) {
	for _, name := range [...]string{t.Price, t.Plan, t.Stream, t.Tag} {
		if name != "" {
			n++
		}
	}
	return n
}

// wanted is what a payment that was not made was to buy.
func wanted(c *policy.Catalog, provider string, t Terms) (Thing, bool) {
	if t.Price != "" {
		if p := c.Price(provider, t.Price); p != nil {
			return thingOf(p), true
		}
		return Thing{}, false
	}
	return Thing{Plan: t.Plan, Stream: t.Stream, Tag: t.Tag}, t.names() == 1
}

func money(amount int64, currency string) string {
	if currency == "" {
		return fmt.Sprint(amount)
	}
	return fmt.Sprintf("%d %s", amount, currency)
}
