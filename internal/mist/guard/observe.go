package guard

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"authhook/internal/mist/api"
)

// Ways are the clients of one MistServer's API.
type Ways struct {
	// All goes whichever way fits.
	All *api.Client
	// UDP and HTTP go one way only; nil where there is none.
	UDP, HTTP *api.Client
}

// reachTime is how long one way may stay silent.
const reachTime = 3 * time.Second

// Observe asks a MistServer for everything that [Diagnose] wants to know of it, and tries its handlers. What cannot be read is
// left out.
func Observe(ctx context.Context, w Ways, o *Observation) {
	o.UDP, o.HTTP = reach(ctx, w)
	if !o.UDP.works() && !o.HTTP.works() {
		return
	}
	o.Asked = time.Now()
	config, err := w.All.Config(ctx)
	o.Answered = time.Now()
	if err != nil {
		if o.UDP.works() {
			o.UDP.Err = err
		} else {
			o.HTTP.Err = err
		}
		return
	}
	o.Config, o.Time = &config, timeOf(config)
	o.Active, _ = w.All.ActiveStreams(ctx)
	o.Keys = readKeys(ctx, w.All)
	o.Handlers = map[string]Tried{}
	for _, t := range types {
		for _, e := range o.authhooks(t) {
			if _, ok := o.Handlers[e.Handler]; !ok {
				o.Handlers[e.Handler] = Try(ctx, e.Handler, o.Local)
			}
		}
	}
}

func (r Reach) works() bool { return r.Tried && r.Err == nil }

// reach asks over both ways at once.
func reach(ctx context.Context, w Ways) (udp, http Reach) {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	done := make(chan struct{})
	ask := func(c *api.Client, r *Reach) {
		if c != nil {
			_, err := c.Version(ctx)
			*r = Reach{true, c.String(), err}
		}
	}
	go func() {
		defer close(done)
		ask(w.UDP, &udp)
	}()
	ask(w.HTTP, &http)
	<-done
	return udp, http
}

// timeOf is MistServer's clock in its configuration.
func timeOf(c api.Config) time.Time {
	var raw struct{ Time int64 }
	if json.Unmarshal(c.Raw, &raw) != nil || raw.Time <= 0 {
		return time.Time{}
	}
	return time.Unix(raw.Time, 0)
}

// streams are all that are known of, in the order of their names. An instance of a wildcard is among them while it is active.
func (o *Observation) streams() []stream {
	all := map[string]stream{}
	for name, raw := range o.Config.Streams {
		var settings struct {
			Source string
			Tags   []string
		}
		_ = json.Unmarshal(raw, &settings)
		all[name] = stream{name, settings.Tags, strings.HasPrefix(settings.Source, "push:")}
	}
	for _, active := range o.Active {
		s, known := all[active.Name]
		if !known {
			base, _, _ := strings.Cut(active.Name, "+")
			of, configured := all[base]
			s = stream{active.Name, of.tags, of.push || !configured && o.Config.Streams == nil}
		}
		s.tags = slices.Concat(s.tags, active.Tags)
		all[active.Name] = s
	}
	list := make([]stream, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, all[name])
	}
	return list
}

// pushed are the names of the streams that take pushes.
func (o *Observation) pushed() []string {
	var names []string
	for _, s := range o.streams() {
		if s.push {
			names = append(names, s.name)
		}
	}
	return names
}
