package billing

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// Rights are what follows from all that a provider said of things that belong together.
type Rights struct {
	// Entitlements and Holds have no ids yet: each is told by its user, its origin and what it is for.
	Entitlements []store.OwnedEntitlement
	Holds        []store.OwnedHold
	Payments     []store.Payment
	// users, findings and remembered are by record: whose it is; why it grants nothing; what it is worth remembering.
	users      map[key]string
	findings   map[key]string
	remembered map[key]*Remembered
}

// Derive says what follows from records of one provider. It is pure: the same records and the same catalog give the same
// rights, and there is no clock in it, since a right says itself when it ends.
func Derive(provider string, records []Record, c *policy.Catalog) *Rights {
	d := &derivation{
		account: newAccount(provider, records), catalog: c,
		Rights: Rights{
			users: make(map[key]string), findings: make(map[key]string), remembered: make(map[key]*Remembered),
		},
		things: make(map[*payment]Thing),
	}
	for _, p := range d.payments {
		d.judge(p)
	}
	for k, r := range d.records {
		d.users[k] = d.user(r)
	}
	for _, r := range d.sorted(KindSubscription) {
		d.subscription(r)
	}
	d.purchases()
	for _, r := range d.sorted(KindCustomer) {
		d.features(r)
	}
	for _, r := range d.sorted(KindDispute) {
		d.dispute(r)
	}
	d.report()
	slices.SortFunc(d.Entitlements, func(a, b store.OwnedEntitlement) int {
		return cmp.Or(cmp.Compare(a.Origin, b.Origin), cmp.Compare(a.User, b.User), cmp.Compare(a.Plan, b.Plan),
			cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Tag, b.Tag))
	})
	return &d.Rights
}

// derivation is Derive at work.
type derivation struct {
	*account
	catalog *policy.Catalog
	Rights
	things map[*payment]Thing // what was bought or was to be bought; none where that is nothing
}

