// Package storetest is what a place where facts live must do, written as tests. Every driver passes it, on a real
// database:
//
//	func TestStore(t *testing.T) { storetest.Run(t, newDatabase) }
package storetest

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// Store is all that a driver does.
type Store interface {
	policy.Source
	policy.Leases
	policy.Previews

	Migrate(ctx context.Context) error
	Version(ctx context.Context) (uint, error)
	Ping(ctx context.Context) error
	Close() error

	PutUser(ctx context.Context, c store.UserChange) (u store.User, created bool, err error)
	User(ctx context.Context, id string) (store.User, error)
	Users(ctx context.Context, f store.UserFilter) ([]store.User, error)
	AddCredential(ctx context.Context, hash policy.CredentialHash, c policy.Credential, now time.Time) (string, error)
	RevokeCredential(ctx context.Context, user, id string) error
	Credential(ctx context.Context, id string) (store.StoredCredential, error)
	Credentials(ctx context.Context, user string, p store.Page) ([]store.StoredCredential, error)
	AddEntitlement(ctx context.Context, user string, e policy.Entitlement) (string, error)
	RemoveEntitlement(ctx context.Context, user, id string) error
	Entitlement(ctx context.Context, user, id string) (store.StoredEntitlement, error)
	Entitlements(ctx context.Context, user string, p store.Page) ([]store.StoredEntitlement, error)
	AddHold(ctx context.Context, user string, h policy.Hold) (string, error)
	RemoveHold(ctx context.Context, user, id string) error
	Hold(ctx context.Context, user, id string) (store.StoredHold, error)
	Holds(ctx context.Context, user string, p store.Page) ([]store.StoredHold, error)

	AddAPIKey(ctx context.Context, k store.APIKey, hash [32]byte) (string, error)
	APIKeyByHash(ctx context.Context, hash [32]byte) (store.APIKey, error)
	APIKeys(ctx context.Context, p store.Page) ([]store.APIKey, error)
	WithdrawAPIKey(ctx context.Context, id string) error

	PutPayment(ctx context.Context, p store.Payment) error
	Payment(ctx context.Context, provider, id string) (store.Payment, error)
	Payments(ctx context.Context, f store.PaymentFilter) ([]store.Payment, error)

	ReceiveEvent(ctx context.Context, e store.BillingEvent) (fresh bool, err error)
	DueEvents(ctx context.Context, now time.Time, limit int) ([]store.BillingEvent, error)
	ApplyEvent(ctx context.Context, number int64, names []string, dry bool,
		fold func(*store.BillingAccount) (*store.BillingEffect, error)) error
	FailEvent(ctx context.Context, number int64, state store.EventState, reason string, next time.Time) error
	BillingEvent(ctx context.Context, number int64) (store.BillingEvent, error)
	BillingEvents(ctx context.Context, f store.EventFilter) ([]store.BillingEvent, error)
	ReplayEvent(ctx context.Context, number int64, now time.Time) error
	ReplayEvents(ctx context.Context, f store.EventFilter, now time.Time) (int64, error)
	EventCounts(ctx context.Context) (map[store.EventState]int64, error)
	PruneEventBodies(ctx context.Context, receivedBefore time.Time) (int64, error)

	ApplyCatalog(ctx context.Context, c *policy.Catalog, ifVersion *int64) (version int64, changed bool, err error)
	Catalog(ctx context.Context) (*policy.Catalog, error)

	Changes(ctx context.Context, after int64, limit int) ([]store.Change, error)
	LastChange(ctx context.Context) (int64, error)
	PruneChanges(ctx context.Context, before time.Time) (int64, error)

	Audit(ctx context.Context, f store.AuditFilter) ([]store.AuditEntry, error)
	PruneAudit(ctx context.Context, before time.Time) (int64, error)

	WriteSessions(ctx context.Context, sessions []policy.Session) error
	Session(ctx context.Context, node, id string) (policy.Session, error)
	Sessions(ctx context.Context, f store.SessionFilter) ([]policy.Session, error)
	HeldSessions(ctx context.Context, node string, deniedSince time.Time, each func(policy.Session) error) error
	EndSession(ctx context.Context, node, id string) error
	PruneSessions(ctx context.Context, endedBefore time.Time) (int64, error)
	PruneDenials(ctx context.Context, decidedBefore time.Time) (int64, error)

	RenewLeases(ctx context.Context, node string, places []policy.Place, until time.Time) (lost []string, err error)
	PruneLeases(ctx context.Context, expiredBefore time.Time) (int64, error)
	PrunePreviews(ctx context.Context, beganBefore time.Time) (int64, error)
}

// Open opens one database with a clock; each call opens the same database again, as another replica does. The test
// closes what it opened.
type Open func(t testing.TB, now func() time.Time) Store

