// Package guard looks after the triggers of a MistServer: which should be there so that authhook is asked about every
// viewer and publisher, how they get there beside those of others, and what in a MistServer's configuration lets somebody
// past them.
//
// What should be, what is to change and what is wrong are pure functions of the configuration ([Wanted.Merge],
// [Diagnose]); the rest is the little around them that asks and writes. It must never change an entry of somebody else,
// never write triggers without having read them, since writing replaces all, and never let the key of a trigger URL or the
// text of a key out: handlers are shown by [Redact].
//
// Its facts about MistServer are those of packages mist and api, and where (source) stands, of MistServer's public source.
//
// It imports nothing of authhook's but what lies below internal/mist.
package guard

import (
	"slices"

	"authhook/internal/mist"
	"authhook/internal/mist/api"
)

// Deny is the default that denies, for every type that gates. A rewriting trigger has no default that is empty, which would
// be a denial: MistServer takes none for "true" (source), and a default is always the name that is played or pushed to. So
// it is one that no stream has.
const Deny = "false"

// types are those that authhook decides about or learns from, in the order in which MistServer asks.
var types = [...]mist.Type{
	mist.TypeConnOpen, mist.TypePlayRewrite, mist.TypeUserNew, mist.TypeConnPlay, mist.TypeRTMPPushRewrite,
	mist.TypePushRewrite, mist.TypeStreamPush, mist.TypeUserEnd,
}

// Types are the trigger types that authhook decides about or learns from.
func Types() []mist.Type { return slices.Clone(types[:]) }

// DefaultTypes are those that every MistServer needs: who may watch, whether a connection that joins a session may, who may
// publish, and what was watched.
func DefaultTypes() []mist.Type {
	return []mist.Type{mist.TypeUserNew, mist.TypeConnPlay, mist.TypeStreamPush, mist.TypeUserEnd}
}

// gates says whether the answer to a trigger of the type lets somebody in.
func gates(t mist.Type) bool { return slices.Contains(types[:], t) && t.Answer() != mist.AnswerNone }

// PerStream says whether a list of streams selects for the type. The name is not settled yet when a push is asked about
// for the first time, so MistServer asks about every push (source).
func PerStream(t mist.Type) bool {
	return t != mist.TypePushRewrite && t != mist.TypeRTMPPushRewrite
}

// entry is what should be there for a type.
func entry(t mist.Type, handler string, streams []string) api.Trigger {
	e := api.Trigger{Handler: handler}
	if gates(t) {
		e.Sync, e.Default = true, Deny
	}
	if PerStream(t) {
		e.Streams = slices.Clone(streams)
	}
	return e
}
