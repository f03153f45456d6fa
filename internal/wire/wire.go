// Package wire is the framing that authhook-trigger and the service speak over a Unix socket: one [Call] and one answer
// a connection.
//
//	call    "ahC" version(1) size(4)  flags(1) time(8) pid(8)  type uuid instance name default  body
//	answer  "ahA" version(1) size(4)  the answer's bytes
//
// Numbers are big-endian, size counts what follows it, each of the five texts has a length (2) before it, and the body
// is what is left. So the service answers as soon as a call is complete, without waiting for an end of file, and a call
// or an answer that was cut off is never taken for a whole one: an empty answer is an answer, and means something else
// to MistServer than none.
//
// The package only turns values into bytes and back. It does no I/O (package socket serves, authhook-trigger calls), it
// must never panic, whatever bytes it is given, and it must stay small: authhook-trigger links it and starts anew
// for every trigger, so nothing here may need fmt, reflect or net.
package wire

import (
	"errors"
	"time"
)

// Version is the framing's. A program of another version is not understood, and gets no answer.
const Version = 1

// Patience is how long authhook-trigger waits for an answer, from its start. Then it prints MistServer's default. It is longer
// than a decision takes at most, and shorter than the 5 s that MistServer waits for an answer over HTTP: for an executable's it
// waits for 10.
const Patience = 4500 * time.Millisecond

// The limits, in bytes. What is larger is refused before memory is taken for it.
const (
	// MaxField is the most that each text of a call holds.
	MaxField = 1 << 10
	// MaxBody is the most that a call's body holds. See [Call.TooLarge] for what happens to more.
	MaxBody = 64 << 10
	// MaxAnswer is as much as a body, so that a trigger that rewrites a value can always give it back unchanged.
	MaxAnswer = MaxBody
	// MaxCall is the size of the largest call, with its prefix.
	MaxCall = PrefixSize + fixedSize + fields*(2+MaxField) + MaxBody
	// PrefixSize is the size of what stands before every call and answer: see [CallSize] and [AnswerSize].
	PrefixSize = 8
)

// What can be wrong with bytes that should be a call or an answer.
var (
	// ErrForeign: the bytes do not begin as a call or an answer does. Somebody else speaks.
	ErrForeign = errors.New("not spoken by authhook")
	// ErrVersion: authhook-trigger and the service are of different versions.
	ErrVersion = errors.New("another version of authhook's framing")
	// ErrTooLarge: a limit is passed.
	ErrTooLarge = errors.New("larger than authhook's framing permits")
	// ErrMalformed: the parts do not fit into the whole.
	ErrMalformed = errors.New("malformed call")
)

const (
	callMagic   = "ahC"
	answerMagic = "ahA"
)

// appendPrefix appends what stands before size bytes.
func appendPrefix(dst []byte, magic string, size int) []byte {
	dst = append(dst, magic...)
	return append(dst, Version, byte(size>>24), byte(size>>16), byte(size>>8), byte(size))
}

// sizeAfter is how many bytes follow a prefix.
func sizeAfter(prefix []byte, magic string, most int) (int, error) {
	if len(prefix) < PrefixSize || string(prefix[:len(magic)]) != magic {
		return 0, ErrForeign
	}
	if prefix[len(magic)] != Version {
		return 0, ErrVersion
	}
	s := prefix[PrefixSize-4 : PrefixSize]
	size := uint32(s[0])<<24 | uint32(s[1])<<16 | uint32(s[2])<<8 | uint32(s[3])
	if size > uint32(most) {
		return 0, ErrTooLarge
	}
	return int(size), nil
}
