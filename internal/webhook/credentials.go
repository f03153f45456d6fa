package webhook

import (
	"strings"

	"authhook/internal/credential"
	"authhook/internal/policy"
)

// Presented finds the credential of a viewer: the token line when it holds one, else a parameter of the URL (RTMP's and
// RTSP's token line is a process id, and RTMP keeps its query in the URL: USER_NEW.rtmp.http). A token in no known form
// was presented all the same.
func Presented(token, url string) policy.Presented {
	form, text := credential.Classify(token)
	if form != credential.Key && form != credential.JWT {
		if f, t := credential.Classify(credential.FromURL(url)); f != credential.None {
			form, text = f, t
		}
	}
	return inForm(form, text)
}

// presentedInPath finds the credential of a publisher: a parameter of the URL, else its last path element.
func presentedInPath(url string) (p policy.Presented, inPath bool) {
	p = Presented("", url)
	if !p.None() {
		return p, false
	}
	form, text := credential.Classify(credential.LastPathElement(url))
	if form != credential.Key && form != credential.JWT {
		return p, false
	}
	return inForm(form, text), true
}

// shown is a stream's name as it may be shown and kept. A key that stands where a name would (rtmp://host/app/ak_…) comes in
// small letters from MistServer, and can be read from them: it is not shown.
func shown(stream string) string {
	if len(stream) > 3 && strings.EqualFold(stream[:3], "ak_") {
		if form, _ := credential.Classify("ak_" + strings.ToUpper(stream[3:])); form == credential.Key {
			return "(a key)"
		}
	}
	return stream[:min(len(stream), longestShown)]
}

// longestShown is how much of a stream's name is shown, in bytes.
const longestShown = 256

func inForm(form credential.Form, text string) policy.Presented {
	switch form {
	case credential.None:
		return policy.Presented{}
	case credential.Key:
		return policy.Presented{Key: policy.HashKey(text)}
	case credential.JWT:
		return policy.Presented{JWT: text}
	default:
		return policy.Presented{Unrecognised: true}
	}
}
