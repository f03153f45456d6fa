package admin_test

import (
	"encoding/json"
	"net/http"
	"net/netip"
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

// An address is a credential of its own: whoever comes from it without any other is the user.
func TestAnAddressIsBoundToAUser(t *testing.T) {
	everyStore(t, func(t *testing.T, w *world) {
		ctx, c := t.Context(), w.admin()
		w.user("alice")
		w.user("bob")
		until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
		bound, err := c.AddCredentialWithResponse(ctx, "alice", client.CredentialRequest{
			Address: "::ffff:192.0.2.9", Streams: []string{"movie"}, Until: until,
		})
		require.NoError(t, err)
		require.NotNil(t, bound.JSON201)
		assert.Equal(t, client.CredentialKindAddress, bound.JSON201.Kind)
		assert.NotContains(t, string(bound.Body), "token")
		stored, facts, err := w.db.FactsByCredential(ctx, policy.HashAddress(netip.MustParseAddr("192.0.2.9")))
		require.NoError(t, err)
		assert.Equal(t, "alice", facts.User)
		assert.Equal(t, policy.CredentialAddress, stored.Kind)
		assert.Equal(t, until, stored.Until)
		list, err := c.ListCredentialsWithResponse(ctx, "alice", nil)
		require.NoError(t, err)
		require.Len(t, list.JSON200.Items, 1)
		assert.Equal(t, bound.JSON201.ID, list.JSON200.Items[0].ID)
		assert.Equal(t, client.CredentialKindAddress, list.JSON200.Items[0].Kind)
		assert.Equal(t, []string{"192.0.2.9/32"}, list.JSON200.Items[0].Addresses, "so that it is known which")
		user := func(address string) string {
			a, err := c.ExplainWithResponse(ctx, client.ExplainRequest{Stream: "movie", Address: address, Connector: "RTSP"})
			require.NoError(t, err)
			return a.JSON200.User
		}
		assert.Equal(t, "alice", user("192.0.2.9"))
		assert.Empty(t, user("192.0.2.10"))

		before := w.everything()
		for _, address := range []string{"192.0.2.9", "::ffff:192.0.2.9"} {
			for _, name := range []string{"alice", "bob"} {
				_, err = c.AddCredentialWithResponse(ctx, name, client.CredentialRequest{Address: address})
				p := refused(t, err, client.ProblemConflict)
				require.Len(t, p.Errors, 1)
				assert.Equal(t, "address", p.Errors[0].Field)
				assert.NotContains(t, p.Error(), "alice", "whose it is, is not said")
			}
		}
		_, err = c.AddCredentialWithResponse(ctx, "nobody", client.CredentialRequest{Address: "192.0.2.10"})
		refused(t, err, client.ProblemNotFound)
		assert.Equal(t, before, w.everything())

		_, err = c.RevokeCredentialWithResponse(ctx, "alice", bound.JSON201.ID)
		require.NoError(t, err)
		_, err = c.AddCredentialWithResponse(ctx, "bob", client.CredentialRequest{Address: "192.0.2.9", Publish: true})
		require.NoError(t, err)
		assert.Equal(t, "bob", user("192.0.2.9"))
		_, err = c.AddCredentialWithResponse(ctx, "bob", client.CredentialRequest{Address: "2001:db8::9"})
		require.NoError(t, err)
		assert.Equal(t, "bob", user("2001:db8::9"))
		audit, err := c.ListAuditWithResponse(ctx, &client.ListAuditParams{Subject: new("alice")})
		require.NoError(t, err)
		require.Len(t, audit.JSON200.Items, 3)
		assert.Contains(t, string(audit.JSON200.Items[1].Detail), `"kind":"address"`)
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
			"DELETE streams/x", "GET sessions/x", "GET sessions/x?node=y", "DELETE sessions/x", "DELETE sessions/x?node=y", "DELETE keys/x", "GET nosuch", "GET users/", "GET ",
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
			JWT: &policy.Credential{
				Kind: policy.CredentialJWT, User: "alice", Streams: []string{"live+*"}, Until: noon.Add(time.Hour),
				Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
			},
		}
		other := policy.Session{Node: "two", ID: session.ID, State: policy.SessionDenied, Stream: "movie", Opened: noon, Reason: policy.CredentialMissing}
		over := policy.Session{Node: "two", ID: strings.Repeat("cd", 32), State: policy.SessionEnded, Stream: "extra", Opened: noon,
			Decided: noon, Ended: noon.Add(time.Minute), Reason: policy.Public, Estimated: true}
		require.NoError(t, w.db.WriteSessions(ctx, []policy.Session{session, other, over}))
		guessed, err := c.GetSessionWithResponse(ctx, over.ID, &client.GetSessionParams{Node: new("two")})
		require.NoError(t, err)
		assert.True(t, guessed.JSON200.Estimated)
		assert.Equal(t, noon.Add(time.Minute), guessed.JSON200.Ended)
		one, err := c.GetSessionWithResponse(ctx, session.ID, nil)
		require.NoError(t, err)
		assert.Equal(t, client.ReasonEntitled, one.JSON200.Reason)
		assert.NotContains(t, string(one.Body), session.Credential.String())
		assert.Equal(t, client.Claims{
			User: "alice", Streams: []string{"live+*"}, Addresses: []string{"192.0.2.0/24"}, Until: noon.Add(time.Hour),
		}, one.JSON200.Jwt)
		for _, p := range []client.ListSessionsParams{
			{Node: new("two"), Stream: new("movie")}, {State: new(client.SessionDenied)}, {Stream: new("movie")},
			{Node: new("two"), State: new(client.SessionDenied)},
		} {
			list, err := c.ListSessionsWithResponse(ctx, &p)
			require.NoError(t, err)
			require.Len(t, list.JSON200.Items, 1)
			assert.Equal(t, "two", list.JSON200.Items[0].Node)
			assert.NotContains(t, string(list.Body), `"jwt"`)
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
