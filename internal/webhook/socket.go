package webhook

import (
	"context"
	"io/fs"
	"net"

	"authhook/internal/mist"
	"authhook/internal/wire"
	"authhook/internal/wire/socket"
)

// ListenSocket listens on the Unix socket of authhook-trigger. Whoever may open the socket may send triggers: its mode
// is what keeps others out.
func ListenSocket(ctx context.Context, path string, mode fs.FileMode) (net.Listener, error) {
	return socket.Listen(ctx, path, mode)
}

// ServeSocket answers authhook-trigger until the context ends.
func (t *Triggers) ServeSocket(ctx context.Context, l net.Listener) error {
	return socket.Serve(ctx, l, t.answerSocket, socket.Options{OnProblem: func(kind string, err error) {
		t.metrics.socketProblem(kind)
		t.log.Debug("trigger over the socket not answered", "problem", kind, "error", err)
	}})
}

func (t *Triggers) answerSocket(ctx context.Context, w *wire.Call) []byte {
	c := Call{Type: mist.Type(w.Type), UUID: w.UUID, Instance: w.Instance, Name: w.Name, Millis: w.UnixMillis, Body: w.Body}
	switch {
	case w.Type == "":
		c.Problem = TypeMissing
	case w.TooLarge:
		c.Problem = BodyTooLarge
	}
	return []byte(t.Answer(ctx, &c))
}
