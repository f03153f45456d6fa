// Package enforce holds live sessions to the decisions about them.
//
// Today it keeps the registry: every session that was decided about is written to the store, off the answer's path and
// in batches, so that what is known survives a restart. It must never make an answer wait, and never lose the end of a
// session that it was told of: what could not be written is kept and written when the store is back.
package enforce
