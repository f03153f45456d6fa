package mist_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"authhook/internal/mist"
)

// Every type, and how it is answered.
var answers = []struct {
	trigger mist.Type
	answer  mist.AnswerKind
}{
	{"USER_NEW", mist.AnswerAllow},
	{"USER_END", mist.AnswerNone},
	{"CONN_OPEN", mist.AnswerAllow},
	{"CONN_PLAY", mist.AnswerAllow},
	{"CONN_CLOSE", mist.AnswerNone},
	{"PLAY_REWRITE", mist.AnswerRewrite},
	{"STREAM_PUSH", mist.AnswerAllow},
	{"PUSH_REWRITE", mist.AnswerRewrite},
	{"RTMP_PUSH_REWRITE", mist.AnswerRewrite},
	{"PUSH_OUT_START", mist.AnswerRewrite},
	{"STREAM_SOURCE", mist.AnswerRewrite},
	{"DEFAULT_STREAM", mist.AnswerRewrite},
	{"LIVE_BANDWIDTH", mist.AnswerAllow},
	{"STREAM_ADD", mist.AnswerAllow},
	{"STREAM_CONFIG", mist.AnswerAllow},
	{"STREAM_REMOVE", mist.AnswerAllow},
	{"STREAM_LOAD", mist.AnswerAllow},
	{"STREAM_READY", mist.AnswerAllow},
	{"STREAM_UNLOAD", mist.AnswerAllow},
	{"STREAM_BUFFER", mist.AnswerNone},
	{"STREAM_END", mist.AnswerNone},
	{"LIVE_TRACK_LIST", mist.AnswerNone},
	{"INPUT_ABORT", mist.AnswerNone},
	{"RECORDING_END", mist.AnswerNone},
	{"OUTPUT_END", mist.AnswerNone},
	{"PUSH_END", mist.AnswerNone},
	{"OUTPUT_START", mist.AnswerNone},
	{"OUTPUT_STOP", mist.AnswerNone},
	{"SYSTEM_START", mist.AnswerAllow},
	{"SYSTEM_STOP", mist.AnswerAllow},
	{"LIVEPEER_SEGMENT_REJECTED", mist.AnswerNone},
}

func TestTypes(t *testing.T) {
	var all []mist.Type
	for _, row := range answers {
		all = append(all, row.trigger)
		require.True(t, mist.Known(row.trigger), row.trigger)
		require.Equal(t, row.answer, row.trigger.Answer(), row.trigger)

		payload, err := mist.Parse(row.trigger, nil)
		require.NotErrorIs(t, err, mist.ErrUnknownType, row.trigger)
		if err == nil {
			require.Equal(t, row.trigger, payload.Type())
		}
	}
	require.Equal(t, all, mist.Types())
}

func TestTypesIsACopy(t *testing.T) {
	mist.Types()[0] = "changed"
	require.Equal(t, mist.TypeUserNew, mist.Types()[0])
}

func TestUnknownTypes(t *testing.T) {
	for _, trigger := range []mist.Type{"", "user_new", "USER_NEW ", "STREAM_PROCESS", "PUSH_INPUT_CLOSE"} {
		require.False(t, mist.Known(trigger), trigger)
		require.Equal(t, mist.AnswerAllow, trigger.Answer(), trigger)

		payload, err := mist.Parse(trigger, []byte("movie"))
		require.ErrorIs(t, err, mist.ErrUnknownType, trigger)
		require.Nil(t, payload)
		require.NotContains(t, err.Error(), "movie")
	}
}

func TestTypesAreCheap(t *testing.T) {
	known := 0
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if mist.Known("STREAM_PROCESS") || mist.TypeUserNew.Answer() == mist.AnswerNone {
			known++
		}
	}))
	require.Zero(t, known)
}

func TestAnswerKindString(t *testing.T) {
	require.Equal(t, "none", mist.AnswerNone.String())
	require.Equal(t, "allow", mist.AnswerAllow.String())
	require.Equal(t, "rewrite", mist.AnswerRewrite.String())
	require.Equal(t, "unknown", mist.AnswerKind(9).String())
}
