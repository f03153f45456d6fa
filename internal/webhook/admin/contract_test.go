package admin_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook"
	"authhook/internal/billing/events"
	"authhook/internal/catalog"
	"authhook/internal/mist"
	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/webhook"
)

func typeOf(name string) mist.Type { return mist.Type(name) }

var document = sync.OnceValues(func() (*openapi3.T, error) {
	return openapi3.NewLoader().LoadFromData(authhook.OpenAPI)
})

func contract(t testing.TB) *openapi3.T {
	t.Helper()
	doc, err := document()
	require.NoError(t, err)
	return doc
}

// operation finds a request's operation in the contract, in another way than the service does.
func operation(doc *openapi3.T, r *http.Request) (*routers.Route, map[string]string) {
	for path, item := range doc.Paths.Map() {
		op := item.GetOperation(r.Method)
		if vars, ok := matchPath(path, r.URL.EscapedPath()); ok && op != nil {
			return &routers.Route{Spec: doc, Path: path, PathItem: item, Method: r.Method, Operation: op}, vars
		}
	}
	return nil, nil
}

func matchPath(pattern, path string) (vars map[string]string, ok bool) {
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return nil, false
	}
	vars = map[string]string{}
	for i := range want {
		value, err := url.PathUnescape(have[i])
		name, isVar := strings.CutPrefix(want[i], "{")
		switch {
		case err != nil, isVar && value == "", !isVar && want[i] != have[i]:
			return nil, false
		case isVar:
			vars[strings.TrimSuffix(name, "}")] = value
		}
	}
	return vars, true
}

// underContract holds every request and every answer against openapi.yaml: what is answered is documented, and what is
// done fits what may be asked.
func underContract(t *testing.T, next http.Handler) http.Handler {
	doc := contract(t)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		asked := r.Clone(r.Context())
		asked.Body = io.NopCloser(bytes.NewReader(body))
		recorder := httptest.NewRecorder()
		next.ServeHTTP(recorder, r)
		a := recorder.Result()

		route, vars := operation(doc, asked)
		if route == nil { // nothing of the contract: any operation's problem will do
			route = &routers.Route{Spec: doc, PathItem: &openapi3.PathItem{}, Operation: doc.Paths.Find("/api/v1/users").Get}
			assert.GreaterOrEqual(t, a.StatusCode, 400, "%s %s is not in the contract", r.Method, r.URL)
		}
		input := &openapi3filter.RequestValidationInput{
			Request: asked, PathParams: vars, Route: route,
			Options: &openapi3filter.Options{
				AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, SkipSettingDefaults: true,
			},
		}
		if a.StatusCode < 400 {
			assert.NoError(t, openapi3filter.ValidateRequest(asked.Context(), input), "%s %s", r.Method, r.URL)
		}
		assert.NoError(t, openapi3filter.ValidateResponse(asked.Context(), &openapi3filter.ResponseValidationInput{
			RequestValidationInput: input, Status: a.StatusCode, Header: a.Header,
			Body: io.NopCloser(bytes.NewReader(recorder.Body.Bytes())), Options: input.Options,
		}), "%s %s: %d %s", r.Method, r.URL, a.StatusCode, recorder.Body)
		maps.Copy(w.Header(), a.Header)
		w.WriteHeader(a.StatusCode)
		_, _ = w.Write(recorder.Body.Bytes())
	})
}

func TestTheContractIsGood(t *testing.T) {
	require.NoError(t, contract(t).Validate(t.Context(), openapi3.EnableExamplesValidation()))
}

// Every route is in the contract, and everything in the contract is served.
func TestRoutesAndContractAreTheSame(t *testing.T) {
	w := newWorld(t, openSQLite(t))
	edge := webhook.NewHandler(webhook.NewTriggers(w.decider, nobody{}, webhook.NewMetrics(), w.options.Log,
		webhook.TriggerOptions{}), webhook.NewMetrics(), webhook.HandlerOptions{API: w.api})
	var served []string
	for _, routes := range []chi.Routes{w.api.Routes(), edge.Routes()} {
		require.NoError(t, chi.Walk(routes, func(method, path string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
			if path != "/api/*" {
				served = append(served, method+" "+path)
			}
			return nil
		}))
	}
	served = append(served, "POST /trigger", "POST /trigger/{key}", // past the router: TestTriggers and TestBillingAnswers of
		"POST /billing/events", "POST /billing/stripe", "POST /billing/paddle", "POST /billing/{name}") // package webhook
	var written []string
	for path, item := range contract(t).Paths.Map() {
		for method := range item.Operations() {
			written = append(written, method+" "+path)
		}
	}
	slices.Sort(served)
	slices.Sort(written)
	assert.Equal(t, written, served)
}

