package guard

import (
	"slices"
	"strings"
)

// listRoom is what MistServer keeps of one trigger's list of streams: each name with the 4 bytes of its length (source).
const (
	listRoom   = 256
	perName    = 4
	nearlyFull = listRoom * 7 / 8
)

// listBytes is what a list of streams needs.
func listBytes(list []string) int {
	n := 0
	for _, name := range list {
		n += perName + len(name)
	}
	return n
}

// kept is what MistServer keeps of a list: it loses its end without a word.
func kept(list []string) []string {
	n := 0
	for i, name := range list {
		if n += perName + len(name); n > listRoom {
			return list[:i]
		}
	}
	return list
}

// selects says whether a trigger with that list is for the stream. The last entry that fits counts; where all entries
// are negative and none fits, it is; an empty name ends the list (source).
func selects(list []string, stream string, tags []string) bool {
	chosen, onlyNegative := false, true
	for _, entry := range kept(list) {
		name, negative := strings.CutPrefix(entry, "!")
		if name == "" {
			break
		}
		if !negative {
			onlyNegative = false
		}
		if fits(name, stream, tags) {
			chosen, onlyNegative = !negative, false
		}
	}
	return chosen || onlyNegative
}

// fits says whether a name in a list is a stream's: its own, that before a wildcard's +, or # and one of its tags.
func fits(name, stream string, tags []string) bool {
	if tag, ok := strings.CutPrefix(name, "#"); ok {
		return slices.Contains(tags, tag)
	}
	base := stream
	if i := strings.IndexAny(stream, "+ "); i >= 0 {
		base = stream[:i]
	}
	return name == stream || name == base
}
