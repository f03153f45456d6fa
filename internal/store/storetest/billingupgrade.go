package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// UpgradeFrom3 tests the upgrade of a database that is at the third migration, before billing events. Exec runs SQL there;
// moment is any moment as it writes one.
func UpgradeFrom3(t *testing.T, s Store, moment string, exec func(sql string)) {
	exec(`INSERT INTO users (id, status, created_at, updated_at) VALUES ('anna', 'active', ` + moment + `, ` + moment + `)`)
	exec(`INSERT INTO entitlements (id, user_id, plan, stream, tag, source, created_at) VALUES ('e1', 'anna', 'gold', '', '', 'stripe sub_1', ` + moment + `)`)
	exec(`INSERT INTO holds (id, user_id, kind, ref, created_at) VALUES ('h1', 'anna', 'dispute', 'dp_1', ` + moment + `)`)
	exec(`INSERT INTO payments (provider, id, user_id, subscription, price, plan, stream, tag, amount, currency, refunded, status, reason, recorded_at)
		VALUES ('stripe', 'pi_1', 'anna', 'sub_1', '', '', '', '', 999, 'usd', 0, 'succeeded', '', ` + moment + `)`)
	require.NoError(t, s.Migrate(t.Context()))

	facts, err := s.FactsByUser(t.Context(), "anna")
	require.NoError(t, err)
	require.Equal(t, []policy.Entitlement{{ID: "e1", Plan: "gold", Source: "stripe sub_1"}}, facts.Entitlements)
	require.Equal(t, []policy.Hold{{ID: "h1", Kind: "dispute", Ref: "dp_1"}}, facts.Holds)

	e := receive(t, s, told("evt_1"))
	does := effect("payment/pi_1")
	does.Records = []store.BillingRecord{{Kind: "payment", ID: "pi_1", Doc: `{}`}}
	does.Add = []store.OwnedEntitlement{owned("e2", "anna", "stripe/payment/pi_1")}
	apply(t, s, e.Number, does)
	account := peek(t, s, e.Number, "payment/pi_1")
	require.Equal(t, does.Add, account.Entitlements, "what was there before is nobody's")
	require.Empty(t, account.Holds)
	require.Equal(t, []store.Payment{payment(t, s, "stripe", "pi_1")}, account.Payments, "payments are known by their ids")
	facts, err = s.FactsByUser(t.Context(), "anna")
	require.NoError(t, err)
	require.Len(t, facts.Entitlements, 2)
	require.NoError(t, s.RemoveEntitlement(t.Context(), "anna", "e1"))
	require.NoError(t, s.RemoveHold(t.Context(), "anna", "h1"))
	_, err = s.PruneEventBodies(t.Context(), noon.Add(time.Hour))
	require.NoError(t, err)
}
