package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/mist/recording"
)

// triggerProgram runs authhook-trigger as MistServer does: the type as its argument, the parameters on standard input.
type triggerProgram struct{ path, socket string }

func buildTriggerProgram(t *testing.T, socket string) *triggerProgram {
	t.Helper()
	path := filepath.Join(t.TempDir(), "authhook-trigger")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "../authhook-trigger")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	text, err := build.CombinedOutput()
	require.NoError(t, err, string(text))
	return &triggerProgram{path, socket}
}

func (p *triggerProgram) ask(t *testing.T, trigger, uuid, fallback, body string) string {
	t.Helper()
	var out bytes.Buffer
	run := exec.CommandContext(t.Context(), p.path, trigger)
	run.Env = []string{"AUTHHOOK_SOCKET=" + p.socket, "MIST_TRIGGER=" + trigger, "MIST_TUUID=" + uuid,
		"MIST_TRIG_DEF=" + fallback, "MIST_INSTANCE=instance-1", "MIST_NAME=edge-1"}
	run.Stdin, run.Stdout = strings.NewReader(body), &out
	require.NoError(t, run.Run())
	return out.String()
}

func TestTriggerProgramAsksTheService(t *testing.T) {
	dir, err := os.MkdirTemp("", "authhook") // a socket's path must be short
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	socket := filepath.Join(dir, "trigger.sock")
	p := buildTriggerProgram(t, socket)
	s := serveForTest(t, "--database-url", emptyDatabase(t), "--catalog", exampleCatalog, "--socket", socket)

	public, err := recording.Read("USER_NEW")
	require.NoError(t, err)
	entitled, err := recording.Read("USER_NEW.info-request")
	require.NoError(t, err)
	rewrite, err := recording.Read("PLAY_REWRITE")
	require.NoError(t, err)
	assert.Equal(t, "true", p.ask(t, "USER_NEW", "u1", "false", string(public.Body)))
	assert.Equal(t, "false", p.ask(t, "USER_NEW", "u2", "true", string(entitled.Body)))
	assert.Equal(t, "movie", p.ask(t, "PLAY_REWRITE", "u3", "", string(rewrite.Body)))
	assert.Equal(t, "true", p.ask(t, "STREAM_PROCESS", "u4", "false", "x"), "a type that nobody knows breaks nothing")
	assert.Empty(t, p.ask(t, "PUSH_REWRITE", "u5", "live", "rtmp://h/app/live\n192.0.2.9\nlive"), "an empty answer is an answer")
	assert.Equal(t, "false", p.ask(t, "USER_NEW", "u6", "true", "extra\n192.0.2.1\n"+strings.Repeat("x", 70_000)),
		"a token too long to be read denies, whatever the default")

	assert.Zero(t, s.stop(), s.log.String())
	assert.NoFileExists(t, socket)
	assert.Equal(t, "false", p.ask(t, "USER_NEW", "u7", "false", string(public.Body)), "without the service the default is the answer")
	assert.NotContains(t, s.log.String(), "index.m3u8")
}
