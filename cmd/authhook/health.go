package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

type healthCommand struct {
	URL string `name:"url" env:"AUTHHOOK_HEALTH_URL" default:"http://127.0.0.1:4280/healthz" placeholder:"URL" help:"What to ask: /healthz says that the process lives, /readyz that it can decide."`
}

const (
	// healthTime is how long an answer may take. Who asks is a container engine, with a time-out of its own above this.
	healthTime = 3 * time.Second
	// healthWords is how much of an answer is shown.
	healthWords = 512
)

// Run asks once, for container images that hold no other program to ask with: any 2xx is healthy.
func (c *healthCommand) Run(ctx context.Context, s streams) error {
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, nil)
	if err != nil {
		return unhealthy(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // of its own, without a proxy
	answer, err := client.Do(r)
	if err != nil {
		return unhealthy(err)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, healthWords))
	_ = answer.Body.Close()
	if err != nil {
		return unhealthy(err)
	}
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		said := strings.Fields(answer.Status + " " + string(text)) // on one line, as an engine shows it
		return unhealthy(errors.New(strings.Join(said, " ")))
	}
	_, err = fmt.Fprintln(s.out, "healthy")
	return err
}

// unhealthy leaves out the URL, which may hold a password.
func unhealthy(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	return fmt.Errorf("not healthy: %w", err)
}
