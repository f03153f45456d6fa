package main

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/client"
	"authhook/internal/mist/recording"
)

const adminToken = "an-admin-token-for-tests"

// api is a client of a running service.
func (s *served) api(t *testing.T, token string) *client.ClientWithResponses {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := client.New(s.url, token, client.WithHTTPClient(client.Refusals(&http.Client{Transport: transport})))
	require.NoError(t, err)
	return c
}

// counted is the value of a metric, written with its labels as /metrics shows it.
func (s *served) counted(t *testing.T, metric string) string {
	t.Helper()
	_, body := s.get(t, "/metrics")
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(line, metric+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// recordedWithKey is a USER_NEW as it was recorded, of another stream and with another token.
func recordedWithKey(t *testing.T, stream, key string) string {
	t.Helper()
	r, err := recording.Read("USER_NEW")
	require.NoError(t, err)
	lines := strings.Split(string(r.Body), "\n")
	lines[0], lines[2] = stream, key
	return strings.Join(lines, "\n")
}

// The whole way: a user, a key and an entitlement are made; the viewer is let in; the entitlement is withdrawn; the viewer
// is turned away, and everybody says why.
func TestAnEntitlementComesAndGoes(t *testing.T) {
	for kind, db := range databases(t) {
		t.Run(kind, func(t *testing.T) {
			ctx := t.Context()
			s := serveForTest(t, "--database-url", db, "--catalog", exampleCatalog, "--admin-token", adminToken)
			c := s.api(t, adminToken)
			_, err := c.PutUserWithResponse(ctx, "alice", nil, client.UserChange{Status: client.Active})
			require.NoError(t, err)
			made, err := c.AddCredentialWithResponse(ctx, "alice", client.CredentialRequest{})
			require.NoError(t, err)
			key := made.JSON201.Token
			entitled, err := c.AddEntitlementWithResponse(ctx, "alice", client.EntitlementRequest{Plan: "gold"})
			require.NoError(t, err)
			body := recordedWithKey(t, "movie", key)

			require.Equal(t, "true", s.ask(t, "USER_NEW", "u1", body))
			_, err = c.RemoveEntitlementWithResponse(ctx, "alice", entitled.JSON201.ID)
			require.NoError(t, err)
			require.Equal(t, "false", s.ask(t, "USER_NEW", "u2", body), "at once")

			assert.Regexp(t, `reason=payment_required trigger=USER_NEW stream=movie`, s.waitLog(t, `(reason=payment_required.*)`))
			assert.Equal(t, "1", s.counted(t, `authhook_decisions_total{reason="payment_required",trigger="USER_NEW"}`))
			assert.Equal(t, "1", s.counted(t, `authhook_decisions_total{reason="entitled",trigger="USER_NEW"}`))
			why, err := c.ExplainWithResponse(ctx, client.ExplainRequest{Trigger: client.RecordedTrigger{Type: client.USERNEW, Body: body}})
			require.NoError(t, err)
			assert.False(t, why.JSON200.Allow)
			assert.Equal(t, client.ReasonPaymentRequired, why.JSON200.Reason)
			last := why.JSON200.Findings[len(why.JSON200.Findings)-1]
			assert.Equal(t, client.OutcomeDeny, last.Outcome)

			// A key that is withdrawn is good no more, at once, although it was just used.
			_, err = c.RevokeCredentialWithResponse(ctx, "alice", made.JSON201.ID)
			require.NoError(t, err)
			require.Equal(t, "false", s.ask(t, "USER_NEW", "u3", body))
			s.waitLog(t, `reason=credential_revoked`)
			// And a stream policy holds at once.
			_, err = c.PutStreamWithResponse(ctx, "movie", nil, client.StreamChange{Access: client.AccessPublic})
			require.NoError(t, err)
			assert.Equal(t, "true", s.ask(t, "USER_NEW", "u4", body))

			assert.Zero(t, s.stop(), s.log.String())
			assert.NotContains(t, s.log.String(), key)
			assert.NotContains(t, s.log.String(), adminToken)
		})
	}
}

func TestMetricsSayWhatHappens(t *testing.T) {
	db := emptyDatabase(t)
	s := serveForTest(t, "--database-url", db, "--catalog", exampleCatalog, "--admin-token", adminToken)
	recorded, err := recording.Read("USER_NEW")
	require.NoError(t, err)
	s.ask(t, "USER_NEW", "u1", string(recorded.Body))
	s.ask(t, "USER_NEW", "u2", askWithKey("ak_"+strings.Repeat("A", 26), "ab"))
	s.ask(t, "USER_NEW", "u3", askWithKey("ak_"+strings.Repeat("A", 26), "ab"))
	_, err = s.api(t, adminToken).ListUsersWithResponse(t.Context(), nil)
	require.NoError(t, err)
	_, err = s.api(t, "wrong").ListUsersWithResponse(t.Context(), nil)
	require.Error(t, err)
	for metric, want := range map[string]string{
		`authhook_facts_asked_total{answer="stale"}`:                      "0",
		`authhook_facts_kept{of="nobody"}`:                                "1",
		`authhook_sessions_total{node="mist",state="open"}`:               "1",
		`authhook_sessions_total{node="mist",state="denied"}`:             "2",
		`authhook_sessions_dropped_total`:                                 "0",
		`authhook_store_errors_total{cause="facts_load"}`:                 "0",
		`authhook_api_requests_total{operation="listUsers",status="2xx"}`: "1",
		`authhook_api_requests_total{operation="listUsers",status="4xx"}`: "1",
	} {
		assert.Equal(t, want, s.counted(t, metric), metric)
	}
	number := func(metric string) int {
		n, err := strconv.Atoi(s.counted(t, metric))
		require.NoError(t, err, metric)
		return n
	}
	// Who holds the sessions to the facts asks in between, and the follower, when it begins, has everything dropped.
	loads := number(`authhook_facts_loads_total`)
	misses, hits := number(`authhook_facts_asked_total{answer="miss"}`), number(`authhook_facts_asked_total{answer="hit"}`)
	assert.Positive(t, loads)
	assert.GreaterOrEqual(t, misses, loads)
	assert.GreaterOrEqual(t, hits+misses, 2)
	_, body := s.get(t, "/metrics")
	for _, never := range []string{"movie", "alice", "192.0.2.1", "ak_"} {
		assert.NotContains(t, body, never)
	}
}

func TestAShortAdminTokenIsRefused(t *testing.T) {
	for _, args := range [][]string{
		{"--admin-token", "short"}, {"--admin-token", adminToken, "--admin-token-file", "/nosuch"}, {"--admin-token-file", "/nosuch"},
	} {
		_, errOut, code := authhook(t, append([]string{"serve", "--database-url", emptyDatabase(t)}, args...)...)
		assert.Equal(t, exitUsage, code)
		assert.Contains(t, errOut, "--admin-token")
	}
	help, _, _ := authhook(t, "serve", "--help")
	for _, name := range []string{"ADMIN_TOKEN", "ADMIN_TOKEN_FILE"} {
		assert.Contains(t, help, "$AUTHHOOK_"+name)
	}
}

func TestKeysAreMadeListedAndWithdrawn(t *testing.T) {
	for kind, db := range databases(t) {
		t.Run(kind, func(t *testing.T) {
			s := serveForTest(t, "--database-url", db)
			_, err := s.api(t, adminToken).ListUsersWithResponse(t.Context(), nil)
			require.Error(t, err, "without token and keys it is closed")

			key := strings.TrimSpace(mustAuthhook(t, "keys", "add", "shop", "--role", "billing", "--database-url", db))
			require.Regexp(t, `^ahk_[A-Z2-7]{26}$`, key)
			c := s.api(t, key)
			_, err = c.PutUserWithResponse(t.Context(), "alice", nil, client.UserChange{Status: client.Active})
			require.NoError(t, err, "good at once")
			_, err = c.PutPlanWithResponse(t.Context(), "gold", nil, client.PlanChange{})
			var p *client.Problem
			require.ErrorAs(t, err, &p)
			assert.Equal(t, client.RoleAdmin, p.Role)

			list := mustAuthhook(t, "keys", "list", "--database-url", db)
			found := regexp.MustCompile(`(?m)^(\S+) +billing +shop +\S+Z +-$`).FindStringSubmatch(list)
			require.NotNil(t, found, list)
			assert.NotContains(t, list, key)
			mustAuthhook(t, "keys", "withdraw", found[1], "--database-url", db)
			_, err = c.ListUsersWithResponse(t.Context(), nil)
			require.ErrorAs(t, err, &p)
			assert.Equal(t, client.ProblemUnauthenticated, p.Type)
			assert.Contains(t, mustAuthhook(t, "keys", "list", "--database-url", db), found[1])

			_, errOut, code := authhook(t, "keys", "withdraw", "nosuch", "--database-url", db)
			assert.Equal(t, exitUsage, code)
			assert.Contains(t, errOut, "nosuch")
			_, _, code = authhook(t, "keys", "add", "", "--role", "read", "--database-url", db)
			assert.Equal(t, exitUsage, code)
			_, _, code = authhook(t, "keys", "add", "x", "--role", "root", "--database-url", db)
			assert.Equal(t, exitUsage, code)
		})
	}
}

// The contract is served, and the page that shows it asks nobody else for anything.
func TestDocs(t *testing.T) {
	s := serveForTest(t, "--database-url", emptyDatabase(t))
	code, contract := s.get(t, "/openapi.yaml")
	assert.Equal(t, http.StatusOK, code)
	assert.True(t, strings.HasPrefix(contract, "openapi: "))
	code, page := s.get(t, "/docs")
	assert.Equal(t, http.StatusOK, code)
	assert.NotRegexp(t, `(?:src|href)="(?:https?:)?//`, page)
	for _, asset := range regexp.MustCompile(`(?:src|href)="(/docs/[^"]+)"`).FindAllStringSubmatch(page, -1) {
		code, text := s.get(t, asset[1])
		assert.Equal(t, http.StatusOK, code, asset[1])
		assert.NotEmpty(t, text)
	}
	code, _ = s.get(t, "/docs/LICENSE")
	assert.Equal(t, http.StatusOK, code)
	for _, wrong := range []string{"/docs/nosuch.js", "/docs/..%2fdocs.go", "/docs/docs.go", "/docs/assets"} {
		code, _ = s.get(t, wrong)
		assert.Equal(t, http.StatusNotFound, code, wrong)
	}
	r, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, s.url+"/docs", nil)
	require.NoError(t, err)
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	assert.Contains(t, answer.Header.Get("Content-Security-Policy"), "default-src 'none'")

	code, ready := s.get(t, "/readyz")
	assert.Equal(t, http.StatusOK, code)
	var readiness struct{ Ready bool }
	require.NoError(t, json.Unmarshal([]byte(ready), &readiness))
	assert.True(t, readiness.Ready)
}
