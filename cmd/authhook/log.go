package main

import (
	"io"
	"log/slog"

	"authhook/internal/logline"
)

// newLog is the log of a service, at a level and in a format by their names. Flush writes what is gathered at the end.
func newLog(w io.Writer, level, format string) (log *slog.Logger, flush func()) {
	if format == "json" {
		return logline.New(w, logLevels[level], logline.JSON)
	}
	return logline.New(w, logLevels[level], logline.Text)
}
