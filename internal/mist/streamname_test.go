package mist

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestStreamName(t *testing.T) {
	for text, want := range map[string]string{
		"live": "live", "Live": "live", "arch!ive": "archive", "a_b-c.d9": "a_b-c.d9", "live+Big Fight!": "live+Big Fight!",
		"LIVE+a+B": "live+a+B", "live a": "live+a", "": "", "é": "", "+x": "+x",
	} {
		assert.Equal(t, want, StreamName(text), text)
	}
	for url, want := range map[string]string{
		"rtmp://127.0.0.1:1935/app/live?key=streamkey123": "live", // RTMP_PUSH_REWRITE.http
		"rtmp://h/openx?a=/archive":                       "archive",
		"rtmp://h/app/Live":                               "live",
		"live":                                            "live",
		"rtmp://h/app/":                                   "",
		"":                                                "",
	} {
		assert.Equal(t, want, StreamOfRTMP(url), url)
	}
}
