package guard

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"authhook/internal/mist/api"
)

// Keys are what MistServer itself lets in by, without a trigger. The keys themselves are not kept.
type Keys struct {
	// Watch and Publish count the JWKs whose JWTs permit watching and publishing (source).
	Watch, Publish int
	// Streams are those that a stream key publishes to, one for each key.
	Streams []string
}

// readKeys asks for them. A build that knows none of these calls has none of these keys.
func readKeys(ctx context.Context, c *api.Client) Keys {
	// A value that is neither a list nor an object only asks (source).
	reply, err := c.Do(ctx, map[string]any{"jwks": true, "streamkeys": true})
	if err != nil {
		return Keys{}
	}
	return parseKeys(reply)
}

func parseKeys(reply json.RawMessage) Keys {
	var r struct {
		JWKs       []json.RawMessage          `json:"jwks"`
		StreamKeys map[string]json.RawMessage `json:"streamkeys"`
	}
	var members map[string]json.RawMessage
	_ = json.Unmarshal(reply, &members)
	_ = json.Unmarshal(members["jwks"], &r.JWKs)
	_ = json.Unmarshal(members["streamkeys"], &r.StreamKeys)
	var k Keys
	for _, raw := range r.JWKs {
		may := permissions(raw)
		if may("output") {
			k.Watch++
		}
		if may("input") {
			k.Publish++
		}
	}
	for _, key := range slices.Sorted(maps.Keys(r.StreamKeys)) {
		var stream string
		_ = json.Unmarshal(r.StreamKeys[key], &stream)
		k.Streams = append(k.Streams, stream)
	}
	slices.Sort(k.Streams)
	return k
}

// permissions are those of an entry: a key, or a URL where keys are, with permissions behind it in a list. What is not
// forbidden counts as permitted.
func permissions(raw json.RawMessage) func(string) bool {
	var entry []json.RawMessage
	var perms map[string]json.RawMessage
	if json.Unmarshal(raw, &entry) == nil && len(entry) > 1 {
		_ = json.Unmarshal(entry[1], &perms)
	}
	return func(name string) bool {
		switch string(perms[name]) {
		case "false", "0", `""`, `"0"`, `"false"`:
			return false
		}
		return true
	}
}

// ownKeys: who has a JWT that MistServer itself accepts is not asked about.
func ownKeys(o *Observation) []Finding {
	var found []Finding
	remedy := "take it out of MistServer (API call deletejwks), and verify JWTs with authhook: their keys belong under jwt in the catalog"
	if n := o.Keys.Watch; n > 0 {
		found = append(found, Finding{Wrong, "jwk", fmt.Sprintf("%s (jwks) %s: who has a JWT of it watches without USER_NEW being asked, and invalidate_sessions does not end that",
			counted(n, "JSON Web Key of MistServer's own", "JSON Web Keys of MistServer's own"), letsIn(n)), remedy})
	}
	if n := o.Keys.Publish; n > 0 && o.Keys.Watch == 0 {
		found = append(found, Finding{Wrong, "jwk", fmt.Sprintf("%s (jwks) %s: who has a JWT of it publishes, and authhook has no say",
			counted(n, "JSON Web Key of MistServer's own", "JSON Web Keys of MistServer's own"), letsIn(n)), remedy})
	}
	return found
}

// streamKeys: who has one publishes unasked.
func streamKeys(o *Observation) []Finding {
	n := len(o.Keys.Streams)
	if n == 0 {
		return nil
	}
	return []Finding{{Wrong, "stream-key", fmt.Sprintf("%s %s without PUSH_REWRITE and STREAM_PUSH being asked: to %s",
		counted(n, "stream key of MistServer's own", "stream keys of MistServer's own"), map[bool]string{true: "publishes", false: "publish"}[n == 1], someOf(slices.Compact(slices.Clone(o.Keys.Streams)))),
		"take it out of MistServer (API call streamkey_del), and give the publisher a key of authhook's: authhook token USER --publish"}}
}

func letsIn(n int) string {
	if n == 1 {
		return "lets in"
	}
	return "let in"
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
