package admin_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/client"
	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/webhook/admin"
)

func TestAUserWithEverything(t *testing.T) {
	everyStore(t, func(t *testing.T, w *world) {
		ctx, c := t.Context(), w.admin()
		made, err := c.PutUserWithResponse(ctx, "alice", nil, client.UserChange{
			Status: client.Active, Attributes: json.RawMessage(`{"n": 9007199254740993, "a":[1, 2]}`),
		})
		require.NoError(t, err)
		require.NotNil(t, made.JSON201)
		assert.JSONEq(t, `{"n":9007199254740993,"a":[1,2]}`, string(made.JSON201.Attributes), "numbers stay as they are")
		again, err := c.PutUserWithResponse(ctx, "alice", nil, client.UserChange{
			Status: client.Active, Attributes: json.RawMessage(`{"n":9007199254740993,"a":[1,2]}`),
		})
		require.NoError(t, err)
		require.NotNil(t, again.JSON200)
		assert.Equal(t, made.JSON201.Version, again.JSON200.Version, "the same again is no change")
		kept, err := c.PutUserWithResponse(ctx, "alice", nil, client.UserChange{Status: client.Suspended})
		require.NoError(t, err)
		assert.Equal(t, client.Suspended, kept.JSON200.Status)
		assert.NotEmpty(t, kept.JSON200.Attributes, "what is left out stays")

		until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
		key, err := c.AddCredentialWithResponse(ctx, "alice", client.CredentialRequest{
			Streams: []string{"live+*"}, Addresses: []string{"192.0.2.0/24", "::ffff:198.51.100.7"}, Until: until, Publish: true,
		})
		require.NoError(t, err)
		assert.Regexp(t, `^ak_[A-Z2-7]{26}$`, key.JSON201.Token)
		stored, facts, err := w.db.FactsByCredential(ctx, policy.HashKey(key.JSON201.Token))
		require.NoError(t, err)
		assert.Equal(t, "alice", facts.User)
		assert.Equal(t, until, stored.Until)
		entitled, err := c.AddEntitlementWithResponse(ctx, "alice", client.EntitlementRequest{Plan: "gold", Until: until})
		require.NoError(t, err)
		assert.Equal(t, "admin", entitled.JSON201.Source)
		held, err := c.AddHoldWithResponse(ctx, "alice", client.HoldRequest{Kind: "abuse", Ref: "ticket 4711"})
		require.NoError(t, err)

		all, err := c.GetUserWithResponse(ctx, "alice")
		require.NoError(t, err)
		require.Len(t, all.JSON200.Credentials, 1)
		assert.Equal(t, []string{"192.0.2.0/24", "198.51.100.7/32"}, all.JSON200.Credentials[0].Addresses)
		assert.True(t, all.JSON200.Credentials[0].Publish)
		assert.NotContains(t, string(all.Body), key.JSON201.Token)
		assert.NotContains(t, string(all.Body), policy.HashKey(key.JSON201.Token).String())
		require.Len(t, all.JSON200.Entitlements, 1)
		assert.Equal(t, until, all.JSON200.Entitlements[0].Until)
		require.Len(t, all.JSON200.Holds, 1)
		assert.Equal(t, "ticket 4711", all.JSON200.Holds[0].Ref)

		for range 2 { // a second time has no effect
			_, err = c.RevokeCredentialWithResponse(ctx, "alice", key.JSON201.ID)
			require.NoError(t, err)
		}
		_, err = c.RemoveEntitlementWithResponse(ctx, "alice", entitled.JSON201.ID)
		require.NoError(t, err)
		_, err = c.RemoveHoldWithResponse(ctx, "alice", held.JSON201.ID)
		require.NoError(t, err)
		all, err = c.GetUserWithResponse(ctx, "alice")
		require.NoError(t, err)
		assert.False(t, all.JSON200.Credentials[0].Revoked.IsZero())
		assert.Empty(t, all.JSON200.Entitlements)
		assert.Empty(t, all.JSON200.Holds)

		audit, err := c.ListAuditWithResponse(ctx, &client.ListAuditParams{Subject: new("alice")})
		require.NoError(t, err)
		var actions []string
		for _, e := range audit.JSON200.Items {
			actions = append(actions, e.Action)
			assert.Equal(t, admin.AdminToken, e.Actor)
		}
		assert.Equal(t, []string{"hold.remove", "entitlement.remove", "credential.revoke", "hold.add", "entitlement.add",
			"credential.add", "user.put", "user.put"}, actions, "what had no effect is not in it")
	})
}

// Ids of users are the operator's: whatever they hold, the path names this user and no other.
func TestUsersOfEveryName(t *testing.T) {
	everyStore(t, func(t *testing.T, w *world) {
		names := []string{"100%", "a%41", "aA", "a/b", "a+b", "a b", "ä@ö", "?x=1#y", "a%2Fb", "users", `"';--`, "\u202e"}
		for _, name := range names {
			a, err := w.admin().PutUserWithResponse(t.Context(), name, nil, client.UserChange{Status: client.Active})
			require.NoError(t, err, name)
			require.NotNil(t, a.JSON201, name)
			assert.Equal(t, name, a.JSON201.ID)
			read := w.send(http.MethodGet, "/api/v1/users/"+url.PathEscape(name), "")
			assert.Equal(t, http.StatusOK, read.StatusCode, read.body)
		}
		list, err := w.admin().ListUsersWithResponse(t.Context(), nil)
		require.NoError(t, err)
		assert.Len(t, list.JSON200.Items, len(names))
	})
}

