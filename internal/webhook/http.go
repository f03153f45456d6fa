package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"

	"authhook/internal/mist"
	"authhook/internal/webhook/console"
	"authhook/internal/webhook/docs"
)

const (
	// MaxBody is the largest trigger body that is read, in bytes. A viewer's URL and token are in it, and MistServer
	// itself takes no longer ones.
	MaxBody = 64 << 10
	// ShortestTriggerKey is how many characters a trigger key has at least.
	ShortestTriggerKey = 16
	// LongestTriggerKey is how many it has at most: MistServer cuts a handler's URL at 127 bytes.
	LongestTriggerKey = 64
	// triggerTime is how long a trigger may take to arrive. MistServer sends it at once, and waits 5 s for an answer.
	triggerTime = 4 * time.Second
	// requestTime is the same of a request that is for people and their programs.
	requestTime = 30 * time.Second
)

// HandlerOptions are the settings of the HTTP edge.
type HandlerOptions struct {
	// TriggerKey is the secret that ends the trigger URL; empty: none is asked for.
	TriggerKey string
	// Ready says what is missing, by part; empty when nothing is.
	Ready func(context.Context) map[string]string
	// API serves what lies below /api/; nil: nothing does.
	API http.Handler
	// Billing serves /billing and what lies below it; nil: nothing does.
	Billing *Billing
}

// Handler is everything that is served over HTTP.
type Handler struct {
	endpoint *triggerEndpoint
	billing  *Billing
	router   *chi.Mux
}

// NewHandler makes a Handler.
func NewHandler(t *Triggers, m *Metrics, o HandlerOptions) *Handler {
	e := &triggerEndpoint{triggers: t, metrics: m, key: sha256.Sum256([]byte(o.TriggerKey)), keyed: o.TriggerKey != ""}
	router := chi.NewRouter()
	router.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n")
	})
	router.Get("/readyz", func(w http.ResponseWriter, r *http.Request) { writeReadiness(w, o.Ready(r.Context())) })
	router.Method(http.MethodGet, "/metrics", m.handler())
	docs.Mount(router)
	console.Mount(router)
	if o.API != nil {
		router.Handle("/api/*", o.API)
	}
	return &Handler{e, o.Billing, router}
}

// ServeHTTP answers a request. Triggers are the one path that is asked thousands of times a second: they go past the
// router. So does billing, whose senders take other answers than the router's for an end of all sending.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if key, ok := below("/trigger", r.URL.Path); ok {
		h.endpoint.serve(w, r, key)
		return
	}
	if name, ok := below("/billing", r.URL.Path); ok && h.billing != nil {
		h.billing.serve(w, r, name)
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(requestTime)) // a recorder of a test has none
	h.router.ServeHTTP(w, r)
}

// below is what a path has below a directory; empty for the directory itself. Steps such as ".." are not taken: they are
// part of what is below.
func below(directory, path string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(path, directory)
	return strings.TrimPrefix(rest, "/"), ok && (rest == "" || rest[0] == '/')
}

// Routes are those of the router, for comparing them with the contract.
func (h *Handler) Routes() chi.Routes { return h.router }

// NewServer is a server with time-outs for each part of a request. A trigger comes over a connection of its own, and is
// answered within MistServer's 5 s or not at all. One time for its header and its body costs one deadline less for each.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:        h,
		ReadTimeout:    triggerTime, // those that may take longer say so
		WriteTimeout:   requestTime,
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 32 << 10,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// triggerEndpoint is POST /trigger.
type triggerEndpoint struct {
	triggers *Triggers
	metrics  *Metrics
	key      [sha256.Size]byte
	keyed    bool
}

// exchange is what a request and its answer need of memory. Nothing of it is kept beyond the answer.
type exchange struct {
	call Call
	body bytes.Buffer
}

// exchanges are kept for the next request.
var exchanges = sync.Pool{New: func() any { return new(exchange) }}

// largestKept is the largest body whose memory is kept, in bytes: most are far below it.
const largestKept = 8 << 10

// release leaves the memory for the next request, and nothing of what was in it.
func (x *exchange) release() {
	if x.body.Cap() > largestKept {
		return
	}
	x.call = Call{}
	x.body.Reset()
	exchanges.Put(x)
}

// serve answers a trigger. What is wrong with the request is answered in MistServer's words too, as a deny where the
// trigger gates: a status other than 2xx would make it use its own default.
func (e *triggerEndpoint) serve(w http.ResponseWriter, r *http.Request, key string) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "MistServer sends its triggers with POST", http.StatusMethodNotAllowed)
		e.metrics.problem(otherType, MethodWrong)
		return
	}
	x := exchanges.Get().(*exchange)
	defer x.release()
	c := &x.call
	c.Type, c.UUID = mist.Type(header(r, "X-Trigger")), header(r, "X-Trigger-Uuid")
	c.Instance, c.Name = header(r, "X-Instance"), header(r, "X-Name")
	if millis, err := strconv.ParseInt(header(r, "X-Trigger-Unixmillis"), 10, 64); err == nil {
		c.Millis = millis
	}
	switch {
	case c.Type == "":
		c.Problem = TypeMissing
	case !e.keyFits(key):
		c.Problem = KeyWrong
	default:
		c.Problem = readBody(r, &x.body)
		c.Body = x.body.Bytes()
	}
	answer := e.triggers.Answer(r.Context(), c)
	if answer != yes && answer != no { // which can be taken for nothing else, and are most of the answers
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	if c.Problem != 0 {
		w.Header().Set("X-Authhook-Problem", c.Problem.String())
	}
	_, _ = io.WriteString(w, answer)
}

// header is the value of a header, by its canonical name.
func header(r *http.Request, canonical string) string {
	if v := r.Header[canonical]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// keyFits compares in a time that says nothing about the key.
func (e *triggerEndpoint) keyFits(key string) bool {
	if !e.keyed {
		return true
	}
	given := sha256.Sum256([]byte(key))
	return subtle.ConstantTimeCompare(given[:], e.key[:]) == 1
}

// readBody reads a trigger's body, within its size.
func readBody(r *http.Request, into *bytes.Buffer) Problem {
	if r.ContentLength > MaxBody {
		return BodyTooLarge
	}
	if err := readAll(r, into); err != nil {
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return BodySlow
		}
		return BodyBroken
	}
	if into.Len() > MaxBody {
		return BodyTooLarge
	}
	return 0
}

// readAll reads a body of known length in one go, and one of unknown length until it is too large.
func readAll(r *http.Request, into *bytes.Buffer) error {
	if r.ContentLength < 0 {
		_, err := into.ReadFrom(io.LimitReader(r.Body, MaxBody+1))
		return err
	}
	into.Grow(int(r.ContentLength))
	body := into.AvailableBuffer()[:r.ContentLength]
	n, err := io.ReadFull(r.Body, body)
	_, _ = into.Write(body[:n])
	return err
}

func writeReadiness(w http.ResponseWriter, missing map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	if len(missing) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(struct {
		Ready   bool              `json:"ready"`
		Missing map[string]string `json:"missing,omitempty"`
	}{len(missing) == 0, missing})
}
