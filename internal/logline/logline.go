// Package logline writes a service's log: the lines that log/slog's own handlers write, byte for byte, a plain one in a
// fraction of the time, and many with one write.
//
// It must never write a line other than slog would: what is not plain is left to slog's handler. It keeps nothing of a line
// once it is written.
package logline

import (
	"bytes"
	"io"
	"log/slog"
)

// Format is the form of lines.
type Format uint8

// The formats.
const (
	Text Format = iota // as slog.TextHandler writes
	JSON               // as slog.JSONHandler writes
)

// New is a log that writes lines of a level and above to w, each within a tenth of a second. Nobody waits for w: where it takes
// nothing, what is beyond 256 KiB is dropped, and where it fails, what was to be written; a line says later how many. Flush writes what is gathered
// and ends the gathering; a line after that is kept and never written.
func New(w io.Writer, level slog.Level, format Format) (log *slog.Logger, flush func()) {
	lines := gather(w, func(dropped int) []byte {
		var b bytes.Buffer
		slog.New(newHandler(&b, level, format)).Warn("the log could not be written: lines are missing", "lines", dropped)
		return b.Bytes()
	})
	return slog.New(newHandler(lines, level, format)), lines.close
}
