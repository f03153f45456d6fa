package mist

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"
)

// parameters is a payload while it is read, from both ends: what is left of it is what nobody has taken yet. The first
// problem stays, and what is taken after it means nothing, so a payload is read in one go and asked at its end.
//
// Line breaks separate parameters and, but for a few types, end none: an empty one at either end is a parameter like any
// other (DEFAULT_STREAM.http begins with one, CONN_OPEN.http ends with one).
type parameters struct {
	trigger Type
	left    string
	problem string
}

func read(t Type, body []byte) parameters { return parameters{trigger: t, left: string(body)} }

// done ends the reading: all that was read, or the first problem and nothing else.
func done[P any](p *parameters, value P) (P, error) {
	if p.problem != "" {
		var nothing P
		return nothing, &PayloadError{Type: p.trigger, Problem: p.problem}
	}
	return value, nil
}

func (p *parameters) fail(name, expected string) {
	if p.problem == "" {
		p.problem = name + ": expected " + expected
	}
}

// front takes the first parameter that is left. It cannot be the last one: that is what remains at the end.
func (p *parameters) front(name string) string {
	value, left, ok := strings.Cut(p.left, "\n")
	if !ok {
		p.fail(name, "more parameters after it")
		return ""
	}
	p.left = left
	return value
}

// back takes the last parameter that is left. It cannot be the first one: that is what remains at the end.
func (p *parameters) back(name string) string {
	i := strings.LastIndexByte(p.left, '\n')
	if i < 0 {
		p.fail(name, "more parameters before it")
		return ""
	}
	value := p.left[i+1:]
	p.left = p.left[:i]
	return value
}

// address reads an address as the rest of authhook compares it: IPv4 always as IPv4, and without a zone, which no
// session id holds and which would keep the address out of every prefix.
func (p *parameters) address(name, value string) netip.Addr {
	a, err := netip.ParseAddr(value)
	if err != nil {
		p.fail(name, "an IP address")
		return netip.Addr{}
	}
	return a.WithZone("").Unmap()
}

// addressOrNone is the zero address when there is none.
func (p *parameters) addressOrNone(name, value string) netip.Addr {
	if value == "" {
		return netip.Addr{}
	}
	return p.address(name, value)
}

// number reads a count.
func (p *parameters) number(name, value string) int64 {
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil {
		p.fail(name, "a whole number")
	}
	return int64(n)
}

// numbers reads a list of counts; an empty one has none.
func (p *parameters) numbers(name, value string) []int64 {
	var all []int64
	for _, v := range commaList(value) {
		all = append(all, p.number(name, v))
	}
	return all
}

// json reads a parameter that must be JSON.
func (p *parameters) json(name, value string) json.RawMessage {
	raw := json.RawMessage(value)
	if !json.Valid(raw) {
		p.fail(name, "JSON")
		return nil
	}
	return raw
}

// jsonOrNone is nil when there is none.
func (p *parameters) jsonOrNone(name, value string) json.RawMessage {
	if value == "" {
		return nil
	}
	return p.json(name, value)
}

// commaList splits a list; an empty one has no elements, rather than one that is empty.
func commaList(value string) []string {
	if value == "" {
		return nil
	}
	return strings.Split(value, ",")
}
