package catalog

import (
	"maps"
	"math"
	"regexp"
	"slices"

	"authhook/internal/policy"
)

// The greatest numbers: what every database and every JSON reader can hold.
const (
	maxCount  = math.MaxInt32
	maxAmount = 1<<53 - 1
)

// plans reads what can be bought.
func (r *reader) plans(v value) []policy.Plan {
	plans := []policy.Plan{}
	r.planKeys = map[string]value{}
	r.list(v, func(v value) {
		p, given := r.plan(v)
		if first, twice := r.planKeys[p.Key]; twice {
			r.fail(given["key"], "there is a plan %s already, in line %d: give this one another key", quote(p.Key), first.node.Line)
		} else if p.Key != "" {
			r.planKeys[p.Key] = given["key"]
		}
		plans = append(plans, p)
	})
	return plans
}

// plan reads one plan.
func (r *reader) plan(v value) (policy.Plan, map[string]value) {
	p := policy.Plan{
		OnLimit: policy.OnLimitReject,
		Refund:  policy.OnEventVoid, Dispute: policy.OnEventHold, Cancel: policy.OnCancelPeriodEnd,
	}
	given := r.object(v, fields{
		"key":            r.pathName(&p.Key, r.word),
		"rank":           number(r, &p.Rank, maxCount),
		"max_concurrent": number(r, &p.MaxConcurrent, maxCount),
		"on_limit":       choice(r, &p.OnLimit, policy.OnLimitReject, policy.OnLimitKickOldest),
		"grace":          r.duration(&p.Grace, true),
		"quota_minutes":  number(r, &p.QuotaMinutes, maxCount),
		"refund":         choice(r, &p.Refund, policy.OnEventVoid, policy.OnEventKeep),
		"dispute":        choice(r, &p.Dispute, policy.OnEventHold, policy.OnEventKeep, policy.OnEventVoid),
		"cancel":         choice(r, &p.Cancel, policy.OnCancelPeriodEnd, policy.OnCancelNow),
		"tags":           r.distinct(&p.Tags, r.tag),
		"bounce":         r.truth(&p.Bounce),
	}, need{"key", "write the plan's name, by which streams, prices and the API refer to it"})
	return p, given
}

// checkPlanReferences notes the plans that are named but not there.
func (r *reader) checkPlanReferences() {
	var keys []string // found only when they are needed
	for _, ref := range r.planNames {
		if _, ok := r.planKeys[ref.name]; ok {
			continue
		}
		if keys == nil {
			keys = slices.Sorted(maps.Keys(r.planKeys))
		}
		if near := nearest(ref.name, keys); near != "" {
			r.fail(ref.value, "there is no plan %s: did you mean %s?", quote(ref.name), near)
		} else {
			r.fail(ref.value, "there is no plan %s: add it to plans, or correct this", quote(ref.name))
		}
	}
}

// prices reads what the providers' prices buy.
func (r *reader) prices(v value) []policy.Price {
	prices := []policy.Price{}
	type id struct{ provider, price string }
	seen := map[id]int{}
	r.list(v, func(v value) {
		p, given := r.price(v)
		if p.Provider != "" && p.Price != "" {
			if first, twice := seen[id{p.Provider, p.Price}]; twice {
				r.fail(given["price"], "%s of %s is there already, in line %d: remove one", quote(p.Price), quote(p.Provider), first)
			} else {
				seen[id{p.Provider, p.Price}] = given["price"].node.Line
			}
		}
		prices = append(prices, p)
	})
	return prices
}

var currencyCode = regexp.MustCompile(`^[a-z]{3}$`)

// price reads one price.
func (r *reader) price(v value) (policy.Price, map[string]value) {
	var p policy.Price
	given := r.object(v, fields{
		"provider": r.word(&p.Provider),
		"price":    r.word(&p.Price),
		"plan":     r.planName(&p.Plan),
		"stream": func(v value) {
			r.streamName(&p.Stream, true)(v)
			if p.Stream != "" {
				r.soldStreams = append(r.soldStreams, named{v, p.Stream})
			}
		},
		"tag": func(v value) {
			r.tag(&p.Tag)(v)
			if p.Tag != "" {
				r.soldTags = append(r.soldTags, named{v, p.Tag})
			}
		},
		"for":    r.duration(&p.For, false),
		"amount": number(r, &p.Amount, maxAmount),
		"currency": func(v value) {
			s, v, ok := r.text(v, aText)
			if ok && !currencyCode.MatchString(s) {
				r.fail(v, "%s is not a currency: write its three letters in lowercase, like usd", quoteName(s))
				return
			}
			p.Currency = s
		},
	},
		need{"provider", "write who sells it: stripe, paddle, events or a provider of your own"},
		need{"price", "write the provider's id of the price"},
	)
	if given == nil {
		return p, given
	}
	switch sold := present(given, "plan", "stream", "tag"); {
	case len(sold) == 0:
		r.fail(v, "it buys nothing: write one of plan, stream and tag")
	case len(sold) > 1:
		r.fail(given[sold[1]], "a price buys one thing, and this one has %s already: remove one", sold[0])
	}
	if amount, ok := given["amount"]; ok && len(present(given, "currency")) == 0 {
		r.fail(amount, "has no currency: add one, like currency: usd")
	}
	return p, given
}

// present are those of the names that are given, in their order.
func present(given map[string]value, names ...string) []string {
	return slices.DeleteFunc(names, func(name string) bool { _, ok := given[name]; return !ok })
}
