package misttest

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// post asks a URL. Only a connection that fails and an answer that does not come in time are tried again; every attempt
// is a new connection, and its headers differ in X-Attempt alone. A status other than 2xx is the default at once.
func (s *Server) post(e *event, h Trigger) (text string, ok bool) {
	target, err := url.Parse(h.Handler)
	if err != nil || target.Host == "" {
		return h.Default, false
	}
	challenged := false
	for attempt := 1; attempt <= e.timing.Attempts; attempt++ {
		text, status, err := e.attempt(target, h.Sync, attempt, challenged)
		switch {
		case e.process.alive.Err() != nil:
			return h.Default, false
		case err != nil:
			s.options.Log.Debug("trigger failed", "trigger", e.kind, "attempt", attempt, "error", err)
		case !h.Sync:
			return h.Default, true // nobody reads the answer
		case status == http.StatusUnauthorized && target.User != nil && !challenged:
			challenged = true // only now the URL's credentials are sent
			attempt--
		case status/100 != 2:
			return h.Default, false
		default:
			return text, true
		}
	}
	return h.Default, false
}

func (e *event) attempt(target *url.URL, sync bool, attempt int, challenged bool) (text string, status int, err error) {
	ctx, cancel := context.WithTimeout(e.process.alive, e.timing.TriggerWait)
	defer cancel()
	conn, err := dial(ctx, target)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := io.WriteString(conn, e.request(target, attempt, challenged)); err != nil {
		return "", 0, err
	}
	if !sync {
		return "", 0, nil
	}
	sent := time.Now()
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodPost})
	if err != nil {
		return "", 0, err
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", 0, err
	}
	e.doze(ctx, time.Since(sent))
	return string(body), response.StatusCode, nil
}

// doze waits until the server looks for the answer: it sleeps in steps, so that the fastest handler costs a viewer one
// (27.7 ms, the median of 14).
func (e *event) doze(ctx context.Context, took time.Duration) {
	step := e.timing.HTTPPoll
	if step <= 0 {
		return
	}
	timer := time.NewTimer(step - took%step)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func dial(ctx context.Context, target *url.URL) (net.Conn, error) {
	host, port := target.Hostname(), target.Port()
	switch target.Scheme {
	case "https":
		if port == "" {
			port = "443"
		}
		var d tls.Dialer
		return d.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	case "http":
		if port == "" {
			port = "80"
		}
		var d net.Dialer
		return d.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	}
	return nil, errors.New("no http")
}

// request is written as recorded, headers sorted (USER_NEW.http). X-Name is absent where no name is configured.
func (e *event) request(target *url.URL, attempt int, challenged bool) string {
	headers := [][2]string{
		{"Accept", "*/*"},
		{"Content-Length", strconv.Itoa(len(e.payload))},
		{"Content-Type", "text/plain"},
		{"Date", e.at.UTC().Format(time.RFC1123Z)},
		{"Host", target.Host},
		{"User-Agent", "MistServer/" + version},
		{"X-Attempt", strconv.Itoa(attempt)},
		{"X-Instance", e.instance},
		{"X-PID", strconv.Itoa(e.pid)},
		{"X-Trigger", string(e.kind)},
		{"X-Trigger-UUID", e.uuid},
		{"X-Trigger-UnixMillis", strconv.FormatInt(e.at.UnixMilli(), 10)},
		{"X-Version", version},
	}
	if e.name != "" {
		headers = slices.Insert(headers, 8, [2]string{"X-Name", e.name})
	}
	if challenged {
		password, _ := target.User.Password()
		basic := base64.StdEncoding.EncodeToString([]byte(target.User.Username() + ":" + password))
		headers = slices.Insert(headers, 1, [2]string{"Authorization", "Basic " + basic})
	}
	var b strings.Builder
	b.Grow(512 + len(e.payload))
	b.WriteString("POST " + target.RequestURI() + " HTTP/1.1\r\n")
	for _, h := range headers {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	b.WriteString("\r\n" + e.payload)
	return b.String()
}

// newUUID is the id of an event.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}
