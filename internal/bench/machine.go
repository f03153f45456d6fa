package bench

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Machine says on what was measured: processor, cores, kernel, Go.
func Machine() string {
	kernel := runtime.GOOS
	if release := firstLine("/proc/sys/kernel/osrelease"); release != "" {
		kernel = "Linux " + release
	}
	return fmt.Sprintf("%s, %d cores, %s, %s", processor(), runtime.NumCPU(), kernel, strings.Replace(runtime.Version(), "go", "Go ", 1))
}

// processor is its model, as Linux tells it.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// Load is how busy the machine was in the last minute, as Linux counts: how many would run at the same time. "unknown" elsewhere.
func Load() string {
	minute, _, ok := strings.Cut(firstLine("/proc/loadavg"), " ")
	if !ok {
		return "unknown"
	}
	return minute
}

func firstLine(path string) string {
	text, _ := os.ReadFile(path)
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}
