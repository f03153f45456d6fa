// Package policy decides who may watch and who may publish.
//
// [Evaluate] is the decision itself: a pure function of a [Request], the [Facts] read for it and a moment. It does no
// I/O and has no clock of its own, so the same question always has the same answer, and what holds at a later moment
// can be asked today. [Decider] puts it to work: it finds the credential in a request, asks a [Source] for facts, takes
// a lease where a plan limits concurrency, and answers the same trigger UUID alike.
//
// The package keeps no verdicts. It must never allow without facts, and it never treats an outage as a verdict: a
// decision that could not be made has the reason [Unavailable].
//
// It imports nothing of authhook's: MistServer's language is spoken by package mist, facts live behind package store.
package policy
