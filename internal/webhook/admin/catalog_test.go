package admin_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/client"
	"authhook/internal/catalog"
	"authhook/internal/mist/recording"
)

const secret = "0123456789abcdef0123456789abcdef"

func TestTheCatalogIsReadWithoutSecrets(t *testing.T) {
	everyStore(t, func(t *testing.T, w *world) {
		asYAML := w.send(http.MethodGet, "/api/v1/catalog", "")
		assert.Equal(t, "application/yaml", asYAML.Header.Get("Content-Type"))
		asJSON := w.send(http.MethodGet, "/api/v1/catalog", "", "Accept", "application/json")
		assert.Equal(t, "application/json", asJSON.Header.Get("Content-Type"))
		for _, a := range []answer{asYAML, asJSON} {
			assert.Equal(t, http.StatusOK, a.StatusCode)
			assert.Equal(t, `"1"`, a.Header.Get("ETag"))
			assert.NotContains(t, a.body, secret)
			whole, err := catalog.Parse("catalog", []byte(strings.ReplaceAll(a.body, "(redacted)", secret)))
			require.NoError(t, err, a.body)
			stored, err := w.db.Catalog(t.Context())
			require.NoError(t, err)
			stored.Version = 0
			assert.Equal(t, stored, whole)
		}
		a := w.send(http.MethodPut, "/api/v1/catalog", asYAML.body, "Content-Type", "application/yaml")
		assert.Equal(t, http.StatusUnprocessableEntity, a.StatusCode, "what was left out is not taken for a secret")
		again := w.send(http.MethodPut, "/api/v1/catalog", worldCatalog, "Content-Type", "application/yaml")
		assert.Contains(t, again.body, `"changed":false`)
		assert.Equal(t, `"1"`, again.Header.Get("ETag"))
	})
}

// A plan and a stream policy are changed by themselves; the rest of the catalog, its secrets too, stays.
func TestPartsOfTheCatalog(t *testing.T) {
	everyStore(t, func(t *testing.T, w *world) {
		ctx, c := t.Context(), w.admin()
		before, err := w.db.Catalog(ctx)
		require.NoError(t, err)
		silver, err := c.PutPlanWithResponse(ctx, "silver", nil, client.PlanChange{
			Rank: 15, Grace: "2d", Cancel: client.OnCancelNow, Tags: []string{"plan:silver"},
		})
		require.NoError(t, err)
		require.NotNil(t, silver.JSON201)
		assert.Equal(t, client.Reject, silver.JSON201.OnLimit, "with its defaults")
		assert.Equal(t, client.OnCancelNow, silver.JSON201.Cancel)
		movie, err := c.PutStreamWithResponse(ctx, "movie", nil, client.StreamChange{
			Access: client.AccessEntitled, Plans: []string{"gold", "silver"}, DenyAddresses: []string{"203.0.113.0/24"},
		})
		require.NoError(t, err)
		assert.Equal(t, `"3"`, movie.HTTPResponse.Header.Get("ETag"))
		same, err := c.PutStreamWithResponse(ctx, "movie", nil, client.StreamChange{
			Access: client.AccessEntitled, Plans: []string{"gold", "silver"}, DenyAddresses: []string{"203.0.113.0/24"},
		})
		require.NoError(t, err)
		assert.Equal(t, `"3"`, same.HTTPResponse.Header.Get("ETag"), "the same again is no change")
		_, err = c.PutStreamWithResponse(ctx, "live+a, b/c", nil, client.StreamChange{Access: client.AccessPublic})
		require.NoError(t, err)
		read, err := c.GetStreamWithResponse(ctx, "live+a, b/c")
		require.NoError(t, err)
		assert.Equal(t, "live+a, b/c", read.JSON200.Match)
		_, err = c.RemoveStreamWithResponse(ctx, "live+a, b/c", nil)
		require.NoError(t, err)
		_, err = c.RemovePlanWithResponse(ctx, "silver", nil)
		p := refused(t, err, client.ProblemImpossible)
		assert.Equal(t, "streams[1].plans[1]", p.Errors[0].Field)
		_, err = c.PutStreamWithResponse(ctx, "movie", nil, client.StreamChange{Access: client.AccessEntitled, Plans: []string{"gold"}})
		require.NoError(t, err)
		_, err = c.RemovePlanWithResponse(ctx, "silver", nil)
		require.NoError(t, err)
		after, err := w.db.Catalog(ctx)
		require.NoError(t, err)
		assert.Equal(t, before.JWT, after.JWT)
		after.Version = before.Version
		assert.Equal(t, before, after)
	})
}

func TestExplain(t *testing.T) {
	everyStore(t, func(t *testing.T, w *world) {
		ctx, c := t.Context(), w.admin()
		w.user("alice")
		key, err := c.AddCredentialWithResponse(ctx, "alice", client.CredentialRequest{})
		require.NoError(t, err)
		explain := func(r client.ExplainRequest) *client.Explanation {
			a, err := c.ExplainWithResponse(ctx, r)
			require.NoError(t, err)
			assert.NotContains(t, string(a.Body), key.JSON201.Token)
			require.NotEmpty(t, a.JSON200.Findings)
			return a.JSON200
		}
		movie := client.ExplainRequest{Stream: "movie", Address: "192.0.2.1", Token: key.JSON201.Token}
		assert.Equal(t, client.ReasonPaymentRequired, explain(movie).Reason)
		_, err = c.AddEntitlementWithResponse(ctx, "alice", client.EntitlementRequest{Plan: "gold", From: noon})
		require.NoError(t, err)
		for range 3 { // no place is taken
			d := explain(movie)
			assert.Equal(t, client.ReasonEntitled, d.Reason)
			assert.Equal(t, "gold", d.Plan)
			assert.Equal(t, key.JSON201.ID, d.Credential)
			assert.Contains(t, d.Findings[len(d.Findings)-1].Detail, "0 other sessions")
		}
		movie.At = noon.Add(-1)
		assert.Equal(t, client.ReasonEntitlementNotStarted, explain(movie).Reason)
		movie.Publish = true
		assert.Equal(t, client.ReasonPublisherDenied, explain(movie).Reason)

		recorded, err := recording.Read("USER_NEW")
		require.NoError(t, err)
		asked := client.ExplainRequest{Trigger: client.RecordedTrigger{Type: client.USERNEW, Body: string(recorded.Body)}}
		assert.Equal(t, client.ReasonPublic, explain(asked).Reason)
		asked.Trigger.Body = "extra\nnowhere"
		broken := explain(asked)
		assert.Equal(t, client.ReasonPayloadInvalid, broken.Reason)
		assert.Contains(t, broken.Findings[0].Detail, "USER_NEW", "it says what is wrong")
	})
}
