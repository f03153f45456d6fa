// Package mist speaks MistServer's language: which triggers there are and how each is answered, what their payloads
// say, and how a viewer's session id is made.
//
// Half of what a payload holds was chosen by a stranger: the token, the request URL, and after the + of a wildcard even
// the stream's name (source). All of them may hold line breaks, and line breaks are what separates parameters. So the
// package never believes a position that a stranger could have moved: it reads each payload from the ends that
// MistServer itself writes, and [UserNew.SessionIDMatches] holds the result against the session id, which MistServer
// made from the true parameters.
//
// It must never trim a payload, never guess at one that is malformed, and never put a payload's content into an error:
// tokens and URLs are secrets. What it returns may be any bytes, not only UTF-8.
//
// Its facts come from a real MistServer 3.10: the package recording holds its requests exactly as it sent them, and the
// comments name those which show a fact. Where MistServer's public source is the witness, they say (source).
//
// It imports nothing of authhook's.
package mist