// sorted are the records of a kind, in the order of their ids.
func (d *derivation) sorted(kind Kind) []*Record {
	var list []*Record
	for k, r := range d.records {
		if k.kind == kind {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b *Record) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// judge finds out what a payment bought. What was bought once stays bought, whatever becomes of the catalog.
func (d *derivation) judge(p *payment) {
	if p.Payment.Terms == nil {
		return
	}
	terms := p.Payment.Terms.Value
	if terms.names() == 0 && p.Subscription != nil {
		return // the subscription says what it is for
	}
	k := p.principal.key()
	if m := p.principal.Remembered; m != nil && m.Bought != nil && compareJSON(m.Bought.Terms, terms) == 0 {
		d.things[p] = m.Bought.Thing
		d.remembered[k] = m
		return
	}
	if p.Payment.Succeeded.IsZero() { // what it would buy: nobody has paid, so the amount does not matter yet
		if thing, ok := wanted(d.catalog, d.provider, terms); ok {
			d.things[p] = thing
		}
		return
	}
	thing, refusal := bought(d.catalog, d.provider, terms)
	if refusal != "" {
		d.findings[k] = refusal
		return
	}
	d.things[p] = thing
	d.remembered[k] = &Remembered{Bought: &Bought{Terms: terms, Thing: thing}}
}

// bought says whether a payment was made, and was for something.
func (d *derivation) bought(p *payment) bool {
	_, ok := d.things[p]
	return ok && !p.Payment.Succeeded.IsZero()
}

// void says whether what a payment bought was taken back: it was refunded as a whole, or its dispute was lost, or stands,
// where the plan says so.
func (d *derivation) void(p *payment, plan *policy.Plan) bool {
	refund, dispute := policy.OnEventVoid, policy.OnEventHold
	if plan != nil {
		refund, dispute = plan.Refund, plan.Dispute
	}
	if p.refunded() && refund != policy.OnEventKeep {
		return true
	}
	for _, r := range p.disputes {
		if r.Dispute == nil || dispute == policy.OnEventKeep {
			continue
		}
		if lost := r.Dispute.Closed != nil && r.Dispute.Closed.Value == DisputeLost; lost ||
			dispute == policy.OnEventVoid && !r.Dispute.Opened.IsZero() && r.Dispute.Closed == nil {
			return true
		}
	}
	return false
}

// refunded says whether all that was paid was paid back.
func (p *payment) refunded() bool {
	if p.Payment.RefundedFully {
		return true
	}
	return p.Payment.Terms != nil && p.Payment.Terms.Value.Amount > 0 && p.refunds >= p.Payment.Terms.Value.Amount
}

// subscription derives what a subscription's state grants.
func (d *derivation) subscription(r *Record) {
	k := r.key()
	if r.Subscribed == nil || r.Subscribed.State == nil {
		return
	}
	state, sold := r.Subscribed.State.Value, make(map[string]Thing)
	for _, item := range state.Items {
		thing, price, refusal := subscribed(d.catalog, d.provider, item, r.sold())
		if refusal != "" {
			d.findings[k] = refusal
			continue
		}
		if price != "" {
			sold[price] = thing
		}
		plan := d.catalog.Plan(thing.Plan)
		end := item.PeriodEnd
		if end.IsZero() {
			end = state.PeriodEnd
		}
		if e, ok := d.span(r, plan, end); ok {
			d.grant(r, thing, e)
		}
	}
	if len(sold) > 0 {
		d.remembered[k] = &Remembered{Sold: sold}
	}
	if len(state.Items) == 0 {
		d.findings[k] = "the subscription names no plan and no price"
	}
}

// sold is what prices of the record stood for when the catalog last had them.
func (r *Record) sold() map[string]Thing {
	if r.Remembered == nil {
		return nil
	}
	return r.Remembered.Sold
}

// span is from when until when a subscription grants what it is for; none at all when ok is false.
func (d *derivation) span(r *Record, plan *policy.Plan, end time.Time) (e policy.Entitlement, ok bool) {
	at, state := r.Subscribed.State.At, r.Subscribed.State.Value
	payments := d.paidFor[r.ID]
	if d.lastVoid(payments, plan) {
		return e, false
	}
	if end.IsZero() {
		end = d.paidUntil(payments)
	}
	if !state.EndsAt.IsZero() && (end.IsZero() || state.EndsAt.Before(end)) {
		end = state.EndsAt
	}
	ends := state.Ends && (state.EndsAt.IsZero() || !state.EndsAt.After(end))
	paid := d.lastPaid(payments)
	switch state.Status {
	case Active, Trialing:
		if ends {
			return d.canceling(plan, end)
		}
		e.Until, e.GraceFrom = end, end // a renewal that nobody told of is one that failed
		if failed := firstFailure(payments, latest(at, paid)); !failed.IsZero() {
			e.Until, e.GraceFrom = cmp.Or(end, failed), graceFrom(end, failed, plan)
		}
		return e, true
	case PastDue:
		if !paid.Before(at) { // it was paid since
			e.Until, e.GraceFrom = end, end
			return e, true
		}
		since, good := at, latest(paid, r.Subscribed.Good)
		for _, began := range r.Subscribed.PastDue {
			if began.After(good) {
				since = earliest(since, began)
			}
		}
		since = earliest(since, firstFailure(payments, good))
		e.Until, e.GraceFrom = earliest(end, since), since
		return e, true
	case Canceled:
		if !state.EndsAt.IsZero() || state.Ends {
			return d.canceling(plan, end)
		}
	}
	return e, false
}

// graceFrom is when the grace of what was paid for until a moment begins, once a renewal of it failed: not while it is paid
// for, and not anew when it was over.
func graceFrom(end, failed time.Time, plan *policy.Plan) time.Time {
	if !end.IsZero() && failed.After(graceEnds(end, plan)) {
		return end
	}
	return latest(end, failed)
}

func graceEnds(end time.Time, plan *policy.Plan) time.Time {
	if plan == nil {
		return end
	}
	return end.Add(time.Duration(plan.Grace))
}

// canceling is what remains of a subscription that is not renewed.
func (d *derivation) canceling(plan *policy.Plan, end time.Time) (e policy.Entitlement, ok bool) {
	if end.IsZero() || plan != nil && plan.Cancel == policy.OnCancelNow {
		return e, false
	}
	return policy.Entitlement{Until: end}, true
}

// lastVoid says whether the payment that a subscription's present time rests on, the latest one, was taken back. The next
// payment makes up for it.
func (d *derivation) lastVoid(payments []*payment, plan *policy.Plan) bool {
	var last *payment
	for _, p := range payments {
		if p.Payment.Succeeded.IsZero() || p.Payment.Partial || !d.valid(p) {
			continue
		}
		if last == nil || cmp.Or(p.Payment.Succeeded.Compare(last.Payment.Succeeded), cmp.Compare(p.ids[0], last.ids[0])) > 0 {
			last = p
		}
	}
	return last != nil && d.void(last, plan)
}

// valid says whether a payment is what it claims to be: its amount is what its price costs.
func (d *derivation) valid(p *payment) bool { return d.findings[p.principal.key()] == "" }

// lastPaid is when a payment for a period last succeeded; zero when none did.
func (d *derivation) lastPaid(payments []*payment) (at time.Time) {
	for _, p := range payments {
		if !p.Payment.Partial && d.valid(p) {
			at = latest(at, p.Payment.Succeeded)
		}
	}
	return at
}

// paidUntil is until when payments that succeeded say that they are for.
func (d *derivation) paidUntil(payments []*payment) (until time.Time) {
	for _, p := range payments {
		if !p.Payment.Succeeded.IsZero() && p.Payment.Terms != nil && d.valid(p) {
			until = latest(until, p.Payment.Terms.Value.Until)
		}
	}
	return until
}

// firstFailure is when the first payment for a period after a moment failed that has not succeeded since; zero when none did.
func firstFailure(payments []*payment, after time.Time) (at time.Time) {
	for _, p := range payments {
		if p.Payment.Succeeded.IsZero() && p.Payment.Failed.After(after) && !p.Payment.Partial {
			at = earliest(at, p.Payment.Failed)
		}
	}
	return at
}

// purchases derives what payments grant by themselves: those for no subscription, and those for one whose state is not
// known, or was last told before they were made.
func (d *derivation) purchases() {
	type line struct{ user, subscription, plan string }
	lines := make(map[line][]*payment)
	for _, p := range d.payments {
		if thing, ok := d.things[p]; ok {
			l := line{user: d.userOfPayment(p), plan: thing.Plan}
			if p.Subscription != nil {
				l = line{subscription: p.Subscription.Value, plan: thing.Plan}
			}
			lines[l] = append(lines[l], p)
		}
	}
	for l, payments := range lines {
		plan := d.catalog.Plan(l.plan)
		told := d.told(l.subscription)
		best := -1
		for _, p := range payments {
			if !d.bought(p) || d.void(p, plan) || !told.IsZero() && !p.Payment.Succeeded.After(told) {
				continue
			}
			thing, until := d.things[p], p.Payment.Terms.Value.Until
			if until.IsZero() && thing.For > 0 {
				until = p.Payment.Succeeded.Add(time.Duration(thing.For))
			}
			if until.IsZero() && !told.IsZero() {
				continue // until when is the subscription's to say
			}
			i := d.grant(p.principal, thing, policy.Entitlement{Until: until})
			if i >= 0 && (best < 0 || endsLater(d.Entitlements[i], d.Entitlements[best])) {
				best = i
			}
		}
		// A renewal that failed starts the grace of what was paid for last, and ends what has no other end. What was bought
		// for good is not renewed.
		if failed := firstFailure(payments, d.lastPaid(payments)); best >= 0 && !failed.IsZero() {
			e := &d.Entitlements[best]
			if e.Until.IsZero() && l.subscription != "" {
				e.Until = failed
			}
			if !e.Until.IsZero() && !failed.After(graceEnds(e.Until, plan)) {
				e.GraceFrom = latest(e.Until, failed)
			}
		}
	}
}

// told is when a subscription's state was last told; zero when it never was.
func (d *derivation) told(subscription string) time.Time {
	if r := d.records[key{KindSubscription, subscription}]; r != nil && r.Subscribed != nil && r.Subscribed.State != nil {
		return r.Subscribed.State.At
	}
	return time.Time{}
}

func endsLater(a, b store.OwnedEntitlement) bool {
	if a.Until.IsZero() != b.Until.IsZero() {
		return a.Until.IsZero()
	}
	return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.Origin, b.Origin)) > 0
}

