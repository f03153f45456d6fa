package bench

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Chart is a picture of figures as SVG: a row for each thing, in groups, and a panel for each way of looking at it, side by side.
// It is legible on a light ground and on a dark one.
type Chart struct {
	Title, Note string
	Panels      []Panel
	Groups      []Group
}

// Panel is one axis.
type Panel struct {
	Title string
	// Times says that the figures are times, on an axis of tenfolds: a dot for the median and one for the p99. Else they are
	// numbers, and bars from zero.
	Times bool
}

// Group is rows that belong together.
type Group struct {
	Name string
	Rows []Row
}

// Row is one thing, with a figure for each panel.
type Row struct {
	Name      string
	Reference bool // it is what the others are held against
	Marks     []Mark
}

// Mark is a figure: a number and what is to be said of it, or two times.
type Mark struct {
	Value    float64
	Text     string
	P50, P99 time.Duration
}

// Measures of the picture, in its own units.
const (
	labelWidth, panelWidth, margin   = 264, 380, 24
	rowHeight, groupGap, headerAbove = 24, 34, 84
	charWidth                        = 6.4 // of a letter of the labels, about
)

const chartStyle = `
  svg { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
  .ground { fill: #ffffff; } .text { fill: #1f2328; } .quiet { fill: #656d76; } .title { font-size: 17px; font-weight: 600; }
  .head { font-weight: 600; } .small { font-size: 12px; } .grid { stroke: #d8dee4; stroke-width: 1; }
  .figure { font-size: 12px; paint-order: stroke; stroke: #ffffff; stroke-width: 4px; stroke-linejoin: round; }
  .bar { fill: #2f6fde; } .dot { fill: #2f6fde; } .span { stroke: #2f6fde; stroke-width: 2; stroke-opacity: .45; }
  .far { fill: #ffffff; stroke: #2f6fde; stroke-width: 2; }
  .reference .bar, .reference .dot { fill: #8c959f; } .reference .span { stroke: #8c959f; } .reference .far { stroke: #8c959f; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; } .text { fill: #e6edf3; } .quiet { fill: #8d96a0; } .grid { stroke: #30363d; }
    .figure { stroke: #0d1117; } .bar, .dot { fill: #5794f7; } .span { stroke: #5794f7; } .far { fill: #0d1117; stroke: #5794f7; }
    .reference .bar, .reference .dot { fill: #6e7681; } .reference .span { stroke: #6e7681; } .reference .far { stroke: #6e7681; }
  }
`

// WriteTo writes it.
func (c *Chart) WriteTo(w io.Writer) (int64, error) {
	height := headerAbove
	for _, g := range c.Groups {
		height += groupGap + rowHeight*len(g.Rows)
	}
	d := &drawing{}
	width, bottom := margin*2+labelWidth+panelWidth*len(c.Panels), height+8
	total := bottom + 46
	d.line(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`, width, total, width, total)
	d.line(`<title>%s</title>`, escape(c.Title))
	d.line(`<style>%s</style>`, chartStyle)
	d.line(`<rect class="ground" width="%d" height="%d" rx="6"/>`, width, total)
	d.text(margin, 34, "text title", "start", c.Title)
	d.text(margin, 56, "quiet small", "start", c.Note)
	for i, p := range c.Panels {
		c.axis(d, i, p, float64(margin+labelWidth+i*panelWidth), headerAbove, bottom)
	}
	y := headerAbove
	for _, g := range c.Groups {
		y += groupGap
		d.text(margin, float64(y)-10, "text head", "start", g.Name)
		for _, r := range g.Rows {
			c.row(d, r, float64(y))
			y += rowHeight
		}
	}
	d.line(`</svg>`)
	n, err := io.WriteString(w, d.String())
	return int64(n), err
}

func (c *Chart) row(d *drawing, r Row, y float64) {
	class := "row"
	if r.Reference {
		class = "row reference"
	}
	middle := y + rowHeight/2
	d.line(`<g class="%s">`, class)
	d.text(margin+labelWidth-12, middle+4, "text", "end", r.Name)
	for i, m := range r.Marks {
		left := float64(margin + labelWidth + i*panelWidth)
		if !c.Panels[i].Times {
			x := left + c.scale(i).at(m.Value)
			d.line(`<rect class="bar" x="%.1f" y="%.1f" width="%.1f" height="%d" rx="2"/>`, left, y+4, x-left, rowHeight-8)
			d.text(x+7, middle+4, "text figure", "start", m.Text)
			continue
		}
		p50, p99 := left+c.scale(i).at(float64(m.P50)), left+c.scale(i).at(float64(m.P99))
		d.line(`<line class="span" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, p50, p99, middle, middle)
		d.line(`<circle class="dot" cx="%.1f" cy="%.1f" r="5"/><circle class="far" cx="%.1f" cy="%.1f" r="4"/>`, p50, middle, p99, middle)
		d.text(p99+10, middle+4, "text figure", "start", Brief(m.P50)+" · "+Brief(m.P99))
	}
	d.line(`</g>`)
}

