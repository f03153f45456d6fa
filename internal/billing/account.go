package billing

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// key names a record at its provider.
type key struct {
	kind Kind
	id   string
}

// key is the record's name.
func (r *Record) key() key { return key{r.Kind, r.ID} }

// String is the record's name as a subject: kind/id.
func (k key) String() string { return string(k.kind) + "/" + k.id }

// Names are what a record is found by, and what it says it belongs to: records that share one belong together. One that is
// refused belongs to nothing.
func (r *Record) Names() []string {
	name := func(kind Kind, id string) string { return string(kind) + ":" + id }
	names := []string{name(r.Kind, r.ID)}
	if r.Refused != "" {
		return names
	}
	for _, alias := range r.Aliases {
		names = append(names, name(KindPayment, alias))
	}
	for _, of := range []struct {
		kind Kind
		said *Said[string]
	}{{KindCustomer, r.Customer}, {KindSubscription, r.Subscription}, {KindUser, r.User}} {
		if of.said != nil {
			names = append(names, name(of.kind, of.said.Value))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// account is all records that belong together at one provider, put in relation.
type account struct {
	provider  string
	records   map[key]*Record
	payments  []*payment            // ordered by their first id
	paymentOf map[string]*payment   // by every id of it
	paidFor   map[string][]*payment // by the subscription
}

// payment is a payment under all of its ids.
type payment struct {
	ids []string // of its records, sorted
	Record
	// principal is the record that says what was paid: what was bought follows from it.
	principal *Record
	// refunds are what was paid back under all of its ids.
	refunds  int64
	disputes []*Record
}

func newAccount(provider string, records []Record) *account {
	a := &account{provider: provider, records: make(map[key]*Record, len(records)), paymentOf: make(map[string]*payment),
		paidFor: make(map[string][]*payment)}
	records = slices.Clone(records)
	slices.SortFunc(records, func(a, b Record) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID)) })
	for i := range records {
		a.records[records[i].key()] = &records[i]
	}
	a.gather(records)
	for i := range records {
		if r := &records[i]; r.Kind == KindDispute {
			if p := a.disputed(r); p != nil {
				p.disputes = append(p.disputes, r)
			}
		}
	}
	return a
}

// gather puts the records of one payment together: those that share an id.
func (a *account) gather(records []Record) {
	same := make(sets)
	for i := range records {
		if r := &records[i]; r.Kind == KindPayment {
			for _, id := range append([]string{r.ID}, r.Aliases...) {
				same.join(id, r.ID)
			}
		}
	}
	of := make(map[string]*payment)
	for i := range records {
		r := &records[i]
		if r.Kind != KindPayment {
			continue
		}
		p := of[same.root(r.ID)]
		if p == nil {
			p = &payment{Record: *r, principal: r}
			of[same.root(r.ID)] = p
			a.payments = append(a.payments, p)
		} else {
			p.Record = p.Join(*r)
			if r.saysMore(p.principal) {
				p.principal = r
			}
		}
		p.ids = append(p.ids, r.ID)
		if r.Payment != nil { // each id's refunds are its own: together they may be all that was paid
			p.refunds += r.Payment.Refunded
		}
	}
	for id := range same {
		a.paymentOf[id] = of[same.root(id)]
	}
	for _, p := range a.payments {
		if p.Payment == nil {
			p.Payment = &Payment{}
		}
		if said := p.principal.Payment; said != nil {
			whole := *p.Payment
			whole.Terms = said.Terms
			p.Payment = &whole
		}
		if p.Subscription != nil {
			a.paidFor[p.Subscription.Value] = append(a.paidFor[p.Subscription.Value], p)
		}
	}
}

// saysMore says whether a record, rather than another of the same payment, says what was paid and what for: one that names a
// plan, a stream or a tag, as the operator's own system wrote it; else one that names a price; else one that says at least
// what became of it. Of two that say as much, the later word holds.
func (r *Record) saysMore(than *Record) bool {
	mine, theirs := r.Payment, than.Payment
	if n := cmp.Compare(mine.clarity(), theirs.clarity()); n != 0 || mine.clarity() < onlyAmount {
		return n > 0
	}
	return later(theirs.Terms, mine.Terms, compareJSON) == mine.Terms
}

// How much a payment's record says of what was paid for.
const (
	nothing = iota
	onlyOutcome
	onlyAmount
	aPrice
	aThing
)

func (p *Payment) clarity() int {
	switch {
	case p == nil:
		return nothing
	case p.Terms == nil && p.told():
		return onlyOutcome
	case p.Terms == nil:
		return nothing
	}
	switch t := p.Terms.Value; {
	case t.Plan != "" || t.Stream != "" || t.Tag != "":
		return aThing
	case t.Price != "":
		return aPrice
	}
	return onlyAmount
}

// told says whether it is known what became of a payment.
func (p *Payment) told() bool {
	return p != nil && !(p.Pending.IsZero() && p.Failed.IsZero() && p.Succeeded.IsZero())
}

// disputed is the payment that a dispute is about; nil while it is not known.
func (a *account) disputed(d *Record) *payment {
	for _, alias := range d.Aliases {
		if p := a.paymentOf[alias]; p != nil {
			return p
		}
	}
	return nil
}

// customer is the user that a customer is known to be; nil while none is.
func (a *account) customer(said *Said[string]) *Said[string] {
	if said == nil {
		return nil
	}
	if r := a.records[key{KindCustomer, said.Value}]; r != nil {
		return r.User
	}
	return nil
}

// user is whose a record is; empty while that is not known. What says so closest to it goes first: itself, what it belongs
// to, the provider's customer.
func (a *account) user(r *Record) string {
	switch r.Kind {
	case KindUser:
		return r.ID
	case KindPayment:
		if p := a.paymentOf[r.ID]; p != nil {
			return a.userOfPayment(p)
		}
	case KindSubscription:
		return a.userOfSubscription(r.ID)
	case KindDispute:
		if p := a.disputed(r); p != nil {
			if user := a.userOfPayment(p); user != "" {
				return user
			}
		}
	}
	return first(r.User, a.customer(r.Customer))
}

func (a *account) userOfPayment(p *payment) string {
	if user := first(p.User); user != "" {
		return user
	}
	if p.Subscription != nil {
		if user := a.userOfSubscription(p.Subscription.Value); user != "" {
			return user
		}
	}
	return first(a.customer(p.Customer))
}

func (a *account) userOfSubscription(id string) string {
	var customer *Said[string]
	if r := a.records[key{KindSubscription, id}]; r != nil {
		if r.User != nil {
			return r.User.Value
		}
		customer = r.Customer
	}
	var paid *Said[string]
	for _, p := range a.paidFor[id] {
		paid = later(paid, p.User, strings.Compare)
		if customer == nil {
			customer = p.Customer
		}
	}
	return first(paid, a.customer(customer))
}

// first is the first of several words that was said.
func first(said ...*Said[string]) string {
	for _, s := range said {
		if s != nil {
			return s.Value
		}
	}
	return ""
}

// latest is the later of two moments.
func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
