package bench

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"golang.org/x/sync/errgroup"

	"authhook/internal/webhook"
)

// BareChi is the reference for everything that answers: a chi handler that reads the body and answers true.
func BareChi() http.Handler {
	r := chi.NewRouter()
	r.Post("/trigger", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		_, _ = io.WriteString(w, "true")
	})
	r.Get("/readyz", func(http.ResponseWriter, *http.Request) {})
	return r
}

// ServeReference serves [BareChi] with the settings of authhook's own server, on a TCP address and on a Unix socket, until the
// context ends.
func ServeReference(ctx context.Context, address, socket string) error {
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = tcp.Close() }()
	unix, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server := webhook.NewServer(BareChi(), slog.New(slog.DiscardHandler))
	group, ctx := errgroup.WithContext(ctx)
	for _, l := range []net.Listener{tcp, unix} {
		group.Go(func() error {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	group.Go(func() error {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if server.Shutdown(last) != nil {
			_ = server.Close()
		}
		return nil
	})
	return group.Wait()
}
