package catalog_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"authhook/internal/catalog"
	"authhook/internal/policy"
)

func compiled(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(catalog.Schema()))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	require.NoError(t, c.AddResource("urn:authhook:catalog", doc))
	s, err := c.Compile("urn:authhook:catalog")
	require.NoError(t, err)
	return s
}

// asJSON is a document as a schema sees it: YAML's times are texts there.
func asJSON(t testing.TB, data []byte) (any, bool) {
	t.Helper()
	var doc yaml.Node
	if yaml.Unmarshal(data, &doc) != nil || len(doc.Content) == 0 {
		return nil, false
	}
	return nodeAsJSON(t, doc.Content[0]), true
}

func nodeAsJSON(t testing.TB, n *yaml.Node) any {
	t.Helper()
	switch n.Kind {
	case yaml.AliasNode:
		return nodeAsJSON(t, n.Alias)
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			m[n.Content[i].Value] = nodeAsJSON(t, n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		list := []any{}
		for _, item := range n.Content {
			list = append(list, nodeAsJSON(t, item))
		}
		return list
	}
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return n.Value == "true"
	case "!!int", "!!float":
		if json.Valid([]byte(n.Value)) {
			return json.Number(n.Value)
		}
	}
	return n.Value
}

// A document is right under the schema exactly when Parse accepts it, except for what a schema cannot say.
func TestSchemaAgreesWithParse(t *testing.T) {
	const pem = `"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n"`
	const secret = "0123456789abcdef0123456789abcdef"
	const (
		good      = iota // right under both
		bad              // wrong under both
		parseOnly        // wrong, but a schema cannot say it
	)
	plan := func(fields string) string { return "streams: []\nplans: [{key: gold, " + fields + "}]" }
	stream := func(fields string) string {
		return "plans: [{key: gold}]\nstreams: [{match: movie, access: entitled, tags: [t], " + fields + "}]"
	}
	match := func(m string) string { return "streams: [{access: public, match: " + m + "}]" }
	window := func(fields string) string { return stream("windows: [{" + fields + "}]") }
	price := func(fields string) string {
		return stream("") + "\nprices: [{provider: stripe, price: a, " + fields + "}]"
	}
	key := func(fields string) string { return "streams: []\njwt: {keys: [{" + fields + "}]}" }
	jwks := func(url string) string { return "streams: []\njwt: {jwks_url: \"" + url + "\"}" }

	schema := compiled(t)
	for _, tt := range []struct {
		doc     string
		verdict int
	}{
		{"{}", bad}, {"[]", bad}, {"streams: []", good}, {"streams: {}", bad}, {"streams: []\nfoo: 1", bad},
		{"streams: []\nplans: null", bad}, {"streams: []\n$schema: x", good}, {"streams: []\njwt: {}", good},

		{"streams: []\nplans: [{}]", bad}, {"streams: []\nplans: [{key: 1}]", bad}, {"streams: []\nplans: [{key: a b}]", bad},
		{"streams: []\nplans: [{key: a}, {key: a}]", parseOnly},
		{"streams: []\nplans: [{key: .}]", bad}, {"streams: []\nplans: [{key: '..'}]", bad}, {"streams: []\nplans: [{key: ...}]", good},
		{"streams: []\nplans: [{key: " + strings.Repeat("a", 128) + "}]", good},
		{"streams: []\nplans: [{key: " + strings.Repeat("a", 129) + "}]", bad},
		{plan("rank: 1"), good}, {plan("rank: -1"), bad}, {plan("rank: '1'"), bad}, {plan("rank: 1.5"), bad}, {plan("rnk: 1"), bad},
		{plan("max_concurrent: 0"), good}, {plan("max_concurrent: -1"), bad}, {plan("max_concurrent: 2147483648"), bad},
		{plan("quota_minutes: 2147483647"), good}, {plan("quota_minutes: -1"), bad},
		{plan("on_limit: kick_oldest"), good}, {plan("on_limit: kick"), bad},
		{plan("refund: keep"), good}, {plan("refund: hold"), bad}, {plan("dispute: void"), good}, {plan("dispute: x"), bad},
		{plan("cancel: now"), good}, {plan("cancel: period_end"), good}, {plan("cancel: keep"), bad}, {plan("cancel: ''"), bad},
		{plan("cancel: null"), bad}, {plan("cancel: [now]"), bad}, {plan("cancel: Now"), bad},
		{plan("grace: 0s"), good}, {plan("grace: 72h"), good}, {plan("grace: 1h30m"), good}, {plan("grace: 1.5d"), good},
		{plan("grace: 250µs"), good}, {plan("grace: 72"), bad}, {plan("grace: '72'"), bad}, {plan("grace: -72h"), bad},
		{plan("grace: 1d12h"), bad}, {plan("grace: Infd"), bad}, {plan("grace: 36501d"), parseOnly},
		{plan("bounce: true"), good}, {plan("bounce: false"), good}, {plan("bounce: 'true'"), bad}, {plan("bounce: 1"), bad},
		{plan("bounce: yes"), bad}, {plan("bounce: null"), bad}, {plan("bounce: [true]"), bad},
		{plan("tags: [a, b]"), good}, {plan("tags: [a, a]"), bad}, {plan("tags: a"), bad}, {plan("tags: ['a[']"), bad},
		{plan("tags: ['']"), bad}, {plan(`tags: ["a\u200bb"]`), bad},

		{"streams: [{match: a}]", bad}, {"streams: [{access: public}]", bad}, {match("movie"), good}, {match("''"), bad},
		{match("."), bad}, {match(".."), bad}, {match("'...'"), good}, {match(".*"), good}, {match("..+a"), good},
		{match("'*'"), good}, {match("live+*"), good}, {match("live+"), good}, {match("live+Ein Stück"), good},
		{match("'*a'"), bad}, {match("a*b"), bad}, {match("a**"), bad}, {match("'live+ a'"), good}, {match("'live+a '"), bad},
		{match("'live+a *'"), good}, {match(`"live+\u00a0a"`), bad}, {match("Movie"), bad}, {match("a b"), bad}, {match("a/b"), bad}, {match("+a"), bad},
		{match(`"a\n"`), bad}, {match(`"live+\u2028x"`), bad}, {match("a" + strings.Repeat("b", 255)), good},
		{match("a" + strings.Repeat("b", 256)), bad}, {match("a+" + strings.Repeat("ü", 200)), parseOnly},
		{"streams: [{match: a, access: public}, {match: a, access: closed}]", parseOnly},
		{stream("plans: [gold]"), good}, {stream("plans: [gold, gold]"), bad}, {stream("plans: [silver]"), parseOnly},
		{stream("preview: 0s"), good}, {stream("preview: 60"), bad}, {stream("preview_every: 30d"), good},
		{stream("preview_every: 0s"), bad}, {stream("preview_every: 0.0h0m"), bad},
		{stream("allow_addresses: [10.0.0.0/8, '2001:db8::/32', 192.0.2.1, '::1', '::ffff:192.0.2.9']"), good},
		{stream("allow_addresses: [10.0.0.0/33]"), bad}, {stream("allow_addresses: [example.com]"), bad},
		{stream("allow_addresses: ['fe80::1%eth0']"), bad}, {stream("allow_addresses: [10.0.0.0/08]"), bad},
		{stream("deny_addresses: [10.0.0.1/8]"), parseOnly}, {stream("deny_addresses: [10.0.0.1, 10.0.0.1/32]"), parseOnly},
		{stream("deny_addresses: ['::/129']"), bad}, {stream("deny_addresses: 10.0.0.1"), bad},
		{stream("deny_connectors: [HLS]"), good}, {stream("deny_connectors: [HLS, HLS]"), bad}, {stream("deny_connectors: [H LS]"), bad},
		{stream("publish: open"), good}, {stream("publish: public"), bad},
		{stream("renditions: {gold: movie_sd}"), good}, {stream("renditions: {gold: ''}"), bad}, {stream("renditions: {gold: m*}"), bad},
		{stream("renditions: {silver: movie_sd}"), parseOnly}, {stream("renditions: [gold]"), bad},

		{window("from: 2026-12-24T20:00:00Z, until: 2026-12-24T22:00:00+01:30, access: public"), good},
		{window("from: 2026-12-24T20:00:00Z, until: 2026-12-24T22:00:00Z"), bad}, {window("from: 2026-12-24T20:00:00Z, access: public"), bad},
		{window("from: 2026-12-24T20:00:00, until: 2026-12-24T22:00:00Z, access: public"), bad},
		{window("from: 2026-02-30T20:00:00Z, until: 2026-12-24T22:00:00Z, access: public"), bad},
		{window("from: 2026-12-24, until: 2026-12-24T22:00:00Z, access: public"), bad},
		{window("from: 2026-12-24T20:00:00Z, until: 2026-12-24T20:00:00Z, access: public"), parseOnly},
		{window("from: 2026-12-24T20:00:00Z, until: 2026-12-24T22:00:00Z, access: nobody"), bad},
		{window("from: 2026-12-24T20:00:00Z, until: 2026-12-24T22:00:00Z, access: public}, {from: 2026-12-24T21:00:00Z, until: 2026-12-24T22:00:00Z, access: public"), parseOnly},

		{price("plan: gold"), good}, {price("stream: movie"), good}, {price("tag: t"), good}, {price(""), bad},
		{price("plan: gold, tag: t"), bad}, {price("plan: gold, tag: t, stream: movie"), bad}, {price("plan: silver"), parseOnly},
		{price("tag: x"), parseOnly}, {price("stream: other"), parseOnly}, {price("stream: Movie"), bad}, {price("plan: gold, for: 48h"), good},
		{price("plan: gold, for: 0s"), bad}, {price("plan: gold, for: 0"), bad}, {price("plan: gold, amount: 1, currency: usd"), good},
		{price("plan: gold, amount: 1"), bad}, {price("plan: gold, amount: -1, currency: usd"), bad}, {price("plan: gold, currency: usd"), good},
		{price("plan: gold, amount: 1, currency: USD"), bad}, {price("plan: gold, amount: 9007199254740992, currency: usd"), bad},
		{"streams: []\nplans: [{key: a}]\nprices: [{price: a, plan: a}]", bad}, {"streams: []\nplans: [{key: a}]\nprices: [{provider: a, plan: a}]", bad},
		{price("plan: gold}, {provider: stripe, price: a, plan: gold"), parseOnly},

		{jwks("https://id.example.com/a"), good}, {jwks("http://localhost:80/a"), good}, {jwks("http://127.0.0.1/a"), good},
		{jwks("http://[::1]:80/a"), good}, {jwks("HTTPS://id.example.com"), good}, {jwks("http://id.example.com/a"), bad},
		{jwks("http://localhost.example.com/a"), bad}, {jwks("ftp://id.example.com/a"), bad}, {jwks("https://u:p@id.example.com/a"), bad},
		{jwks("https:///a"), parseOnly}, {jwks(""), bad}, {"streams: []\njwt: {issuer: a b, audience: c}", good},
		{"streams: []\njwt: {issuer: ''}", bad}, {"streams: []\njwt: {audience: 1}", bad}, {"streams: []\njwt: {audience: \"a\\nb\"}", bad},
		{key("alg: HS256, secret: " + secret), good}, {key("alg: HS256, secret: short"), bad}, {key("alg: HS256, secret: (redacted)"), bad},
		{key("alg: HS256, secret_env: JWT_SECRET"), good}, {key("alg: HS256, secret_env: 'a b'"), bad}, {key("alg: HS256, secret_env: X"), parseOnly},
		{key("alg: HS256, secret_file: testdata/good/jwt.secret"), good}, {key("alg: HS256, secret_file: ''"), bad},
		{key("alg: HS256, secret_file: nowhere"), parseOnly}, {key("alg: HS256"), bad}, {key("secret: " + secret), bad},
		{key("alg: HS256, secret_env: JWT_SECRET, secret: " + secret), bad}, {key("alg: HS256, public_key: " + pem), bad},
		{key("alg: HS256, secret_env: JWT_SECRET, public_key: " + pem), bad}, {key("alg: none"), bad}, {key("alg: RS256"), bad},
		{key("alg: EdDSA, public_key: " + pem), good}, {key("alg: RS256, public_key: " + pem), parseOnly}, {key("alg: RS256, secret_env: JWT_SECRET"), bad}, {key("alg: ES256, public_key: abc"), bad},
		{key("alg: RS256, secret_env: JWT_SECRET, public_key: " + pem), bad},
		{key("alg: EdDSA, public_key: " + strings.ReplaceAll(pem, "PUBLIC", "PRIVATE")), bad},
		{key("kid: a, alg: EdDSA, public_key: " + pem + "}, {kid: a, alg: EdDSA, public_key: " + pem), parseOnly},
		{key("kid: a b, alg: EdDSA, public_key: " + pem), bad},
	} {
		_, err := catalog.Parse("c", []byte(tt.doc), catalog.WithEnv(environment))
		assert.Equal(t, tt.verdict == good, err == nil, "Parse of\n%s\n%v", tt.doc, err)
		doc, ok := asJSON(t, []byte(tt.doc))
		require.True(t, ok, tt.doc)
		err = schema.Validate(doc)
		assert.Equal(t, tt.verdict != bad, err == nil, "the schema about\n%s\n%v", tt.doc, err)
	}
}

