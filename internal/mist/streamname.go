package mist

import "strings"

// StreamName is the stream that MistServer takes a publisher's text for (source: its sanitizing of names). Of the part
// before a wildcard's + it keeps letters, made small, digits and _ - . and drops the rest; what stands behind the + stays.
func StreamName(text string) string {
	base, rest := text, ""
	if i := strings.IndexAny(text, "+ "); i >= 0 {
		base, rest = text[:i], "+"+text[i+1:]
	}
	clean := func(r rune) rune {
		switch {
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '_', r == '-', r == '.':
			return r
		}
		return -1
	}
	return strings.Map(clean, base) + rest
}

// StreamOfRTMP is the name that MistServer reads in an RTMP URL: what follows the last slash of all, without its query
// (source).
func StreamOfRTMP(url string) string {
	name, _, _ := strings.Cut(url[strings.LastIndexByte(url, '/')+1:], "?")
	return StreamName(name)
}
