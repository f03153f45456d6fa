package api

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	neturl "net/url"
	"strings"
	"sync"
	"time"
)

// maxBody is the longest reply over HTTP that is read, in bytes: four times the list of 100,000 sessions.
const maxBody = 64 << 20

// caller has exchanges over HTTP.
type caller struct {
	endpoint string // without the user
	user     string
	password string // its MD5 in hex, which is what MistServer itself keeps (source)
	timeout  time.Duration
	client   *http.Client

	mu        sync.Mutex
	challenge string // the last one: MistServer's is the same for a day (source)
}

func newCaller(at address, timeout time.Duration) *caller {
	return &caller{
		endpoint: at.String() + apiPath,
		user:     at.user,
		password: hexMD5(at.password),
		timeout:  timeout,
		client: &http.Client{
			// No proxy of the environment: the password is for MistServer alone, and a request that was forwarded is
			// not a local one.
			Transport: &http.Transport{
				DialContext:            (&net.Dialer{Timeout: timeout}).DialContext,
				TLSHandshakeTimeout:    timeout,
				MaxIdleConnsPerHost:    4,
				IdleConnTimeout:        30 * time.Second,
				DisableCompression:     true,
				MaxResponseHeaderBytes: 64 << 10,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// exchange makes calls, a JSON object, and logs in where that is asked for. left is told when a request has left; nil:
// nobody is. The time-out is for everything together.
func (h *caller) exchange(ctx context.Context, calls []byte, left func()) (string, error) {
	limited, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	reply, err := h.logIn(limited, calls, left)
	if err == nil || ctx.Err() == nil && limited.Err() == nil {
		return reply, err
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	return "", fmt.Errorf("%w: no answer within %s", ErrNotReachable, h.timeout)
}

// logIn makes calls together with the answer to the challenge that is known, and once more when there is a new one. From the
// local host MistServer wants no login, and makes the calls at once.
func (h *caller) logIn(ctx context.Context, calls []byte, left func()) (string, error) {
	h.mu.Lock()
	challenge := h.challenge
	h.mu.Unlock()
	for range 3 {
		reply, err := h.post(ctx, h.authorized(calls, challenge), left)
		if err != nil {
			return "", err
		}
		v, err := readVerdict(reply)
		if err != nil {
			return "", err
		}
		switch {
		case v.made:
			return reply, nil
		case v.status == "NOACC":
			return "", fmt.Errorf("%w: MistServer has no account yet, and answers only its own host", ErrLogin)
		case v.status != "CHALL":
			return "", fmt.Errorf("%w: status %.40q", ErrLogin, v.status)
		case h.user == "":
			return "", fmt.Errorf("%w: MistServer asks for a login, and the URL has none", ErrLogin)
		case v.challenge == challenge:
			return "", fmt.Errorf("%w: user or password is wrong", ErrLogin)
		}
		challenge = v.challenge
		h.mu.Lock()
		h.challenge = challenge
		h.mu.Unlock()
	}
	return "", fmt.Errorf("%w: a new challenge each time", ErrLogin)
}

// authorized is the calls with the login in front. With no challenge known the password is empty, which asks for one.
func (h *caller) authorized(calls []byte, challenge string) []byte {
	if h.user == "" {
		return calls
	}
	answer := ""
	if challenge != "" {
		answer = hexMD5(h.password + challenge)
	}
	b := append(make([]byte, 0, len(calls)+128), `{"authorize":{"username":`...)
	b = appendText(b, h.user)
	b = append(b, `,"password":"`...)
	b = append(b, answer...)
	b = append(b, `"}`...)
	if len(calls) > len("{}") {
		b = append(b, ',')
	}
	return append(b, calls[1:]...)
}

func (h *caller) post(ctx context.Context, body []byte, left func()) (string, error) {
	if left != nil {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				left()
			}
		}})
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.endpoint, bytes.NewReader(body))
	if err != nil {
		return "", errURL
	}
	request.Header.Set("Content-Type", "application/json") // exactly: a charset behind it, and MistServer does not read the body (source)
	request.Header["Idempotency-Key"] = nil                // not sent; has a connection that MistServer closed meanwhile tried anew
	response, err := h.client.Do(request)
	if err != nil {
		var outer *neturl.Error // it quotes the URL
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return "", fmt.Errorf("%w: %w", ErrNotReachable, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		_, _ = io.CopyN(io.Discard, response.Body, 4<<10)
		return "", fmt.Errorf("%w: status %d", ErrReply, response.StatusCode)
	}
	var reply strings.Builder
	n, err := io.Copy(&reply, io.LimitReader(response.Body, maxBody+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: cut after %d bytes: %w", ErrNotReachable, n, err)
	case n > maxBody:
		return "", fmt.Errorf("%w: over %d bytes", ErrReply, maxBody)
	}
	return reply.String(), nil
}

// verdict is what a reply says of the login.
type verdict struct {
	status, challenge string
	// made says that the calls were made: the reply holds more than a word on the login. From its own host a MistServer
	// without accounts makes them and says NOACC all the same (source).
	made bool
}

func readVerdict(reply string) (verdict, error) {
	var v verdict
	s := scanner{text: reply}
	s.object(func(key string) bool {
		if key != "authorize" {
			v.made = true
			return false
		}
		s.object(func(key string) bool {
			switch key {
			case "status":
				v.status = s.str()
			case "challenge":
				v.challenge = s.str()
			default:
				s.skip()
			}
			return true
		})
		v.made = v.status == "OK"
		return !v.made
	})
	if s.problem != "" {
		return v, s.err()
	}
	if !v.made && v.status == "" {
		return v, fmt.Errorf("%w: nothing in it", ErrReply)
	}
	if v.status == "CHALL" && !v.made && v.challenge == "" {
		return v, fmt.Errorf("%w: a challenge without text", ErrReply)
	}
	return v, nil
}

func hexMD5(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}
