// Package billing turns what billing systems report into the right to watch.
//
// A request is verified over its raw bytes and kept in the inbox before it is answered ([Receiver]). Applying it is
// another matter ([Applier]): the event is read as records ([Provider.Records]), these are joined with what was known of the
// same things ([Record.Join]), and from all records that belong together follows who may watch what ([Derive]). Joining gives
// the same whatever the order and however often, and deriving is a pure function. So any order of the same events, with any
// duplicates, ends in the same access; there is no second mechanism for what comes late.
//
// What the providers' own words mean is read in the packages below it: billing/stripe, billing/paddle, billing/events (our
// own types) and billing/custom (by configuration). The signatures are billing/signature.
package billing