// features derives what a customer may use by the provider's own list. A list may come late, or not at all (a trial that
// ends unpaid changes none): where subscriptions of the customer are known, one of them must stand.
func (d *derivation) features(r *Record) {
	if r.Features == nil {
		return
	}
	e, stands := d.anySubscription(r.ID)
	if !stands {
		return
	}
	names := slices.Sorted(maps.Keys(r.Features.Also))
	if r.Features.All != nil {
		names = union(names, r.Features.All.Value)
	}
	sold := make(map[string]Thing)
	for _, name := range names {
		thing, _, refusal := subscribed(d.catalog, d.provider, Item{Prices: []string{name}}, r.sold())
		if refusal != "" {
			continue // features are for more than this: most are no business of ours
		}
		sold[name] = thing
		d.grant(r, thing, e)
	}
	if len(sold) > 0 {
		d.remembered[r.key()] = &Remembered{Sold: sold}
	}
}

// anySubscription says whether one of a customer's subscriptions stands, and until when the last of them does; a customer of
// whom none is known has what the provider's list says.
func (d *derivation) anySubscription(customer string) (e policy.Entitlement, stands bool) {
	known := false
	for _, r := range d.sorted(KindSubscription) {
		if r.Customer == nil || r.Customer.Value != customer || r.Subscribed == nil || r.Subscribed.State == nil {
			continue
		}
		known = true
		state := r.Subscribed.State.Value
		items := state.Items
		if len(items) == 0 {
			items = []Item{{}}
		}
		for _, item := range items {
			end := cmp.Or(item.PeriodEnd, state.PeriodEnd)
			thing, _, _ := subscribed(d.catalog, d.provider, item, r.sold())
			span, ok := d.span(r, d.catalog.Plan(thing.Plan), end)
			if !ok {
				continue
			}
			if span.GraceFrom.Equal(span.Until) { // it goes on by itself: the list says when it does not
				span.Until, span.GraceFrom = time.Time{}, time.Time{}
			}
			if !stands || span.Until.IsZero() || !e.Until.IsZero() && span.Until.After(e.Until) {
				e = span
			}
			stands = true
		}
	}
	return e, stands || !known
}

