package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"authhook/internal/store"
)

func TestSessionSubject(t *testing.T) {
	require.Equal(t, "5a edge 1", store.SessionSubject("edge 1", "5a"))
	for subject, want := range map[string]struct {
		node, id string
		ok       bool
	}{
		"5a edge-1": {"edge-1", "5a", true}, "5a edge 1 ": {"edge 1 ", "5a", true}, "5a ": {"", "5a", true},
		"": {}, "5a": {}, " edge-1": {}, " ": {},
	} {
		node, id, ok := store.ParseSessionSubject(subject)
		require.Equal(t, want.ok, ok, "%q", subject)
		require.Equal(t, want.node, node, "%q", subject)
		require.Equal(t, want.id, id, "%q", subject)
	}
	rapid.Check(t, func(t *rapid.T) {
		wantNode, wantID := rapid.String().Draw(t, "node"), rapid.StringMatching(`[^ ]+`).Draw(t, "id")
		node, id, ok := store.ParseSessionSubject(store.SessionSubject(wantNode, wantID))
		if !ok || node != wantNode || id != wantID {
			t.Fatalf("%q, %q, %v", node, id, ok)
		}
	})
}
