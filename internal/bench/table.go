package bench

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Table is figures with a heading each, written so that a person reads it as well as a Markdown reader.
type Table struct {
	Head  []string
	Texts int // so many columns from the left hold text, the others figures, which stand to the right
	Rows  [][]string
}

// Add adds a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// WriteTo writes it.
func (t *Table) WriteTo(w io.Writer) (int64, error) {
	widths := make([]int, len(t.Head))
	for i := range t.Head {
		widths[i] = max(3, utf8.RuneCountInString(t.Head[i]))
		for _, row := range t.Rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	var b strings.Builder
	line := func(cells []string) {
		for i, cell := range cells {
			gap := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i >= t.Texts {
				cell = gap + cell
			} else {
				cell += gap
			}
			b.WriteString("| " + cell + " ")
		}
		b.WriteString("|\n")
	}
	line(t.Head)
	for i := range t.Head {
		rule := strings.Repeat("-", widths[i]+2)
		if i >= t.Texts {
			rule = rule[1:] + ":"
		}
		b.WriteString("|" + rule)
	}
	b.WriteString("|\n")
	for _, row := range t.Rows {
		line(row)
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// Brief is a duration as a person reads it: three digits and a unit.
func Brief(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return digits(float64(d)/float64(time.Microsecond)) + " µs"
	case d < time.Second:
		return digits(float64(d)/float64(time.Millisecond)) + " ms"
	}
	return digits(d.Seconds()) + " s"
}

// Terse is a duration of few digits, such as a limit: without zeros that say nothing.
func Terse(d time.Duration) string {
	return strings.NewReplacer(".00", "", ".0", "").Replace(Brief(d))
}

// digits is a number with three digits that say something.
func digits(f float64) string {
	switch {
	case f < 10:
		return strconv.FormatFloat(f, 'f', 2, 64)
	case f < 100:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 0, 64)
}

// Thousands is a whole number with a comma before each three digits.
func Thousands(f float64) string {
	s := strconv.FormatFloat(f, 'f', 0, 64)
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}

// Bytes is an amount of memory.
func Bytes(f float64) string {
	switch {
	case f < 10<<10:
		return Thousands(f) + " B"
	case f < 10<<20:
		return fmt.Sprintf("%.0f KiB", f/(1<<10))
	}
	return fmt.Sprintf("%.0f MiB", f/(1<<20))
}