func TestWhatIsNotThere(t *testing.T) {
	everyStore(t, func(t *testing.T, w *world) {
		w.user("alice")
		for _, path := range []string{
			"GET users/nobody", "GET users/nobody/credentials", "GET users/nobody/entitlements", "GET users/nobody/holds",
			"DELETE users/alice/credentials/x", "DELETE users/alice/entitlements/x", "DELETE users/alice/holds/x",
			"DELETE users/nobody/holds/x", "GET payments/stripe/x", "GET plans/x", "DELETE plans/x", "GET streams/x",
			"DELETE streams/x", "GET sessions/x", "GET sessions/x?node=y", "DELETE keys/x", "GET nosuch", "GET users/", "GET ",
		} {
			method, path, _ := strings.Cut(path, " ")
			a := w.send(method, "/api/v1/"+path, "")
			assert.Equal(t, http.StatusNotFound, a.StatusCode, "%s %s: %s", method, path, a.body)
		}
		for path, body := range map[string]string{"credentials": `{}`, "entitlements": `{"plan":"gold"}`, "holds": `{"kind":"x"}`} {
			a := w.send(http.MethodPost, "/api/v1/users/nobody/"+path, body)
			assert.Equal(t, http.StatusNotFound, a.StatusCode, a.body)
			assert.Contains(t, a.body, `user \"nobody\"`)
		}
	})
}

func TestSessionsAndPaymentsAreRead(t *testing.T) {
	everyStore(t, func(t *testing.T, w *world) {
		ctx, c := t.Context(), w.admin()
		session := policy.Session{
			Node: "mist", ID: strings.Repeat("ab", 32), State: policy.SessionOpen, Stream: "live+fight", User: "alice", Plan: "gold",
			Reason: policy.Entitled, Opened: noon, Decided: noon, Tags: []string{"plan:gold"}, Credential: policy.HashKey("x"),
		}
		other := policy.Session{Node: "two", ID: session.ID, State: policy.SessionDenied, Stream: "movie", Opened: noon, Reason: policy.CredentialMissing}
		require.NoError(t, w.db.WriteSessions(ctx, []policy.Session{session, other}))
		one, err := c.GetSessionWithResponse(ctx, session.ID, nil)
		require.NoError(t, err)
		assert.Equal(t, client.ReasonEntitled, one.JSON200.Reason)
		assert.NotContains(t, string(one.Body), session.Credential.String())
		for _, p := range []client.ListSessionsParams{
			{Node: new("two")}, {State: new(client.SessionDenied)}, {Stream: new("movie")},
			{Node: new("two"), State: new(client.SessionDenied)},
		} {
			list, err := c.ListSessionsWithResponse(ctx, &p)
			require.NoError(t, err)
			require.Len(t, list.JSON200.Items, 1)
			assert.Equal(t, "two", list.JSON200.Items[0].Node)
		}
		paid := store.Payment{Provider: "stripe", ID: "pi/1 %", User: "alice", Plan: "gold", Amount: 999, Currency: "usd",
			Status: store.PaymentSucceeded, At: noon}
		require.NoError(t, w.db.PutPayment(ctx, paid))
		read, err := c.GetPaymentWithResponse(ctx, "stripe", paid.ID)
		require.NoError(t, err)
		assert.EqualValues(t, 999, read.JSON200.Amount)
		list, err := c.ListPaymentsWithResponse(ctx, &client.ListPaymentsParams{User: new("alice"), Provider: new("stripe")})
		require.NoError(t, err)
		assert.Len(t, list.JSON200.Items, 1)
	})
}

func TestChangesAreFollowed(t *testing.T) {
	everyStore(t, func(t *testing.T, w *world) {
		ctx, c := t.Context(), w.admin()
		begin, err := c.ListChangesWithResponse(ctx, nil)
		require.NoError(t, err)
		assert.Empty(t, begin.JSON200.Items)
		w.user("alice")
		w.user("bob")
		after := begin.JSON200.Last
		var subjects []string
		for range 3 {
			a, err := c.ListChangesWithResponse(ctx, &client.ListChangesParams{After: &after, Limit: new(1)})
			require.NoError(t, err)
			for _, change := range a.JSON200.Items {
				subjects = append(subjects, change.Kind+" "+change.Subject)
			}
			after = a.JSON200.Last
		}
		assert.Equal(t, []string{"user alice", "user bob"}, subjects)
		beyond := after + 100
		_, err = c.ListChangesWithResponse(ctx, &client.ListChangesParams{After: &beyond})
		p := refused(t, err, client.ProblemGone)
		assert.Equal(t, after, *p.Last)
	})
}
