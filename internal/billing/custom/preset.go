package custom

import (
	"embed"
	"slices"
	"strings"
)

//go:embed presets/*.yaml
var presets embed.FS

// withoutEvents says of presets that bring no events why, and what to do.
var withoutEvents = map[string]string{
	"recurly": "Recurly's webhooks in JSON hold ids and little of what happened. Write events for the types whose bodies " +
		"name all that is needed; of others look up in Recurly's API what happened, and send it to /billing/events",
}

// Presets are the names of all presets, sorted.
func Presets() []string {
	entries, _ := presets.ReadDir("presets") // it is there: it was built in
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	slices.Sort(names)
	return names
}

// Preset is a preset as it is written: the fields of a provider, without its name and its secret, and of some without events.
// Nil where there is none of this name.
func Preset(name string) []byte {
	if !slices.Contains(Presets(), name) {
		return nil
	}
	data, _ := presets.ReadFile("presets/" + name + ".yaml")
	return data
}

// preset fills in what a preset says. A name that is none is noted where the name is read.
func (r *reader) preset(p *provider, name string) {
	data := Preset(name)
	if data == nil {
		return
	}
	in := &reader{file: "preset " + name}
	if root := in.load(data); root != nil {
		in.mapping(root, "", in.settings(p))
	}
	r.errs = append(r.errs, in.errs...)
}