// dispute derives the hold that a dispute is while it stands.
func (d *derivation) dispute(r *Record) {
	if r.Dispute == nil || r.Dispute.Opened.IsZero() || r.Dispute.Closed != nil {
		return
	}
	if p := d.disputed(r); p != nil {
		plans := d.plansOf(p)
		if len(plans) > 0 && !slices.ContainsFunc(plans, func(p *policy.Plan) bool { return p.Dispute == policy.OnEventHold }) {
			return
		}
	}
	if user := d.users[r.key()]; user != "" {
		d.Holds = append(d.Holds, store.OwnedHold{
			User: user, Origin: d.origin(r.key()),
			Hold: policy.Hold{Kind: "dispute", Ref: d.provider + " " + r.ID, From: r.Dispute.Opened},
		})
	}
}

// plansOf are the plans that a payment was for.
func (d *derivation) plansOf(p *payment) []*policy.Plan {
	var plans []*policy.Plan
	add := func(name string) {
		if plan := d.catalog.Plan(name); plan != nil {
			plans = append(plans, plan)
		}
	}
	add(d.things[p].Plan)
	if p.Subscription == nil {
		return plans
	}
	if r := d.records[key{KindSubscription, p.Subscription.Value}]; r != nil && r.Subscribed != nil && r.Subscribed.State != nil {
		for _, item := range r.Subscribed.State.Value.Items {
			thing, _, _ := subscribed(d.catalog, d.provider, item, r.sold())
			add(thing.Plan)
		}
	}
	return plans
}