func TestTheContractKnowsEveryWord(t *testing.T) {
	words := func(schema *openapi3.Schema) (list []string) {
		for _, word := range schema.Enum {
			list = append(list, word.(string))
		}
		return list
	}
	schemas := contract(t).Components.Schemas
	var reasons []string
	for _, r := range policy.Reasons() {
		reasons = append(reasons, r.String())
	}
	assert.Equal(t, reasons, words(schemas["Reason"].Value))
	for _, word := range words(schemas["RecordedTrigger"].Value.Properties["type"].Value) {
		assert.True(t, mist.Known(mist.Type(word)), word)
	}
}

// The catalog's own schema and the contract's have the same fields, but for the references to secrets.
func TestTheContractHasEveryFieldOfTheCatalog(t *testing.T) {
	var own struct {
		Properties map[string]any
		Defs       map[string]struct{ Properties map[string]any } `json:"$defs"`
	}
	require.NoError(t, json.Unmarshal(catalog.Schema(), &own))
	schemas := contract(t).Components.Schemas
	same := func(name string, want map[string]any) {
		have := slices.Sorted(maps.Keys(schemas[name].Value.Properties))
		wanted := slices.DeleteFunc(slices.Sorted(maps.Keys(want)), func(f string) bool { return f == "secret_env" || f == "secret_file" })
		assert.Equal(t, wanted, have, name)
	}
	same("Catalog", own.Properties)
	for ours, theirs := range map[string]string{
		"Plan": "plan", "PlanChange": "plan", "Stream": "stream", "StreamChange": "stream", "Price": "price", "Window": "window",
		"JWT": "jwt", "JWTKey": "jwtKey",
	} {
		same(ours, own.Defs[theirs].Properties)
	}
}

// What the contract says of the operator's own events is what is read: its examples say something, and each type, status and
// answer has the words that authhook has.
func TestTheContractKnowsOwnEvents(t *testing.T) {
	schemas := contract(t).Components.Schemas
	own := schemas["OwnEvent"].Value
	assert.Len(t, own.OneOf, len(events.Types))
	for _, kind := range events.Types {
		ref := own.Discriminator.Mapping[string(kind)].Ref
		schema := schemas[strings.TrimPrefix(ref, "#/components/schemas/")].Value
		require.NotNil(t, schema, kind)
		assert.Equal(t, []any{string(kind)}, schema.Properties["type"].Value.Enum)
		example, err := json.Marshal(schema.Example)
		require.NoError(t, err)
		records, err := new(events.Provider).Records(example)
		assert.NoError(t, err, kind)
		assert.NotEmpty(t, records, kind)
		for _, field := range schema.Properties["data"].Value.Required {
			var without struct {
				Type      string         `json:"type"`
				Timestamp string         `json:"timestamp"`
				Data      map[string]any `json:"data"`
			}
			require.NoError(t, json.Unmarshal(example, &without))
			delete(without.Data, field)
			text, err := json.Marshal(without)
			require.NoError(t, err)
			_, err = new(events.Provider).Records(text)
			assert.ErrorContains(t, err, field, "%s needs it", kind)
		}
	}
	var statuses []string
	for _, word := range schemas["SubscriptionChanged"].Value.Properties["data"].Value.Properties["status"].Value.Enum {
		statuses = append(statuses, word.(string))
	}
	assert.ElementsMatch(t, slices.Collect(maps.Keys(events.Statuses)), statuses)
	var states []store.EventState
	for _, word := range schemas["EventState"].Value.Enum {
		states = append(states, store.EventState(word.(string)))
	}
	assert.Equal(t, store.AllEventStates, states)
}
