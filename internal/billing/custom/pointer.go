package custom

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
)

// pointer is where a value stands in a JSON document (RFC 6901): the steps to it.
type pointer []string

var unescape = strings.NewReplacer("~1", "/", "~0", "~")

// wrongEscape finds a ~ that is none of the two escapes.
var wrongEscape = regexp.MustCompile(`~([^01]|$)`)

// parsePointer reads a pointer to a value within a document.
func parsePointer(s string) (pointer, error) {
	const most = 512
	switch {
	case !strings.HasPrefix(s, "/"):
		return nil, errors.New("is not a JSON pointer: write the way to the value, like /data/id")
	case len(s) > most:
		return nil, errors.New("is too long for a JSON pointer")
	case wrongEscape.MatchString(s):
		return nil, errors.New("has a ~ that is no escape: in a JSON pointer ~ is written ~0, and a / within a name ~1")
	}
	steps := strings.Split(s[1:], "/")
	for i := range steps {
		steps[i] = unescape.Replace(steps[i])
	}
	return steps, nil
}

var index = regexp.MustCompile(`^(0|[1-9][0-9]{0,8})$`)

// find is the value that stands there; nil where there is none.
func (p pointer) find(v any) any {
	for _, step := range p {
		switch in := v.(type) {
		case map[string]any:
			v = in[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || !index.MatchString(step) || i >= len(in) {
				return nil
			}
			v = in[i]
		default:
			return nil
		}
	}
	return v
}

var escape = strings.NewReplacer("~", "~0", "/", "~1")

func (p pointer) String() string {
	var b strings.Builder
	for _, step := range p {
		b.WriteString("/" + escape.Replace(step))
	}
	return b.String()
}
