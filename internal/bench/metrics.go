package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Metrics are what a service's /metrics says, each figure by its name with its labels as they stand there.
type Metrics map[string]float64

// Metrics reads them.
func (p *Program) Metrics(ctx context.Context) (Metrics, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Close = true
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = a.Body.Close() }()
	if a.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("/metrics answers %s", a.Status)
	}
	return readMetrics(a.Body)
}

func readMetrics(from io.Reader) (Metrics, error) {
	m := Metrics{}
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		// A label's value may hold a space, a number holds none.
		at := strings.LastIndexByte(line, ' ')
		if at < 0 {
			continue
		}
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("the metric %s: %w", line[:at], err)
		}
		m[line[:at]] = value
	}
	return m, lines.Err()
}

// The metrics that are looked at.
const (
	loads           = "authhook_facts_loads_total"
	decisions       = "authhook_decisions_total"
	feedBehind      = "authhook_changes_behind_seconds" // below zero until the feed was read
	redisLooks      = "authhook_redis_facts_total"
	redisWritten    = `authhook_redis_writes_total{outcome="written"}`
	redisHits       = redisLooks + `{answer="hit"}`
	sessionsOpen    = `authhook_sessions{node="` + NodeName + `",state="open"}`
	sessionsWaiting = "authhook_sessions_waiting"
	nextCollection  = "go_memstats_next_gc_bytes"
	stacks          = "go_memstats_stack_inuse_bytes"
	resident        = "process_resident_memory_bytes"
)

// Until waits until the service's metrics are as they are to be, for a while.
func (p *Program) Until(ctx context.Context, what string, are func(Metrics) bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := p.until(ctx, metricsEvery, func(ctx context.Context) (bool, error) {
		m, err := p.Metrics(ctx)
		if err != nil {
			return false, nil // it does not listen yet, or was asked too late
		}
		return are(m), nil
	})
	if err != nil {
		return fmt.Errorf("wait until %s: %w: %s", what, err, p.lastWords())
	}
	return nil
}

// LoadsEach is how many reads of the database there were for each decision.
func (m Metrics) LoadsEach() float64 { return m[loads] / m.sum(decisions) }

// FromRedis is the share of the looks into a Redis that found what was looked for.
func (m Metrics) FromRedis() float64 { return m[redisHits] / m.sum(redisLooks) }

// sum is that of a metric under all its labels.
func (m Metrics) sum(metric string) (all float64) {
	for name, value := range m {
		if strings.HasPrefix(name, metric+"{") {
			all += value
		}
	}
	return all
}

// written waits until no session waits to be written, and returns the metrics as they are then.
func (p *Program) written(ctx context.Context) (found Metrics, err error) {
	err = p.Until(ctx, "sessions are written", func(m Metrics) bool {
		found = m
		return m[sessionsWaiting] == 0
	})
	return found, err
}
