// Package enforce holds live sessions to the decisions about them.
//
// An answer, once given, is held to be true only while it is true. The store says who should be watching; each node's own
// list of sessions says who is. The [Enforcer] compares the two and acts on the difference, and there is no second
// mechanism: lost datagrams, lost triggers, crashes and restarts on either side heal by the same comparison. Three clocks
// make it look: a change of facts (at once), a deadline (to the moment at which a decision stops holding), and a sweep
// over everything (every few seconds).
//
// What it brings about, one session at a time: a live session that is no longer allowed is revoked, a remembered denial of
// one that is allowed now is unlocked, tags are added, a viewer whose plan gives another rendition is bounced. "Sent" is
// never "done": MistServer's replies mean only "received", so a command is repeated until the list shows its effect.
//
// Every session that was decided about is also written to the store, off the answer's path and in batches ([Writer]), so
// that what is known survives a restart.
//
// It must never make an answer wait, never end a session because facts cannot be read (an outage is no verdict), never
// lose the end of a session that it was told of, and never chase what it cannot know: a live session that nobody decided
// about is asked about again once, and then counted.
//
// How MistServer behaves is measured: comments name the fact where the code needs it.
package enforce