// Run tests a driver, or only the groups that are named: those that what stands before a driver has to do with. Database makes
// an empty database that goes away with the test.
func Run(t *testing.T, database func(t testing.TB) Open, only ...string) {
	groups := []struct {
		name string
		test func(*testing.T, func(testing.TB) Open)
	}{
		{"Migrate", testMigrate},
		{"Users", testUsers},
		{"Versions", testVersions},
		{"UserPages", testUserPages},
		{"Credentials", testCredentials},
		{"Entitlements", testEntitlements},
		{"Pages", testPages},
		{"APIKeys", testAPIKeys},
		{"Payments", testPayments},
		{"ReceiveEvent", testReceiveEvent},
		{"DueEvents", testDueEvents},
		{"ApplyEvent", testApplyEvent},
		{"ApplyEventRace", testApplyEventRace},
		{"ApplyEventAmong", testApplyEventAmong},
		{"ReplayEvents", testReplayEvents},
		{"BillingEvents", testBillingEvents},
		{"Audit", testAudit},
		{"Facts", testFacts},
		{"Catalog", testCatalog},
		{"Feed", testFeed},
		{"Leases", testLeases},
		{"LeasesRace", testLeasesRace},
		{"LeasesModel", testLeasesModel},
		{"Previews", testPreviews},
		{"Sessions", testSessions},
		{"HeldSessions", testHeldSessions},
		{"EndSession", testEndSession},
		{"Usage", testUsage},
		{"Lives", testLives},
		{"LivesModel", testLivesModel},
		{"Errors", testErrors},
	}
	ran := 0
	for _, g := range groups {
		if len(only) > 0 && !slices.Contains(only, g.name) {
			continue
		}
		ran++
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			g.test(t, database)
		})
	}
	require.True(t, len(only) == 0 || ran == len(only), "there are no such groups among %q", only)
}

// RunLeases tests what gives out places under plans' limits in front of a driver.
func RunLeases(t *testing.T, database func(t testing.TB) Open) {
	t.Run("Leases", func(t *testing.T) { testLeases(t, database) })
	t.Run("LeasesRace", func(t *testing.T) { testLeasesRace(t, database) })
	t.Run("LeasesModel", func(t *testing.T) { testLeasesModel(t, database) })
}

// PostgresURL is where the tests find PostgreSQL. They fail without: nothing is skipped.
func PostgresURL(t testing.TB) string {
	t.Helper()
	url := os.Getenv("AUTHHOOK_TEST_POSTGRES")
	if url == "" {
		t.Fatal("AUTHHOOK_TEST_POSTGRES is not set: run `make test`, which starts a throwaway PostgreSQL")
	}
	return url
}

// noon is a moment in the tests' time.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 123456000, time.UTC)

// at is a clock that stands still.
func at(t time.Time) func() time.Time { return func() time.Time { return t } }

// fresh is a migrated database, its clock at noon.
func fresh(t testing.TB, database func(testing.TB) Open) Store {
	t.Helper()
	return migrated(t, database(t), at(noon))
}

// migrated opens a database and migrates it.
func migrated(t testing.TB, open Open, now func() time.Time) Store {
	t.Helper()
	s := opened(t, open, now)
	require.NoError(t, s.Migrate(t.Context()))
	return s
}

func opened(t testing.TB, open Open, now func() time.Time) Store {
	t.Helper()
	s := open(t, now)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// withUsers makes active users.
func withUsers(t testing.TB, s Store, ids ...string) {
	t.Helper()
	for _, id := range ids {
		put(t, s, id, policy.ActiveUser, nil)
	}
}

// put makes or changes a user, whatever its version.
func put(t testing.TB, s Store, id string, status policy.UserStatus, attributes json.RawMessage) store.User {
	t.Helper()
	u, _, err := s.PutUser(t.Context(), store.UserChange{ID: id, Status: status, Attributes: attributes})
	require.NoError(t, err)
	return u
}

// feed is the whole change feed as "kind subject", after a number.
func feed(t testing.TB, s Store, after int64) []string {
	t.Helper()
	list, err := s.Changes(t.Context(), after, store.MaxPage)
	require.NoError(t, err)
	words := make([]string, len(list))
	for i, c := range list {
		require.Equal(t, after+int64(i)+1, c.Number, "numbers have no gaps")
		words[i] = string(c.Kind) + " " + c.Subject
	}
	return words
}

// last is the number of the last change.
func last(t testing.TB, s Store) int64 {
	t.Helper()
	n, err := s.LastChange(t.Context())
	require.NoError(t, err)
	return n
}

// hostile are texts that break what quotes, counts or compares carelessly.
var hostile = map[string]string{
	"quotes":    `Robert'); DROP TABLE users;-- "x" \ ` + "`",
	"percent":   `%_$1 ?1 :name ${x} %s {{.}}`,
	"unicode":   "ß Ω 日本語 👩‍👩‍👧 \u202eevil\u202c e\u0301",
	"lines":     "a\nb\r\n\tc",
	"spaces":    "  leading and trailing  ",
	"json":      `{"a":["\u0000",null]}`,
	"backslash": `\x00 \0 \\`,
}
