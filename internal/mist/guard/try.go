package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	neturl "net/url"
	"os"
	"strings"
	"time"
)

// Result is what became of trying a handler.
type Result uint8

// The results.
const (
	// NotTried: from here it cannot be told.
	NotTried Result = iota
	// Answers: it is authhook, and takes the key.
	Answers
	// Unreachable: nobody answers.
	Unreachable
	// NotAuthhook: somebody else answers.
	NotAuthhook
	// KeyRefused: it is authhook, and the key is missing or another one: it denies everybody.
	KeyRefused
	// NoProgram: there is no such program.
	NoProgram
)

// Tried is a result, and its cause in words that hold no secret.
type Tried struct {
	Result Result
	Cause  string
}

const (
	// tryTime is how long a handler may take.
	tryTime = 3 * time.Second
	// tryType is a trigger type that no MistServer has and nothing is decided about: authhook answers true to what it does
	// not know, and says in a header of its own when the key is wrong.
	tryType       = "AUTHHOOK_DOCTOR"
	problemHeader = "X-Authhook-Problem"
	keyWrong      = "key_wrong"
	longestAnswer = 64
)

// Try says whether authhook is behind a handler. Nothing is decided by it. local says that MistServer is on this machine: a
// loopback address or a program of another one is not tried.
func Try(ctx context.Context, handler string, local bool) Tried {
	if !isURL(handler) {
		if !local {
			return Tried{NotTried, "a program of another machine"}
		}
		return tryProgram(handler)
	}
	base, _, ok := split(handler)
	u, err := neturl.Parse(handler)
	if !ok || err != nil {
		return Tried{NotTried, "not a trigger URL"}
	}
	if !local && loopback(u.Hostname()) {
		return Tried{NotTried, "an address of another machine's own"}
	}
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true}, // without a proxy, as MistServer
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return tryURL(ctx, client, strings.TrimSuffix(base, endpoint), handler)
}

func tryURL(ctx context.Context, client *http.Client, base, handler string) Tried {
	_, status, body, err := ask(ctx, client, http.MethodGet, base+"/healthz")
	if err != nil {
		return Tried{Unreachable, err.Error()}
	}
	if status != http.StatusOK || strings.TrimSpace(body) != "ok" {
		return Tried{NotAuthhook, fmt.Sprintf("/healthz answers %d", status)}
	}
	header, status, body, err := ask(ctx, client, http.MethodPost, handler)
	switch {
	case err != nil:
		return Tried{Unreachable, err.Error()}
	case header.Get(problemHeader) == keyWrong, status == http.StatusUnauthorized, status == http.StatusForbidden:
		return Tried{Result: KeyRefused}
	case status != http.StatusOK || body != "true":
		return Tried{NotAuthhook, fmt.Sprintf("a trigger is answered with %d", status)}
	}
	return Tried{Result: Answers}
}

// ask makes one request. Its error quotes no URL.
func ask(ctx context.Context, client *http.Client, method, url string) (http.Header, int, string, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return nil, 0, "", errors.New("not a URL that can be asked")
	}
	r.Header.Set("X-Trigger", tryType)
	answer, err := client.Do(r)
	if err != nil {
		var outer *neturl.Error
		if errors.As(err, &outer) {
			err = outer.Err
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %s", tryTime)
		}
		return nil, 0, "", err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, longestAnswer))
	return answer.Header, answer.StatusCode, string(body), err
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

func tryProgram(path string) Tried {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return Tried{NoProgram, "there is no such file"}
	case err != nil:
		return Tried{NotTried, "it cannot be looked at from here"}
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return Tried{NoProgram, "it is not executable"}
	}
	return Tried{Result: Answers}
}

// Finding is what the result means, if that is worth a word. local is as in [Try].
func (t Tried) Finding(handler string, local bool) (Finding, bool) {
	name := Redact(handler)
	switch t.Result {
	case Unreachable:
		severity, from := Wrong, ""
		if !local {
			severity, from = Warning, " from here"
		}
		return Finding{severity, "handler-away", fmt.Sprintf("nobody answers at %s%s: %s", name, from, t.Cause),
			"start authhook serve there, or install the handler where it answers: authhook mist install --handler …"}, true
	case NotAuthhook:
		return Finding{Wrong, "handler-other", fmt.Sprintf("it is not authhook that answers at %s: %s", name, t.Cause),
			"install the handler where authhook serve answers: authhook mist install --handler …"}, true
	case KeyRefused:
		return Finding{Wrong, "handler-key", fmt.Sprintf("authhook at %s refuses the trigger key: it denies everybody", name),
			"install it with the key that authhook serve has: authhook mist install --trigger-key-file …"}, true
	case NoProgram:
		return Finding{Warning, "handler-program", fmt.Sprintf("the handler %s cannot be run from here: %s", name, t.Cause),
			"put authhook-trigger there, where MistServer's user can run it; nothing is wrong where MistServer sees other files, as in a container"}, true
	case NotTried:
		return Finding{Note, "handler-not-tried", fmt.Sprintf("the handler %s was not tried: %s", name, t.Cause), "run authhook mist doctor on MistServer's machine"}, true
	}
	return Finding{}, false
}
