// Package webhook is the edge: what comes in over HTTP and over the Unix socket, and what goes back.
//
// It reads a trigger, hands the question to package policy and answers in MistServer's words. It decides nothing itself,
// and never answers a deny with anything but 200: any other status makes MistServer use the trigger's own default, which
// is to allow. Credentials and whole URLs go no further than this package: not into a log, an error or a metric.
package webhook
