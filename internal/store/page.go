package store

import (
	"time"

	"authhook/internal/policy"
)

// Page picks a part of a list that is ordered by id.
type Page struct {
	// After is the last id of the page before.
	After string
	// Limit is how many to return at most: 100 when zero, never more than [MaxFacts].
	Limit int
}

// Clean brings a page's limit and cursor into their bounds.
func (p Page) Clean() Page { return Page{clean(p.After, maxKey), pageLimit(p.Limit)} }

func pageLimit(n int) int {
	if n <= 0 {
		return 100
	}
	return min(n, MaxFacts)
}

// StoredCredential is a credential with what the store alone keeps of it. Its hash does not come along.
type StoredCredential struct {
	policy.Credential
	// Revoked is when it was withdrawn; zero while it stands.
	Created, Revoked time.Time
}

// StoredEntitlement is an entitlement with whose it is and since when it is stored.
type StoredEntitlement struct {
	policy.Entitlement
	User    string
	Created time.Time
}

// StoredHold is a hold with whom it is against and since when it is stored.
type StoredHold struct {
	policy.Hold
	User    string
	Created time.Time
}

// StoredRow is a credential, an entitlement or a hold as a driver reads it: a row of facts with three columns more.
type StoredRow struct {
	FactsRow
	user             string
	created, revoked Moment
}

// Columns are where a driver scans a row to: those of a row of facts, then user, created and revoked.
func (r *StoredRow) Columns() []any {
	return append(r.FactsRow.Columns(), &r.user, &r.created, &r.revoked)
}

// StoredCredentialOf reads a credential.
func StoredCredentialOf(r *StoredRow) (StoredCredential, error) {
	c, err := CredentialOf(&r.FactsRow)
	return StoredCredential{c, r.created.Time, r.revoked.Time}, err
}

// StoredEntitlementOf reads an entitlement.
func StoredEntitlementOf(r *StoredRow) (StoredEntitlement, error) {
	return StoredEntitlement{EntitlementOf(&r.FactsRow), r.user, r.created.Time}, nil
}

// StoredHoldOf reads a hold.
func StoredHoldOf(r *StoredRow) (StoredHold, error) {
	return StoredHold{HoldOf(&r.FactsRow), r.user, r.created.Time}, nil
}