// axis draws a panel's axis with its grid.
func (c *Chart) axis(d *drawing, panel int, p Panel, left float64, top, bottom int) {
	d.text(left, float64(top), "text head small", "start", p.Title)
	for _, tick := range c.scale(panel).ticks {
		x := left + c.scale(panel).at(tick)
		d.line(`<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, x, x, top+14, bottom)
		text := Thousands(tick)
		if p.Times {
			text = Terse(time.Duration(tick))
		}
		d.text(x, float64(bottom)+18, "quiet small", "middle", text)
	}
}

// scale is where figures of a panel stand.
type scale struct {
	at    func(float64) float64
	ticks []float64
}

func (c *Chart) scale(panel int) scale {
	least, most, letters := math.Inf(1), 0.0, 0
	for _, g := range c.Groups {
		for _, r := range g.Rows {
			m := r.Marks[panel]
			text := m.Text
			if c.Panels[panel].Times {
				least, most = min(least, float64(m.P50)), max(most, float64(m.P99))
				text = Brief(m.P50) + " · " + Brief(m.P99)
			} else {
				most = max(most, m.Value)
			}
			letters = max(letters, utf8.RuneCountInString(text))
		}
	}
	room := panelWidth - 24 - charWidth*float64(letters) // the figure is written behind its mark
	if c.Panels[panel].Times {
		return tenfolds(least, most, room)
	}
	return fromZero(most, room)
}

// fromZero is an axis from zero with three to five lines, so that there is room for what is written below each.
func fromZero(most, room float64) scale {
	most = max(most, 1)
	step := math.Pow(10, math.Floor(math.Log10(most))) / 5
	for _, coarser := range []float64{2.5, 2, 2} { // a half, one, two of the power of ten that is in it
		if most/step > 4 {
			step *= coarser
		}
	}
	s := scale{at: func(v float64) float64 { return v / most * room }}
	for tick := 0.0; tick <= most; tick += step {
		s.ticks = append(s.ticks, tick)
	}
	return s
}

// tenfolds is an axis on which each line is ten times the one before.
func tenfolds(least, most, room float64) scale {
	from := math.Floor(math.Log10(max(least, 1)))
	until := max(math.Log10(max(most, 1)), from+1)
	s := scale{at: func(v float64) float64 { return (math.Log10(max(v, 1)) - from) / (until - from) * room }}
	for tick := from; tick <= until; tick++ {
		s.ticks = append(s.ticks, math.Pow(10, tick))
	}
	return s
}

// drawing is SVG as it grows.
type drawing struct{ strings.Builder }

func (d *drawing) line(format string, args ...any) { fmt.Fprintf(d, format+"\n", args...) }

func (d *drawing) text(x, y float64, class, anchor, text string) {
	d.line(`<text class="%s" x="%s" y="%s" text-anchor="%s">%s</text>`, class, coordinate(x), coordinate(y), anchor, escape(text))
}

func coordinate(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) }

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}
