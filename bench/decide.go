package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"authhook/internal/bench"
)

// decided is what a decision takes with its facts in memory, by the benchmark of its package.
type decided struct {
	took        time.Duration
	allocations float64
}

// decideLine is a line of the benchmark's.
var decideLine = regexp.MustCompile(`(?m)^BenchmarkDecide/entitled(?:-\d+)?\s+\d+\s+([\d.]+) ns/op\s+\d+ B/op\s+(\d+) allocs/op`)

// decide runs the benchmark several times, and takes the median.
func decide(ctx context.Context, each time.Duration, times int) (d decided, err error) {
	command := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkDecide$/^entitled$", "-benchmem",
		"-benchtime", each.String(), "-count", strconv.Itoa(times), "authhook/internal/policy")
	out, err := command.CombinedOutput()
	if err != nil {
		return d, fmt.Errorf("go test -bench BenchmarkDecide: %w: %s", err, strings.TrimSpace(string(out)))
	}
	var took, allocations []float64
	for _, line := range decideLine.FindAllStringSubmatch(string(out), -1) {
		t, err := strconv.ParseFloat(line[1], 64)
		if err != nil {
			return d, err
		}
		a, err := strconv.ParseFloat(line[2], 64)
		if err != nil {
			return d, err
		}
		took, allocations = append(took, t), append(allocations, a)
	}
	if len(took) == 0 {
		return d, fmt.Errorf("BenchmarkDecide/entitled is not measured: %s", strings.TrimSpace(string(out)))
	}
	return decided{time.Duration(bench.Median(took)), bench.Median(allocations)}, nil
}
