package catalog

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxErrors is how many errors of one document are kept.
const maxErrors = 1000

// Error is one thing that is wrong with a document. No part of it holds a secret.
type Error struct {
	// File is the document's name, as it was given to Parse.
	File string `json:"-"`
	// Line and Column count from 1. Both are 0 for what is wrong with the document as a whole; Column is 0 where it is
	// not known.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// Path says which value it is, as streams[2].preview; empty for the document.
	Path string `json:"path,omitempty"`
	// Problem says what is wrong and what to do.
	Problem string `json:"problem"`
}

// Error is the message on one line: catalog.yaml:12: streams[1].access: what is wrong.
func (e Error) Error() string {
	where := e.File
	if e.Line > 0 {
		where += fmt.Sprintf(":%d", e.Line)
	}
	if e.Path != "" {
		where += ": " + e.Path
	}
	return strings.TrimPrefix(where+": "+e.Problem, ": ")
}

// Errors is everything that is wrong with a document, in the order of its lines. It is never empty.
type Errors []Error

// Error is one message with a line for each error.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// sorted puts the errors into the order of the document. Those of one place stay in the order they were found.
func (e Errors) sorted() Errors {
	slices.SortStableFunc(e, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return e
}

// quote shows a text from the document, shortened. Never call it with what may be a secret.
func quote(s string) string {
	const most = 60
	if len(s) <= most {
		return fmt.Sprintf("%q", s)
	}
	cut := most
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%q…", s[:cut])
}

// quoteName shows a short text that is meant to be a name. A longer one might be a secret in the wrong place, and is
// not shown: those that [Parse] accepts are longer than any name it shows.
func quoteName(s string) string {
	if len(s) >= minSecretLength {
		return "the value"
	}
	return fmt.Sprintf("%q", s)
}

// plainName is the same for a number.
func plainName(s string) string { return strings.Trim(quoteName(s), `"`) }

// nearest is the known name that a misspelt one was most likely meant to be; empty when none is near.
func nearest(name string, known []string) string {
	const longest, most = 64, 1000 // comparing takes the product of the lengths
	if len(name) > longest || len(known) > most {
		return ""
	}
	best, bestDistance := "", max(len(name)/3, 1)+1
	for _, k := range known {
		if len(k) > longest {
			continue
		}
		if d := distance(name, k); d < bestDistance && d < len(k) {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance is how many letters have to be put in, left out, exchanged or swapped with their neighbour to make a into b.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			exchange := last[j-1]
			if a[i-1] != b[j-1] {
				exchange++
			}
			row[j] = min(last[j]+1, row[j-1]+1, exchange)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