// The documents in testdata and the examples too.
func TestSchemaOfDocuments(t *testing.T) {
	schema := compiled(t)
	good := documents(t, "good")
	examples, err := filepath.Glob("../../examples/*.yaml")
	require.NoError(t, err)
	for _, path := range examples {
		if strings.HasPrefix(filepath.Base(path), "catalog") {
			good[path], err = os.ReadFile(path)
			require.NoError(t, err)
		}
	}
	for path, data := range good {
		doc, ok := asJSON(t, data)
		require.True(t, ok, path)
		assert.NoError(t, schema.Validate(doc), path)
	}
	// What a schema cannot say: a name that is there twice in a mapping, a name that refers to nothing, an endless
	// document, and what YAML alone knows.
	beyond := []string{"duplicate-keys", "unknown-plans", "two-documents", "alias-of-itself"}
	for path, data := range documents(t, "bad") {
		name, _, _ := strings.Cut(filepath.Base(path), ".")
		if strings.HasPrefix(name, "syntax-") || slices.Contains(beyond, name) {
			continue
		}
		if doc, ok := asJSON(t, data); ok {
			assert.Error(t, schema.Validate(doc), path)
		}
	}
}

// The schema has exactly the fields of the policy types, and describes each.
func TestSchemaHasEveryField(t *testing.T) {
	var schema struct {
		Properties map[string]json.RawMessage
		Defs       map[string]struct {
			Properties map[string]json.RawMessage
		} `json:"$defs"`
	}
	require.NoError(t, json.Unmarshal(catalog.Schema(), &schema))
	for _, tt := range []struct {
		policy any
		schema map[string]json.RawMessage
		more   []string // fields of a document that the catalog has under another name, or not at all
	}{
		{policy.Catalog{}, schema.Properties, []string{"$schema"}},
		{policy.Plan{}, schema.Defs["plan"].Properties, nil},
		{policy.StreamPolicy{}, schema.Defs["stream"].Properties, nil},
		{policy.Window{}, schema.Defs["window"].Properties, nil},
		{policy.Price{}, schema.Defs["price"].Properties, nil},
		{policy.JWT{}, schema.Defs["jwt"].Properties, nil},
		{policy.JWTKey{}, schema.Defs["jwtKey"].Properties, []string{"secret_env", "secret_file"}},
	} {
		typ := reflect.TypeOf(tt.policy)
		want := slices.Clone(tt.more)
		for i := range typ.NumField() {
			if tag, ok := typ.Field(i).Tag.Lookup("json"); ok && tag != "-" {
				name, _, _ := strings.Cut(tag, ",")
				want = append(want, name)
			}
		}
		var have []string
		for name, property := range tt.schema {
			have = append(have, name)
			var p struct {
				Description string
				Ref         string `json:"$ref"`
			}
			require.NoError(t, json.Unmarshal(property, &p))
			described := p.Description != "" || p.Ref == "#/$defs/access" || p.Ref == "#/$defs/jwt"
			assert.True(t, described, "%s.%s has no description", typ.Name(), name)
			if typ.Name() != "Catalog" && strings.Contains(string(property), `"default"`) {
				assert.Contains(t, p.Description, "Default: ", "%s.%s", typ.Name(), name)
			}
		}
		assert.ElementsMatch(t, want, have, typ.Name())
	}
}

// Nobody can change the schema for others.
func TestSchemaIsACopy(t *testing.T) {
	clear(catalog.Schema())
	assert.True(t, json.Valid(catalog.Schema()))
}