// grant gives the record's user a right, and says which it is in the list; -1 while no user is known.
func (d *derivation) grant(r *Record, thing Thing, e policy.Entitlement) int {
	user := d.users[r.key()]
	if user == "" {
		return -1
	}
	e.Plan, e.Stream, e.Tag = thing.Plan, thing.Stream, thing.Tag
	e.Source = fmt.Sprintf("%s %s %s", d.provider, r.Kind, r.ID)
	owned := store.OwnedEntitlement{User: user, Origin: d.origin(r.key()), Entitlement: e}
	for i, other := range d.Entitlements { // two items of one subscription may be for the same
		if sameRight(other, owned) {
			if endsLater(owned, other) {
				d.Entitlements[i] = owned
			}
			return i
		}
	}
	d.Entitlements = append(d.Entitlements, owned)
	return len(d.Entitlements) - 1
}

// sameRight says whether two rights are one right of a record, whatever its time.
func sameRight(a, b store.OwnedEntitlement) bool {
	return a.Origin == b.Origin && a.User == b.User && a.Plan == b.Plan && a.Stream == b.Stream && a.Tag == b.Tag
}

// origin names the record that a right follows from.
func (d *derivation) origin(k key) string { return d.provider + "/" + k.String() }

// report writes down what is known of each payment that something became of, for people to read.
func (d *derivation) report() {
	for _, r := range d.sorted(KindPayment) {
		if !r.Payment.told() {
			continue
		}
		p := d.paymentOf[r.ID]
		row := store.Payment{
			Provider: d.provider, ID: r.ID, User: d.userOfPayment(p), Refunded: p.refunds,
			Status: store.PaymentPending, At: r.Payment.Pending,
		}
		if p.Subscription != nil {
			row.Subscription = p.Subscription.Value
		}
		if p.Payment.Terms != nil {
			t := p.Payment.Terms.Value
			row.Amount, row.Currency, row.Price = t.Amount, t.Currency, t.Price
			thing, ok := d.things[p]
			if !ok {
				thing = Thing{Plan: t.Plan, Stream: t.Stream, Tag: t.Tag}
			}
			row.Plan, row.Stream, row.Tag = thing.Plan, thing.Stream, thing.Tag
		}
		d.status(&row, p)
		d.Payments = append(d.Payments, row)
	}
}

// status says what became of a payment, the worst first.
func (d *derivation) status(row *store.Payment, p *payment) {
	switch {
	case !p.Payment.Succeeded.IsZero():
		row.Status, row.At = store.PaymentSucceeded, p.Payment.Succeeded
	case !p.Payment.Failed.IsZero():
		row.Status, row.At = store.PaymentFailed, p.Payment.Failed
		if p.Payment.Failure != nil {
			row.Reason = p.Payment.Failure.Value
		}
	}
	for _, r := range p.disputes {
		if r.Dispute == nil || r.Dispute.Opened.IsZero() && r.Dispute.Closed == nil {
			continue
		}
		if closed := r.Dispute.Closed; closed == nil {
			row.Status, row.Reason = store.PaymentDisputed, "dispute "+r.ID+" stands"
		} else if closed.Value == DisputeLost {
			row.Status, row.Reason = store.PaymentDisputed, "dispute "+r.ID+" was lost"
		}
	}
	if p.refunded() {
		row.Status = store.PaymentRefunded
	}
	if finding := d.findings[p.principal.key()]; finding != "" {
		row.Reason = finding
		if p.Payment.Terms.Value.names() > 0 { // else it is for something that is not sold here
			row.Status = store.PaymentRefused
		}
	}
}
